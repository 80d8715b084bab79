"""The history of a store: one JSON object a line, what happened to which snapshot, and when.

Events, by the field ``event``:

- ``published``: a snapshot was built, ``pulled``: it came whole from ``url``; it became current.
- ``rolled back``: an older snapshot became current again; ``replaced`` is the one before.
- ``found current``: CURRENT named another snapshot than the history, after a crash or by hand.
- ``adopted``: a whole snapshot was found that the history does not tell of.
- ``reconciled``: a full dump that came after later increments was compared with the ``snapshot``
  that was current; nothing was published.
- ``pinned``, ``unpinned``, ``pruned``.
- ``history damaged``: ``lines`` could not be read, or the whole file was ``missing``.

Each has ``at`` (ISO 8601, UTC, by the clock of the machine that wrote it) and ``snapshot``. The
order of the lines is the order of events, even if the clock was set back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

PUBLISHED: Final = "published"
PULLED: Final = "pulled"
ROLLED_BACK: Final = "rolled back"
FOUND_CURRENT: Final = "found current"
ADOPTED: Final = "adopted"
RECONCILED: Final = "reconciled"
PINNED: Final = "pinned"
UNPINNED: Final = "unpinned"
PRUNED: Final = "pruned"
DAMAGED: Final = "history damaged"

_BEGIN = b'{"event": '
BRINGS: Final = frozenset({PUBLISHED, PULLED})
"""A snapshot is new in the store and becomes current."""

BECOMES_CURRENT: Final = BRINGS | {ROLLED_BACK, FOUND_CURRENT}
_INTRODUCES = BRINGS | {ADOPTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """From ``at`` on, ``snapshot`` was current."""

    at: datetime
    snapshot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the history says. ``damaged``: how many of its lines are no JSON objects of ours.

    A line that a crash cut short is not counted: the event was about to happen and did not.
    """

    entries: tuple[dict[str, Any], ...]
    damaged: int = 0

    @property
    def unnoticed(self) -> int:
        """How many damaged lines no event reports yet."""
        noticed = [entry["lines"] for entry in self.entries if entry["event"] == DAMAGED]
        return max(0, self.damaged - max(noticed, default=0))

    def introductions(self) -> dict[str, dict[str, Any]]:
        """Return, for each snapshot in the history, the event that brought it into the store."""
        return {entry["snapshot"]: entry for entry in self.entries if entry["event"] in _INTRODUCES}

    def moments(self) -> list[Moment]:
        """Return what was current from when on, oldest first, in the order of events.

        What was announced and did not become current, because a crash came in between, is left
        out: CURRENT is then older than the announcement; after a change by hand it is younger.
        """
        events = [entry for entry in self.entries if entry["event"] in BECOMES_CURRENT]
        never = {
            place
            for place, (before, after) in enumerate(pairwise(events))
            if before["event"] != FOUND_CURRENT
            and after["event"] == FOUND_CURRENT
            and after["at"] < before["at"]
        }
        return [
            Moment(at=entry["at"], snapshot=entry["snapshot"])
            for place, entry in enumerate(events)
            if place not in never
        ]


def read_history(path: Path) -> History:
    """Return the history in a file, an empty one where there is none. Times are aware datetimes."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return History(entries=())
    entries = [(line, _entry(line)) for line in lines if line.strip()]
    return History(
        entries=tuple(entry for _, entry in entries if entry is not None),
        damaged=sum(entry is None and not _cut(line) for line, entry in entries),
    )


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry: dict[str, Any] = json.loads(line)
        at = datetime.fromisoformat(entry["at"])
        known = isinstance(entry["event"], str) and isinstance(entry["snapshot"], str)
    except (ValueError, KeyError, TypeError):
        return None
    return entry | {"at": at.astimezone(UTC)} if known and at.tzinfo else None


def _cut(line: bytes) -> bool:
    """Return whether a line that cannot be read is the beginning of one of ours."""
    return line[: len(_BEGIN)] == _BEGIN[: len(line)] and not line.endswith(b"}")


def record(path: Path, event: str, snapshot: str, facts: Mapping[str, Any]) -> None:
    """Append an event that happens now, and flush it to disk.

    Raises OSError when the disk refuses; then the line may be there in part, which readers bear.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps(
        {"event": event, "snapshot": snapshot, "at": now, **facts}, ensure_ascii=False
    )
    data = line.encode() + b"\n"
    with os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600), "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        # A crash may have cut the last line short: begin a new line.
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            data = b"\n" + data
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def current_at(moments: Sequence[Moment], time: datetime) -> str | None:
    """Return which snapshot was current at a time; None before the first.

    A clock that was set back makes an event seem later than the next one: then it happened at the
    next one's time at the latest.
    """
    later = datetime.max.replace(tzinfo=UTC)
    for moment in reversed(moments):
        later = min(moment.at, later)
        if later <= time:
            return moment.snapshot
    return None
