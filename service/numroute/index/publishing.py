"""Changing a store: publish, roll back, pin, prune, and mend what a crash left behind.

Every step may be the last one before a crash: what is written gets its lasting name only when it
is whole and proven, an event is recorded before it happens, and CURRENT is switched by one rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from numroute.errors import NoSnapshotError, SettingError, StoreAccessError, StoreError
from numroute.index import history, retention
from numroute.index.compare import compare
from numroute.index.content import Changes, Content, Metadata
from numroute.index.snapshot import Snapshot
from numroute.index.verify import verify_snapshot
from numroute.index.writer import version_for, write_copy, write_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numroute.index.content import Patched, Source
    from numroute.index.overrides import Override
    from numroute.index.retention import Kept, Retention
    from numroute.index.store import SnapshotStore

UNFINISHED = ".unfinished"
OVERRIDES_COUNT = "overrides"
"""The name under which the metadata's counts tell how many overrides there are."""

_ROOM_HINT = "Make room, for example with `numroute-load prune`; is the disk full or read-only?"


class StoreWriter:
    """The right to change a store, from :meth:`SnapshotStore.writing`."""

    def __init__(self, store: SnapshotStore) -> None:
        """Hold the store; only :meth:`SnapshotStore.writing` makes writers."""
        self._store = store
        self._history_in_doubt = False

    def mend(self) -> None:
        """Remove unfinished files and make the history agree with the files.

        A file under its temporary name was never finished. One under its lasting name is whole:
        where the history does not tell of it, because a crash or damage came between, the history
        is told. No snapshot is removed. After damage to the history, this writer prunes nothing of
        its own accord: what was pinned by whom and what was current when may be incomplete.
        """
        store = self._store
        with _access(store.path):
            for path in store.snapshots.glob(f"*{UNFINISHED}"):
                path.unlink()
            store.pointer_path.with_name(store.pointer_path.name + UNFINISHED).unlink(
                missing_ok=True
            )
        told = store.read_history()
        ids = store.ids()
        lost = bool(ids) and not store.history_path.exists()
        if told.unnoticed or lost:
            self._history_in_doubt = True
            self._record(history.DAMAGED, "", {"lines": told.damaged, "missing": lost})
        known = told.told()
        for each in ids:
            if each not in known:
                self._adopt(each)
        with contextlib.suppress(NoSnapshotError):
            current = store.current_id()
            seen = store.read_history().moments()
            if not seen or seen[-1].snapshot != current:
                since = store.moments()[-1].at
                self._record(
                    history.FOUND_CURRENT,
                    current,
                    {"at": since.isoformat(timespec="milliseconds")},
                )

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
    ) -> Metadata:
        """Write a snapshot, verify it by reading it back, announce it and make it current.

        ``changes`` says what it has otherwise than the snapshot that is current now; without it
        new content is compared with that. ``overrides``: without them, those of the current
        snapshot are carried over. What the store's retention does not keep is removed afterwards.

        Returns the new snapshot's metadata. Raises StoreAccessError when the disk refuses; then,
        as after a crash, the snapshot that was current stays current.
        """
        if changes is None and isinstance(content, Content):
            changes = self._changes(content)
        if overrides is None:
            overrides = self._carried_overrides()
        metadata = self.new_metadata(
            as_of=as_of, sources=sources, counts=counts, changes=changes, overrides=overrides
        )
        return self.publish_file(
            lambda path: write_snapshot(path, content, metadata, overrides),
            metadata,
            gate=gate,
            asked_by=asked_by,
            reason=reason,
        )

    def new_metadata(
        self,
        *,
        as_of: datetime,
        sources: Sequence[Source],
        counts: Mapping[str, int],
        changes: Changes | None = None,
        overrides: Sequence[Override] = (),
    ) -> Metadata:
        """Return the metadata of a snapshot that is built now, with an id that is not in use."""
        of_registry = {name: count for name, count in counts.items() if name != OVERRIDES_COUNT}
        return Metadata(
            format_version=version_for(overrides),
            snapshot_id=self._new_id(as_of),
            as_of=as_of,
            built_at=datetime.now(UTC).replace(microsecond=0),
            sources=tuple(sources),
            counts=of_registry | ({OVERRIDES_COUNT: len(overrides)} if overrides else {}),
            changes=changes,
        )

    def publish_overrides(
        self, overrides: Sequence[Override], *, asked_by: str = "", reason: str = ""
    ) -> Metadata:
        """Publish what the current snapshot holds with these overrides in place of its own.

        Raises NoSnapshotError, SnapshotCorruptError or StoreAccessError.
        """
        with self._store.open() as base:
            before = base.metadata
            metadata = self.new_metadata(
                as_of=before.as_of,
                sources=before.sources,
                counts=before.counts,
                changes=Changes(against=before.snapshot_id),
                overrides=overrides,
            )
            return self.publish_file(
                lambda path: write_copy(path, base, metadata, overrides),
                metadata,
                asked_by=asked_by,
                reason=reason,
            )

    def publish_file(
        self,
        write: Callable[[Path], object],
        metadata: Metadata,
        *,
        gate: Sequence[Mapping[str, Any]] = (),
        asked_by: str = "",
        reason: str = "",
    ) -> Metadata:
        """Publish the file that ``write`` makes at the path that it is given.

        ``metadata`` (from :meth:`new_metadata`) must be what the file holds. See :meth:`publish`.
        """
        store = self._store
        final = store.snapshot_path(metadata.snapshot_id)
        unfinished = final.with_name(final.name + UNFINISHED)
        try:
            write(unfinished)
            verify_snapshot(unfinished)
            with _access(final):
                unfinished.rename(final)
                _flush_folder(store.snapshots)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        try:
            self._record(
                history.PUBLISHED,
                metadata.snapshot_id,
                _facts(metadata, final)
                | {
                    "asked_by": asked_by,
                    **({"reason": reason} if reason else {}),
                    "gate": [dict(finding) for finding in gate],
                },
            )
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
                hint="`numroute-load history --store DIR` tells what was current when",
            )
        metadata = verify_snapshot(path)
        self._record(
            history.ROLLED_BACK,
            snapshot_id,
            {
                "replaced": replaced,
                "as_of": metadata.as_of.isoformat(),
                "asked_by": asked_by,
                "reason": reason,
            },
        )
        self.make_current(snapshot_id)
        return metadata

    def pin(self, snapshot_id: str, *, asked_by: str = "", reason: str = "") -> None:
        """Keep a snapshot whatever the retention says. Raises NoSnapshotError."""
        self._store.existing(snapshot_id)
        path = self._store.pin_path(snapshot_id)
        with _access(path):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            _flush_folder(self._store.snapshots)
        self._record(history.PINNED, snapshot_id, {"asked_by": asked_by, "reason": reason})

    def unpin(self, snapshot_id: str, *, asked_by: str = "", reason: str = "") -> None:
        """Leave a snapshot to the retention again. Raises SettingError when it is not pinned."""
        if snapshot_id not in self._store.pinned():
            raise SettingError(
                f"snapshot {snapshot_id!r} is not pinned",
                hint="`numroute info --store DIR` lists what is",
            )
        self._record(history.UNPINNED, snapshot_id, {"asked_by": asked_by, "reason": reason})
        path = self._store.pin_path(snapshot_id)
        with _access(path):
            path.unlink()
            _flush_folder(self._store.snapshots)

    def prune(self, rules: Retention, *, dry_run: bool = False, asked_by: str = "") -> list[Kept]:
        """Remove the snapshots that no rule keeps; return all, each with why it is kept.

        Never removed: the current one, the one that was current before, a pinned one, and a file
        that cannot be opened, which somebody should look at. Raises StoreAccessError.
        """
        judged = retention.judge(self._in_order(), rules, protected=[*self._protected()])
        if not dry_run:
            for each in judged:
                if not each.reasons:
                    self._remove(each.snapshot, asked_by)
        return judged

    def make_current(self, snapshot_id: str) -> None:
        """Point CURRENT to a snapshot by an atomic rename."""
        target = self._store.pointer_path
        fresh = target.with_name(target.name + UNFINISHED)
        with _access(target):
            fresh.unlink(missing_ok=True)
            with os.fdopen(
                os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii"
            ) as file:
                file.write(snapshot_id + "\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(target)
            _flush_folder(self._store.path)

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
        store = self._store
        with contextlib.suppress(StoreError), store.open() as current:
            return current.overrides
        for moment in reversed(store.moments()):
            with contextlib.suppress(StoreError), store.open(moment.snapshot) as earlier:
                return earlier.overrides
        return ()

    def _protected(self) -> Iterator[tuple[str, str]]:
        store = self._store
        with contextlib.suppress(NoSnapshotError):
            yield store.current_id(), "current"
        with contextlib.suppress(NoSnapshotError):
            yield store.previous_id(), "previous"
        for each in store.pinned():
            yield each, "pinned"
        known = store.read_history().told()
        for each in store.ids():
            if each not in known:
                yield each, "unreadable"

    def _in_order(self) -> list[tuple[str, datetime]]:
        """Return the kept snapshots and their times of publishing, in the order of events.

        An adopted one is put where its time belongs; one that nothing tells of is the oldest.
        """
        store = self._store
        told = store.read_history().told()
        kept = store.ids()
        ordered = [
            (each, entry["at"])
            for each, entry in told.items()
            if each in set(kept) and entry["event"] == history.PUBLISHED
        ]
        for each in kept:
            entry = told.get(each)
            if entry is None:
                at = datetime.fromtimestamp(store.snapshot_path(each).stat().st_mtime, UTC)
            elif entry["event"] == history.ADOPTED:
                at = datetime.fromisoformat(entry["built_at"])
            else:
                continue
            earlier = [i for i, (_, other) in enumerate(ordered) if other <= at]
            ordered.insert(earlier[-1] + 1 if earlier else 0, (each, at))
        return ordered

    def _remove(self, snapshot_id: str, asked_by: str) -> None:
        path = self._store.snapshot_path(snapshot_id)
        facts = {"bytes": path.stat().st_size, "asked_by": asked_by}
        try:
            self._record(history.PRUNED, snapshot_id, facts)
        except StoreAccessError as error:
            # On a full disk there is room for the record only when the file has gone.
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.ENOSPC:
                raise
            with _access(path):
                path.unlink()
            self._record(history.PRUNED, snapshot_id, facts)
        else:
            with _access(path):
                path.unlink()
        with _access(path):
            _flush_folder(self._store.snapshots)

    def _adopt(self, snapshot_id: str) -> None:
        path = self._store.snapshot_path(snapshot_id)
        try:
            with Snapshot(path) as snapshot:
                facts = _facts(snapshot.metadata, path)
        except StoreError:
            # Damaged, or of a newer version: nothing is known of it, so nothing is done to it.
            return
        self._record(history.ADOPTED, snapshot_id, facts)

    def _new_id(self, as_of: datetime) -> str:
        """Return an unused id that begins with the data's time, so that names sort by it."""
        while True:
            snapshot_id = f"{as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
            if not self._store.snapshot_path(snapshot_id).exists():
                return snapshot_id

    def _record(self, event: str, snapshot_id: str, facts: Mapping[str, Any]) -> None:
        with _access(self._store.history_path):
            history.record(self._store.history_path, event, snapshot_id, facts)


def _facts(metadata: Metadata, path: Path) -> dict[str, Any]:
    """Return what the history keeps of a snapshot when the file itself is gone."""
    return {
        "as_of": metadata.as_of.isoformat(),
        "built_at": metadata.built_at.isoformat(),
        "bytes": path.stat().st_size,
        "sources": [
            {
                "name": source.name,
                "kind": source.kind,
                "sequence": source.sequence,
                "rows": source.rows,
                "sha256": source.sha256,
            }
            for source in metadata.sources
        ],
        "counts": dict(metadata.counts),
        "changes": None
        if metadata.changes is None
        else {
            "against": metadata.changes.against,
            "ported": metadata.changes.ported,
            "returned": metadata.changes.returned,
            "moved": metadata.changes.moved,
            "updated": metadata.changes.updated,
        },
    }


@contextlib.contextmanager
def _access(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into an error of ours."""
    try:
        yield
    except OSError as error:
        raise StoreAccessError(
            path, f"cannot be written: {error.strerror}", hint=_ROOM_HINT
        ) from error


def _flush_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
