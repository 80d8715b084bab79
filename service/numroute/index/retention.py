"""Which snapshots are kept: the newest few, one a day for some days, and what is protected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

KEEP_LAST = 12
"""The windows of a day."""
KEEP_DAILY = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What to keep; a snapshot is kept when any rule keeps it.

    ``last``: the newest so many. ``daily``: the newest of each of the last so many days (UTC) that
    have one. ``within``: all that were published at most so long before the newest.
    """

    last: int = KEEP_LAST
    daily: int = KEEP_DAILY
    within: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
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

    Args:
        snapshots: Ids and times of publishing, oldest first in the order of events. The order
            decides what is newest; a clock that was set back does not.
        retention: The rules.
        protected: Pairs of a snapshot's id and the reason why no rule may remove it.
    """
    reasons: dict[str, list[str]] = {each: [] for each, _ in snapshots}
    for each, reason in protected:
        if each in reasons:
            reasons[each].append(reason)
    newest_first = list(reversed(snapshots))
    for each, _ in newest_first[: retention.last]:
        reasons[each].append("last")
    days: set[object] = set()
    for each, at in newest_first:
        if at.date() not in days and len(days) < retention.daily:
            days.add(at.date())
            reasons[each].append("daily")
        if retention.within and newest_first[0][1] - at <= retention.within:
            reasons[each].append("within")
    return [
        Kept(snapshot=each, published=at, reasons=tuple(reasons[each])) for each, at in snapshots
    ]
