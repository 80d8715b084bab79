"""Changing a store: publish, pull, roll back, pin, prune.

Every step may be the last one before a crash: what is written gets its lasting name only when it
is whole and proven, an event is recorded before it happens, and CURRENT is switched by one rename.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from numroute.errors import NoSnapshotError, SettingError, StoreAccessError, StoreError
from numroute.files import finish, flush_folder, unfinished
from numroute.index import history
from numroute.index.compare import compare
from numroute.index.content import Content, Metadata
from numroute.index.mending import mend
from numroute.index.pruning import prune
from numroute.index.store_files import (
    access,
    facts_of,
    record,
    replace_pointer,
)
from numroute.index.verify import verify_snapshot
from numroute.index.writer import version_for, write_copy, write_snapshot
from numroute.model import Changes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numroute.index.content import Patched
    from numroute.index.overrides import Override
    from numroute.index.retention import Kept, Retention
    from numroute.index.store import SnapshotStore
    from numroute.model import Source

OVERRIDES_COUNT = "overrides"
"""The name under which the metadata's counts tell how many overrides there are."""


class StoreWriter:
    """The right to change a store, from :meth:`SnapshotStore.writing`."""

    def __init__(self, store: SnapshotStore) -> None:
        """Hold the store; only :meth:`SnapshotStore.writing` makes writers."""
        self._store = store
        self._history_in_doubt = False

    def mend(self) -> None:
        """Put right what a crash left behind.

        After damage to the history, this writer prunes nothing of its own accord.
        """
        self._history_in_doubt = mend(self._store)

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
        metadata = self._new_metadata(
            as_of=as_of, sources=sources, counts=counts, changes=changes, overrides=overrides
        )
        return self._publish_file(
            lambda path: write_snapshot(path, content, metadata, overrides),
            metadata,
            _facts(asked_by, reason, gate),
        )

    def _new_metadata(
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
            metadata = self._new_metadata(
                as_of=before.as_of,
                sources=before.sources,
                counts=before.counts,
                changes=Changes(against=before.snapshot_id),
                overrides=overrides,
            )
            return self._publish_file(
                lambda path: write_copy(path, base, metadata, overrides),
                metadata,
                _facts(asked_by, reason),
            )

    def publish_pulled(self, file: Path, metadata: Metadata, *, url: str, asked_by: str) -> None:
        """Make a whole snapshot's file, fetched from ``url``, a snapshot of this store.

        ``file`` is moved and must lie on the store's disk, ``metadata`` must be what it holds, and
        ``url`` must hold no secrets. See :meth:`publish`.
        """

        def move(path: Path) -> None:
            with access(path):
                file.rename(path)

        self._publish_file(move, metadata, {"url": url, "asked_by": asked_by}, event=history.PULLED)

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
            write(fresh)
            verify_snapshot(fresh)
            with access(final):
                finish(fresh, final)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        try:
            record(store, event, metadata.snapshot_id, {**facts_of(metadata, final), **facts})
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
        record(
            store,
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

    def reconciled(self, snapshot_id: str, facts: Mapping[str, Any]) -> None:
        """Record how a full dump that is not published differs from a snapshot."""
        record(self._store, history.RECONCILED, snapshot_id, facts)

    def pin(self, snapshot_id: str, *, asked_by: str = "", reason: str = "") -> None:
        """Keep a snapshot whatever the retention says. Raises NoSnapshotError."""
        self._store.existing(snapshot_id)
        path = self._store.pin_path(snapshot_id)
        with access(path):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            flush_folder(self._store.snapshots)
        record(self._store, history.PINNED, snapshot_id, {"asked_by": asked_by, "reason": reason})

    def unpin(self, snapshot_id: str, *, asked_by: str = "", reason: str = "") -> None:
        """Leave a snapshot to the retention again. Raises SettingError when it is not pinned."""
        if snapshot_id not in self._store.pinned():
            raise SettingError(
                f"snapshot {snapshot_id!r} is not pinned",
                hint="`numroute info --store DIR` lists what is",
            )
        record(self._store, history.UNPINNED, snapshot_id, {"asked_by": asked_by, "reason": reason})
        path = self._store.pin_path(snapshot_id)
        with access(path):
            path.unlink()
            flush_folder(self._store.snapshots)

    def prune(self, rules: Retention, *, dry_run: bool = False, asked_by: str = "") -> list[Kept]:
        """Remove the snapshots that no rule keeps: see :func:`numroute.index.pruning.prune`."""
        return prune(self._store, rules, dry_run=dry_run, asked_by=asked_by)

    def make_current(self, snapshot_id: str) -> None:
        """Point CURRENT to a snapshot by an atomic rename."""
        replace_pointer(self._store, snapshot_id)

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

    def _new_id(self, as_of: datetime) -> str:
        """Return an unused id that begins with the data's time, so that names sort by it."""
        while True:
            snapshot_id = f"{as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
            if not self._store.snapshot_path(snapshot_id).exists():
                return snapshot_id


def _facts(asked_by: str, reason: str, gate: Sequence[Mapping[str, Any]] = ()) -> Mapping[str, Any]:
    return {
        "asked_by": asked_by,
        **({"reason": reason} if reason else {}),
        "gate": [dict(finding) for finding in gate],
    }
