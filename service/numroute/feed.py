"""The health record of a store's feed: ``feed.json`` beside ``CURRENT``.

The loader's ``watch`` and ``pull --follow`` write it; ``numroute info`` and the service's metrics
read it. The only decision made from it is when to retry a file that could not be used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from numroute.errors import StoreAccessError
from numroute.files import remove_unfinished, write_whole

FEED = "feed.json"
"""The file's name in the store."""

FAILED = "FAILED"
"""The outcome of a check that did not pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A failure: what it is, what to do, since when, how often, and when last."""

    message: str
    hint: str
    since: datetime
    last_at: datetime
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A file that is neither applied, refused nor unusable, and what it waits for."""

    name: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A delivered file that cannot be used; ``identity`` tells it from a later one of its name."""

    name: str
    identity: str
    reason: str
    at: datetime
    tries: int
    retry_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Files that the gate refused; what has the same ``key`` is not tried twice."""

    names: tuple[str, ...]
    checks: tuple[str, ...]
    message: str
    at: datetime
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """How the last full dump differs from the state that increments made up to its time.

    ``published``: whether it became the current snapshot; not where later increments were in.
    """

    dump: str
    outcome: str
    message: str
    at: datetime
    published: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """The health of a store's feed. All times are aware, in UTC; None = not yet, or nothing.

    ``source`` holds no secrets. ``polled_at``: when it was last reached and listed.
    ``succeeded_at``: when a poll last ended with nothing left to do. ``published_at``,
    ``snapshot_id``, ``as_of``: the last snapshot that the feed published. ``*_expected_at``: the
    times in the names of the next files. ``sizes``: by kind of file, of the last usable one.
    """

    source: str
    started_at: datetime
    polled_at: datetime | None = None
    succeeded_at: datetime | None = None
    published_at: datetime | None = None
    snapshot_id: str | None = None
    as_of: datetime | None = None
    dump_expected_at: datetime | None = None
    window_expected_at: datetime | None = None
    error: Trouble | None = None
    gap: Trouble | None = None
    waiting: tuple[Waiting, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    refused: tuple[Refused, ...] = ()
    reconciled: Reconciled | None = None
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether nothing needs attention: no error, gap or drift, no refused or unusable file."""
        last = self.reconciled
        drifted = last is not None and last.outcome == FAILED and not last.published
        return not (self.error or self.gap or self.quarantined or self.refused or drifted)

    @property
    def refused_files(self) -> int:
        """How many files the gate refused or are unusable."""
        return sum(len(each.names) for each in self.refused) + len(self.quarantined)


def read_feed_state(store: Path) -> FeedState | None:
    """Return the state of the feed of the store at this path, None if it never had one.

    Raises StoreAccessError when the file cannot be read or is not what this program writes.
    """
    path = store / FEED
    try:
        return msgspec.json.decode(path.read_bytes(), type=FeedState)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreAccessError.unreadable(path, error) from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise StoreAccessError(
            path,
            "it is not the state of a feed",
            hint="Remove it; `numroute-load watch` writes a new one",
        ) from None


def write_feed_state(store: Path, state: FeedState) -> None:
    """Replace the store's feed state, whole or not at all (0600).

    Raises StoreAccessError when the disk refuses.
    """
    path = store / FEED
    try:
        remove_unfinished(store, FEED)
        write_whole(path, msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")
    except OSError as error:
        raise StoreAccessError(path, f"cannot be written: {error.strerror}") from None
