"""The feed's state while a watcher runs: changed step by step, written when it has changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from numroute.errors import StoreAccessError
from numroute.feed import (
    FeedState,
    Quarantined,
    Refused,
    Trouble,
    read_feed_state,
    write_feed_state,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

QUARANTINED_MAX = 50
REFUSED_MAX = 20
"""How many entries of each kind are kept; the oldest go first."""


class Status:
    """What is known of a feed, kept in the store so that a restart goes on from it."""

    def __init__(self, store: Path, source: str) -> None:
        """Go on from what an earlier watcher of the same store left; its troubles are its own."""
        self._store = store
        try:
            before = read_feed_state(store)
        except StoreAccessError:
            before = None
        state = before or FeedState(source=source, started_at=now())
        self.state = replace(
            state, source=source, started_at=now(), error=None, gap=None, waiting=()
        )
        self._written: FeedState | None = None

    def set(self, **changes: Any) -> None:  # noqa: ANN401 - fields of FeedState
        """Change fields of the state."""
        self.state = replace(self.state, **changes)

    def write(self) -> None:
        """Write the state if it has changed since; raises StoreAccessError."""
        if self.state != self._written:
            write_feed_state(self._store, self.state)
            self._written = self.state

    def failed(self, message: str, hint: str) -> int:
        """Remember an error of a poll; return how many there were in a row."""
        before = self.state.error
        count = 1 if before is None else before.count + 1
        self.set(error=_trouble(before, message, hint, count))
        return count

    def gap(self, message: str, hint: str) -> bool:
        """Remember a gap in the increments; return whether it is a new one."""
        before = self.state.gap
        self.set(gap=_trouble(before, message, hint, 1 if before is None else before.count + 1))
        return before is None or before.message != message

    def quarantined(self, name: str) -> Quarantined | None:
        """Return what is known of an unusable file of this name."""
        return next((each for each in self.state.quarantined if each.name == name), None)

    def set_quarantined(self, entry: Quarantined) -> None:
        """Remember that a file cannot be used, in place of what was known of its name."""
        others = [each for each in self.state.quarantined if each.name != entry.name]
        self.set(quarantined=(*others, entry)[-QUARANTINED_MAX:])

    def refuse(self, entry: Refused) -> None:
        """Remember that the gate refused files, in place of what it said of them before."""
        others = [each for each in self.state.refused if each.names != entry.names]
        self.set(refused=(*others, entry)[-REFUSED_MAX:])

    def forget(self, names: Collection[str]) -> None:
        """Forget what was wrong with files that were used, or are of no more use."""
        self.set(
            quarantined=tuple(e for e in self.state.quarantined if e.name not in names),
            refused=tuple(e for e in self.state.refused if not set(e.names) & set(names)),
        )


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def _trouble(before: Trouble | None, message: str, hint: str, count: int) -> Trouble:
    since = before.since if before is not None else now()
    return Trouble(message=message, hint=hint, since=since, last_at=now(), count=count)
