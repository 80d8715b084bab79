"""Changing a store: publish, pull, roll back, pin, prune, and repair after a crash.

Every step may be the last one before a crash: a file gets its lasting name only when it is whole
and verified, an event is recorded before it happens, and CURRENT is switched by one rename.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from numroute.errors import NoSnapshotError, SettingError, StoreAccessError, StoreError
from numroute.files import finish, flush, remove_unfinished, unfinished, write_whole
from numroute.index import history
from numroute.index.compare import compare
from numroute.index.content import Content, Metadata
from numroute.index.layout import FORMAT_VERSION
from numroute.index.overrides import Override
from numroute.index.snapshot import Snapshot, verify_snapshot
from numroute.index.store import Retention, SnapshotStore, locked
from numroute.index.writer import Patched, write_snapshot
from numroute.model import Changes, Source

OVERRIDES_COUNT = "overrides"
"""The name of the number of overrides among the metadata's counts."""

_ROOM_HINT = "Make room, for example with `numroute-load prune`; is the disk full or read-only?"


@contextlib.contextmanager
def writing(store: SnapshotStore) -> Iterator[StoreWriter]:
    """Hold the writer lock of a store; it is released when the process exits.

    Repairs first what a crash left behind. Raises StoreBusyError when another process is writing,
    StoreAccessError when the store cannot be written.
    """
    busy = "another process is writing to the store"
    with locked(store.path, "lock", busy=busy, hint="Wait until it ends"):
        yield StoreWriter(store)


class StoreWriter:
    """The right to change a store, from :func:`writing`.

    After damage to the history it prunes only when asked to.
    """

    def __init__(self, store: SnapshotStore) -> None:
        """Repair the store, whose lock is held: only :func:`writing` makes writers."""
        self._store = store
        self._history_in_doubt = self._repair()

    def publish(  # noqa: PLR0913 - each is a fact that metadata or history keep
        self,
        content: Content | Patched,
        *,
        as_of: datetime,
        sources: Sequence[Source],
        counts: Mapping[str, int],
        gate: Sequence[Mapping[str, Any]] = (),
        changes: Changes | None = None,
        overrides: Sequence[Override] | None = None,
        asked_by: str = "",
        reason: str = "",
        message: str = "",
    ) -> Metadata:
        """Write a snapshot, verify it by reading it back, announce it and make it current.

        ``changes`` says what it has otherwise than the snapshot that is current now; without it
        new content is compared with that. ``overrides``: without them, those of the current
        snapshot are carried over. What the store's retention does not keep is removed afterwards.

        Returns the new snapshot's metadata. Raises StoreAccessError when the disk refuses; then,
        as after a crash, the snapshot that was current stays current.
        """
        if overrides is None:
            overrides = self._carried_overrides()
        counts = {name: count for name, count in counts.items() if name != OVERRIDES_COUNT}
        if isinstance(content, Content):
            changes, coverage = changes or self._changes(content), content.coverage
        else:
            coverage = content.base.metadata.coverage
        metadata = Metadata(
            format_version=FORMAT_VERSION,
            snapshot_id=self._new_id(as_of),
            as_of=as_of.astimezone(UTC).replace(microsecond=0),
            built_at=datetime.now(UTC).replace(microsecond=0),
            sources=tuple(sources),
            counts=counts | ({OVERRIDES_COUNT: len(overrides)} if overrides else {}),
            changes=changes,
            coverage=coverage,
        )
        facts = {"asked_by": asked_by, "reason": reason, "message": message}
        stated = {name: fact for name, fact in facts.items() if fact or name == "asked_by"}
        return self._publish_file(
            lambda path: write_snapshot(path, content, metadata, overrides),
            metadata,
            stated | {"gate": [dict(finding) for finding in gate]},
        )

    def publish_overrides(
        self, overrides: Sequence[Override], *, asked_by: str = "", reason: str = ""
    ) -> Metadata:
        """Publish what the current snapshot holds with these overrides in place of its own.

        Raises NoSnapshotError, SnapshotCorruptError or StoreAccessError.
        """
        with self._store.open() as base:
            before = base.metadata
            return self.publish(
                Patched(base=base),
                as_of=before.as_of,
                sources=before.sources,
                counts=before.counts,
                changes=Changes(against=before.snapshot_id),
                overrides=overrides,
                asked_by=asked_by,
                reason=reason,
                message=f"overrides set by hand: {len(overrides):,}, "
                f"before {len(base.overrides):,}; the registry's data is unchanged",
            )

    def publish_pulled(self, file: Path, metadata: Metadata, *, url: str, asked_by: str) -> None:
        """Make a whole snapshot's file, fetched from ``url``, a snapshot of this store.

        ``file`` is moved and must lie on the store's disk, ``metadata`` must be what it holds, and
        ``url`` must hold no secrets. See :meth:`publish`.
        """
        facts = {"url": url, "asked_by": asked_by}
        self._publish_file(file.rename, metadata, facts, event=history.PULLED)

    def _publish_file(
        self,
        write: Callable[[Path], object],
        metadata: Metadata,
        facts: Mapping[str, Any],
        *,
        event: str = history.PUBLISHED,
    ) -> Metadata:
        """Publish the file that ``write`` makes at the path that it is given.

        ``metadata`` must be what the file holds, ``facts`` go to the history.
        """
        store = self._store
        final = store.snapshot_path(metadata.snapshot_id)
        fresh = unfinished(final)
        try:
            with _access(final):
                write(fresh)
            verify_snapshot(fresh)
            with _access(final):
                finish(fresh, final)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        try:
            self.record(event, metadata.snapshot_id, **_facts_of(metadata, final), **facts)
        except StoreAccessError:
            # Nobody knows of it yet, and its room may be what is lacking.
            final.unlink(missing_ok=True)
            raise
        self.make_current(metadata.snapshot_id)
        if not self._history_in_doubt:
            try:
                self.prune(store.retention)
            except StoreAccessError as error:
                raise StoreAccessError(
                    store.path,
                    f"{metadata.snapshot_id} is published and current, but old snapshots could "
                    f"not be removed: {error.reason}",
                    hint="`numroute-load prune` tries again",
                ) from None
        return metadata

    def roll_back(self, snapshot_id: str, *, asked_by: str = "", reason: str = "") -> Metadata:
        """Make a kept snapshot current after proving every byte of it; return its metadata.

        Raises SnapshotCorruptError when it is damaged, NoSnapshotError when it is not there,
        SettingError when it is current already, StoreAccessError when the disk refuses.
        """
        store = self._store
        replaced = ""
        with contextlib.suppress(NoSnapshotError):
            replaced = store.current_id()
        path = store.existing(snapshot_id)
        if replaced == snapshot_id:
            raise SettingError(
                f"snapshot {snapshot_id!r} is current already",
                hint="`numroute-load history --store DIR` shows what was current when",
            )
        metadata = verify_snapshot(path)
        facts = {"replaced": replaced, "as_of": metadata.as_of.isoformat()}
        self.record(history.ROLLED_BACK, snapshot_id, **facts, asked_by=asked_by, reason=reason)
        self.make_current(snapshot_id)
        return metadata

    def pin(self, snapshot_id: str, *, asked_by: str = "", reason: str = "") -> None:
        """Keep a snapshot regardless of the retention. Raises NoSnapshotError."""
        self._store.existing(snapshot_id)
        path = self._store.pin_path(snapshot_id)
        with _access(path):
            path.touch(0o600)
            flush(self._store.snapshots)
        self.record(history.PINNED, snapshot_id, asked_by=asked_by, reason=reason)

    def unpin(self, snapshot_id: str, *, asked_by: str = "", reason: str = "") -> None:
        """Leave a snapshot to the retention again. Raises SettingError when it is not pinned."""
        if snapshot_id not in self._store.pinned():
            raise SettingError(
                f"snapshot {snapshot_id!r} is not pinned",
                hint="`numroute info --store DIR` lists what is",
            )
        self.record(history.UNPINNED, snapshot_id, asked_by=asked_by, reason=reason)
        path = self._store.pin_path(snapshot_id)
        with _access(path):
            path.unlink()
            flush(self._store.snapshots)

    def prune(self, rules: Retention, *, asked_by: str = "") -> list[Kept]:
        """Remove the snapshots that no rule keeps; return all, each with why it is kept.

        Never removed: the current one, the one that was current before, a pinned one, and a file
        that cannot be opened, which somebody should look at. Raises StoreAccessError.
        """
        store = self._store
        judged = judge(_in_order(store), rules, protected=[*_protected(store)])
        for each in judged:
            if not each.reasons:
                path = store.snapshot_path(each.snapshot)
                facts = {"bytes": path.stat().st_size, "asked_by": asked_by}
                try:
                    self.record(history.PRUNED, each.snapshot, **facts)
                except StoreAccessError as error:
                    cause = error.__cause__
                    if not isinstance(cause, OSError) or cause.errno != errno.ENOSPC:
                        raise
                    # On a full disk there is room for the record only when the file has gone.
                    with _access(path):
                        path.unlink()
                    self.record(history.PRUNED, each.snapshot, **facts)
                with _access(path):
                    path.unlink(missing_ok=True)
                    flush(store.snapshots)
        return judged

    def make_current(self, snapshot_id: str) -> None:
        """Point CURRENT to a snapshot by an atomic rename. Raises StoreAccessError."""
        pointer = self._store.pointer_path
        with _access(pointer):
            write_whole(pointer, snapshot_id.encode("ascii") + b"\n")

    def record(self, event: str, snapshot_id: str, **facts: object) -> None:
        """Append an event to the store's history. Raises StoreAccessError."""
        path = self._store.history_path
        with _access(path):
            history.record(path, event, snapshot_id, facts)

    def _repair(self) -> bool:
        """Remove unfinished files and complete the history; return whether that is in doubt.

        A file under its temporary name was never finished. One under its lasting name is whole:
        where a crash or damage kept it out of the history, it is added. No snapshot is removed.
        After damage the history is in doubt: what was pinned by whom and what was current when may
        be incomplete.
        """
        store = self._store
        with _access(store.path):
            remove_unfinished(store.snapshots)
            remove_unfinished(store.path, store.pointer_path.name)
        recorded = store.read_history()
        ids = store.ids()
        lost = bool(ids) and not store.history_path.exists()
        in_doubt = bool(recorded.unnoticed) or lost
        if in_doubt:
            self.record(history.DAMAGED, "", lines=recorded.damaged, missing=lost)
        known = recorded.introductions()
        for each in sorted(set(ids) - known.keys()):
            path = store.snapshot_path(each)
            try:
                with Snapshot(path) as snapshot:
                    facts = _facts_of(snapshot.metadata, path)
            except StoreError:
                # Of a damaged one, or of a newer version, nothing is known; it is left alone.
                continue
            self.record(history.ADOPTED, each, **facts)
        with contextlib.suppress(NoSnapshotError):
            current = store.current_id()
            seen = store.read_history().moments()
            if not seen or seen[-1].snapshot != current:
                since = store.moments()[-1].at.isoformat(timespec="milliseconds")
                self.record(history.FOUND_CURRENT, current, at=since)
        return in_doubt

    def _changes(self, content: Content) -> Changes | None:
        """Compare with the current snapshot; None where there is none that can be read."""
        try:
            with self._store.open() as current:
                return compare(current, content).changes
        except StoreError:
            return None

    def _carried_overrides(self) -> tuple[Override, ...]:
        """Return the overrides of the current snapshot.

        Where it cannot be read, those of the last one before it that can: people wrote them, and no
        registry brings them back.
        """
        with self._store.open_last() or contextlib.nullcontext() as last:
            return last.overrides if last else ()

    def _new_id(self, as_of: datetime) -> str:
        """Return an unused id that begins with the data's time, so that names sort by it."""
        while True:
            snapshot_id = f"{as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
            if not self._store.snapshot_path(snapshot_id).exists():
                return snapshot_id


@contextlib.contextmanager
def _access(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into StoreAccessError."""
    try:
        yield
    except OSError as error:
        raise StoreAccessError(
            path, f"cannot be written: {error.strerror}", hint=_ROOM_HINT
        ) from error


def _facts_of(metadata: Metadata, path: Path) -> dict[str, Any]:
    """Return what the history keeps of a snapshot when the file itself is gone."""
    return {
        "as_of": metadata.as_of.isoformat(),
        "built_at": metadata.built_at.isoformat(),
        "bytes": path.stat().st_size,
        "sources": [asdict(source) for source in metadata.sources],
        "counts": dict(metadata.counts),
        "changes": None if metadata.changes is None else asdict(metadata.changes),
    }


class Kept(NamedTuple):
    """A snapshot and why it is kept; ``reasons`` is empty when it is not."""

    snapshot: str
    published: datetime
    reasons: tuple[str, ...]


def judge(
    snapshots: Sequence[tuple[str, datetime]],
    retention: Retention,
    *,
    protected: Collection[tuple[str, str]],
) -> list[Kept]:
    """Say for each snapshot why it is kept, if it is.

    ``snapshots``: ids and times of publishing, oldest first in the order of events, which decides
    what is newest. ``protected``: pairs of an id and the reason why no rule may remove it.
    """
    newest_first, within = snapshots[::-1], retention.within
    of_day = {at.date(): each for each, at in snapshots}
    rules = {
        "last": [each for each, _ in newest_first[: retention.last]],
        "daily": list(of_day.values())[::-1][: retention.daily],
        "within": [each for each, at in snapshots if within and newest_first[0][1] - at <= within],
    }
    reasons = [*protected, *((each, rule) for rule, keeps in rules.items() for each in keeps)]
    return [
        Kept(each, at, tuple(reason for held, reason in reasons if held == each))
        for each, at in snapshots
    ]


def _protected(store: SnapshotStore) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(NoSnapshotError):
        yield store.current_id(), "current"
    with contextlib.suppress(NoSnapshotError):
        yield store.previous_id(), "previous"
    for each in store.pinned():
        yield each, "pinned"
    for each in set(store.ids()) - store.read_history().introductions().keys():
        yield each, "unreadable"


def _in_order(store: SnapshotStore) -> list[tuple[str, datetime]]:
    """Return the kept snapshots and their times of publishing, in the order of events.

    Where the clock was set back, an event was no later than the next one. An adopted snapshot comes
    by the time when it was built; one that the history lacks, by its file's.
    """
    introductions, ids = store.read_history().introductions(), store.ids()
    found: list[tuple[str, datetime]] = []
    later = datetime.max.replace(tzinfo=UTC)
    for snapshot_id, entry in reversed(introductions.items()):
        if snapshot_id in ids:
            if entry["event"] == history.ADOPTED:
                found.append((snapshot_id, datetime.fromisoformat(entry["built_at"])))
            else:
                later = min(entry["at"], later)
                found.append((snapshot_id, later))
    for snapshot_id in sorted(set(ids) - introductions.keys()):
        modified = store.snapshot_path(snapshot_id).stat().st_mtime
        found.append((snapshot_id, datetime.fromtimestamp(modified, UTC)))
    found.reverse()
    return sorted(found, key=itemgetter(1))
