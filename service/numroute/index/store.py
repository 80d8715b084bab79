"""The snapshot store: a folder of immutable snapshots, a pointer to one of them, and a history.

``snapshots/<id>.lmdb`` never changes once it has that name; ``CURRENT`` holds an id and is replaced
by an atomic rename; ``history.jsonl`` records what happened to which snapshot. A crash at any point
leaves the last good snapshot current. :mod:`numroute.index.publishing` makes all changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from numroute.errors import (
    NoSnapshotError,
    SettingError,
    SnapshotCorruptError,
    StoreAccessError,
    StoreBusyError,
    StoreError,
    StoreMissingError,
)
from numroute.index import history
from numroute.index.history import History, Moment, read_history
from numroute.index.snapshot import Snapshot

SUFFIX = ".lmdb"
PIN_SUFFIX = ".pin"

FUTURE_SLACK = timedelta(minutes=1)
"""How far a question's time may lie in the future: clocks of several machines differ."""

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")
_BUILD_HINT = "Build one with `numroute-load build --store DIR FILE...`"
_BACK_HINT = (
    "`numroute-load rollback --store DIR previous` makes the last good one current; "
    "`numroute info --store DIR` lists what is there"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What to keep; a snapshot is kept when any rule keeps it.

    ``last``: how many of the newest, by default the windows of a day. ``daily``: for how many of
    the last days (UTC) that have one the newest of the day. ``within``: all published at most this
    long before the newest.
    """

    last: int = 12
    daily: int = 7
    within: timedelta = timedelta(0)


class SnapshotStore:
    """A snapshot store at a path.

    Attributes:
        snapshots: The folder of the snapshots' files.
        history_path: The history's file, whether it exists or not.
        pointer_path: The file that names the current snapshot, whether it exists or not.
    """

    def __init__(
        self, path: Path | str, *, create: bool = False, retention: Retention | None = None
    ) -> None:
        """Name a store; with ``create`` make its folders (0700) where they are missing.

        An empty folder is a store without snapshots: a service may wait there for the first one.
        ``retention`` says what publishing keeps; by default that of :class:`Retention`.
        Raises StoreMissingError when there is none, StoreAccessError when it cannot be made.
        """
        self.path = Path(path)
        self.snapshots = self.path / "snapshots"
        self.history_path = self.path / "history.jsonl"
        self.pointer_path = self.path / "CURRENT"
        self.retention = retention or Retention()
        if create:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.mkdir(mode=0o700, exist_ok=True)
                self.snapshots.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise StoreAccessError(self.path, f"cannot be made: {error.strerror}") from None
        elif not self.path.is_dir():
            raise StoreMissingError(self.path, "there is no snapshot store here", hint=_BUILD_HINT)

    def current_id(self) -> str:
        """Return the id of the current snapshot; cheap enough to be asked several times a second.

        Raises NoSnapshotError when there is none.
        """
        try:
            text = self.pointer_path.read_text("ascii").strip()
        except FileNotFoundError:
            raise NoSnapshotError(
                self.path,
                "the store has no current snapshot",
                hint=_BACK_HINT if self.ids() else _BUILD_HINT,
            ) from None
        except UnicodeDecodeError:
            text = ""
        except OSError as error:
            raise StoreAccessError.unreadable(self.pointer_path, error) from None
        if not _ID.fullmatch(text):
            raise NoSnapshotError(
                self.pointer_path, "it does not hold the id of a snapshot", hint=_BACK_HINT
            )
        return text

    def ids(self) -> list[str]:
        """Return the ids of all snapshots in the store, in the order of their names."""
        return sorted(path.stem for path in self.snapshots.glob(f"*{SUFFIX}"))

    def snapshot_path(self, snapshot_id: str) -> Path:
        """Return where a snapshot's file lies, whether it exists or not."""
        return self.snapshots / f"{snapshot_id}{SUFFIX}"

    def pin_path(self, snapshot_id: str) -> Path:
        """Return the file whose presence keeps a snapshot, regardless of the retention."""
        return self.snapshots / f"{snapshot_id}{PIN_SUFFIX}"

    def pinned(self) -> set[str]:
        """Return the ids of the snapshots that are kept regardless of the retention."""
        return {path.stem for path in self.snapshots.glob(f"*{PIN_SUFFIX}")}

    def open(self, snapshot_id: str | None = None) -> Snapshot:
        """Open a snapshot, the current one when no id is given.

        Raises NoSnapshotError, SnapshotCorruptError, SnapshotVersionError or StoreAccessError.
        """
        if snapshot_id is not None:
            return Snapshot(self.existing(snapshot_id))
        while True:
            wanted = self.current_id()
            path = self.snapshot_path(wanted)
            try:
                return Snapshot(path)
            except SnapshotCorruptError:
                if path.exists():
                    raise
            # Between the two looks another may have become current and this one been pruned.
            if self.current_id() == wanted:
                raise NoSnapshotError(
                    self.path,
                    f"CURRENT names snapshot {wanted!r}, which is not there",
                    hint=_BACK_HINT,
                )

    def existing(self, snapshot_id: str) -> Path:
        """Return the file of a snapshot that is kept; raises NoSnapshotError when it is not."""
        path = self.snapshot_path(snapshot_id)
        if not _ID.fullmatch(snapshot_id) or not path.exists():
            raise NoSnapshotError(
                self.path,
                f"there is no snapshot {snapshot_id!r}",
                hint="`numroute info --store DIR` lists what is there",
            )
        return path

    def resolve(self, word: str) -> str:
        """Return the id that a word stands for: ``current``, ``previous`` or the id of a kept one.

        Raises NoSnapshotError when there is none.
        """
        if word == "current":
            return self.current_id()
        if word == "previous":
            return self.previous_id()
        self.existing(word)
        return word

    def previous_id(self) -> str:
        """Return what was current before the current one and is still kept.

        Where CURRENT names nothing that is there, that is the last one that was current. Raises
        NoSnapshotError when there is none.
        """
        ids, current = self.ids(), ""
        with contextlib.suppress(NoSnapshotError):
            current = self.current_id()
        others = [each for each in ids if each != current]
        before = [moment.snapshot for moment in self.moments() if moment.snapshot in others]
        if before:
            return before[-1]
        if others and current not in ids:
            return others[-1]
        raise NoSnapshotError(
            self.path,
            "no other snapshot was current before and is still kept",
            hint="`numroute info --store DIR` lists what is there",
        )

    def history(self) -> list[dict[str, Any]]:
        """Return the history's events, oldest first; ``at`` is a datetime, the rest as stored."""
        return list(self.read_history().entries)

    def read_history(self) -> History:
        """Return the history. Raises StoreAccessError when it cannot be read."""
        try:
            return read_history(self.history_path)
        except OSError as error:
            raise StoreAccessError.unreadable(self.history_path, error) from None

    def moments(self, recorded: History | None = None) -> list[Moment]:
        """Return what was current from when on, in the order of events, up to now.

        ``recorded``: the history, where it has been read already.
        Where CURRENT and the history disagree, CURRENT is right: it says what is answered from,
        and the file's time since when.
        """
        recorded = recorded or self.read_history()
        moments = recorded.moments()
        with contextlib.suppress(NoSnapshotError, FileNotFoundError):
            current = self.current_id()
            if not moments or moments[-1].snapshot != current:
                since = datetime.fromtimestamp(self.pointer_path.stat().st_mtime, UTC)
                found = {"event": history.FOUND_CURRENT, "snapshot": current, "at": since}
                return History(entries=(*recorded.entries, found)).moments()
        return moments

    def open_last(self, without: Collection[str] = ()) -> Snapshot | None:
        """Open the last snapshot that was current, ``without`` these ids, and that can be opened.

        None where there is none. Raises StoreAccessError when the history cannot be read.
        """
        for snapshot_id in dict.fromkeys(each.snapshot for each in reversed(self.moments())):
            if snapshot_id not in without:
                with contextlib.suppress(StoreError):
                    return self.open(snapshot_id)
        return None

    def current_at(self, time: datetime) -> str:
        """Return the id of the snapshot that was current at a time (aware), kept or not.

        Raises NoSnapshotError when the store had none yet, SettingError when the time lies in the
        future.
        """
        now = datetime.now(UTC)
        if time > now + FUTURE_SLACK:
            raise SettingError(
                f"{time.isoformat(timespec='seconds')} lies in the future",
                hint="Ask for a time that has passed; is the clock right?",
            )
        if time >= now:
            return self.current_id()
        moments = self.moments()
        if moments:
            # What is current is current now, even if the clock was ahead when it became so.
            moments.append(Moment(at=now, snapshot=moments[-1].snapshot))
        found = history.current_at(moments, time)
        if found is None:
            since = (
                f": the first became so at {moments[0].at:%Y-%m-%dT%H:%M:%SZ}" if moments else ""
            )
            raise NoSnapshotError(
                self.path,
                f"no snapshot was current at {time.isoformat(timespec='seconds')}{since}",
                hint="`numroute-load history --store DIR` shows what was current when",
            )
        return found

    def open_past(self, snapshot_id: str, time: datetime) -> Snapshot:
        """Open what :meth:`current_at` found for a time.

        Raises what :meth:`open` raises; NoSnapshotError when it is no longer kept.
        """
        if not self.snapshot_path(snapshot_id).exists():
            raise NoSnapshotError(
                self.path,
                f"snapshot {snapshot_id!r}, current at {time.isoformat(timespec='seconds')}, "
                "is no longer kept",
                hint="Pin what must stay, or keep more: `numroute-load prune --help`",
            )
        return self.open(snapshot_id)


@contextlib.contextmanager
def locked(store: Path, name: str, *, busy: str, hint: str) -> Iterator[None]:
    """Hold the lock of this name (0600) in a store.

    Raises StoreBusyError with the words given when another process holds it, StoreAccessError when
    the store cannot be written.
    """
    try:
        lock = os.fdopen(os.open(store / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb")
    except OSError as error:
        raise StoreAccessError(
            store, f"cannot be written: {error.strerror}", hint="Check owner and mount"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusyError(store, busy, hint=hint) from None
        yield
