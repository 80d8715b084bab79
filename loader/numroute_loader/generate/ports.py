"""The ported numbers themselves, chunk by chunk in ascending order.

A chunk is a pure function of the options and its index, so chunks can be made in any order. Its
ranges are cut into events: a port of one number, or a corporate port of a run of consecutive
numbers that share recipient, date and process. Numbers ascend by drawn gaps that are scaled to the
range, so nothing has to be sorted and no number can come twice.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from numroute.errors import SettingError
from numroute_loader.generate.plan import CODE_SIZE
from numroute_loader.generate.randomness import (
    TABLE_SIZE,
    Stream,
    log_normal,
    quantiles,
    scaled,
    weighted_table,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numroute_loader.generate.market import Market, Operator
    from numroute_loader.generate.plan import MobileRanges

CHUNK_NUMBERS = 1 << 18
"""A chunk holds whole ranges, so a large range can make it larger."""

_SHARE_SIGMA = 0.9
"""Spread of the ported share between ranges."""
_SHARE_MAX_PER_CENT = 45
"""No range loses more than this, unless the whole plan has to."""
_OLD_CODES = ((902, 929), (950, 953), (960, 968))
_OLD_CODE_PER_CENT, _NEW_CODE_PER_CENT, _CITY_PER_CENT = 130, 70, 140
_CITY_AREAS = frozenset({"moscow", "piter"})

_CLUSTER_NUMBERS, _CLUSTER_SIGMA = 64, 1.0
"""Neighbours in the dump whose gaps share a factor: ranges have dense and sparse stretches."""
_SINGLE_PORTS_PER_MILLE = 970
"""Events that are one number's; the others are corporate runs of 2 to 400 numbers."""
_RUN_EXPONENT, _RUN_MAX = 1.1, 400
_OTHER_DONOR_OF_256 = 30
"""Numbers ported more than once: their donor is not the range holder."""
_AFFINITY_MIN_PER_CENT = 50

NPID_FIRST = 10**15
NPIDS_PER_SECOND = 10**7

FIRST_DAY = date(2013, 12, 1)
"""Mobile number portability began in Russia on this day."""
SECONDS_PER_DAY = 86_400
_DAY_BITS, _HOUR_BITS = 16, 8

# Ports that are still the number's latest, by year, in relative figures; the later years follow
# the published totals (registries.md, 3). More ports in December, fewer at weekends and at night.
_YEARS = {
    2013: 60, 2014: 80, 2015: 95, 2016: 120, 2017: 150, 2018: 190, 2019: 220, 2020: 190,
    2021: 220, 2022: 220, 2023: 270, 2024: 350, 2025: 540,
}  # fmt: skip
_LATER_YEARS = 560
_MONTHS = (100,) * 11 + (145,)
_WEEKDAYS = (105, 108, 108, 106, 104, 82, 62)
_HOURS = (14, 6, 3, 2, 2, 3, 5, 8, 14, 30, 60, 66, 66, 62, 60, 60, 58, 54, 46, 38, 30, 24, 20, 17)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortedChunk:
    """Rows of Port_All_Full as columns, one entry per number, numbers ascending.

    ``number``: ten-digit national numbers. ``owner``, ``donor``, ``holder``, ``region``: indexes
    into the market. ``day`` counts from ``FIRST_DAY``, ``second`` within the day. ``npid``: the
    porting process. ``corporate``: bool, whether the number was ported in a run. ``home``: bool,
    whether the number is back with its holder. All others are int64.
    """

    number: NDArray[np.int64]
    owner: NDArray[np.int64]
    donor: NDArray[np.int64]
    holder: NDArray[np.int64]
    region: NDArray[np.int64]
    day: NDArray[np.int64]
    second: NDArray[np.int64]
    npid: NDArray[np.int64]
    corporate: NDArray[np.bool_]
    home: NDArray[np.bool_]


def portable_sizes(ranges: MobileRanges, market: Market) -> NDArray[np.int64]:
    """Return how many numbers of each range can be ported: none where subscribers never leave."""
    leaves = np.array([operator.loss > 0 for operator in market.operators])
    return np.where(leaves[ranges.operator], ranges.sizes, 0)


def allocate(total: int, ranges: MobileRanges, market: Market, seed: int) -> NDArray[np.int64]:
    """Choose how many numbers of each range leave their holder.

    Args:
        total: The exact sum wanted.
        ranges: The mobile plan, m ranges.
        market: The operators and regions that the ranges point to.
        seed: Of all random words.

    Returns:
        int64[m], at most the size of each range.

    Raises:
        SettingError: The plan holds fewer numbers that can be ported.
    """
    stream = Stream(seed, "allocation")
    sizes = portable_sizes(ranges, market)
    weights = _leaving_weights(ranges, market, stream)
    holds = int(sizes.sum())
    if total > holds:
        raise SettingError(
            f"ported and returned numbers are {total}, the plan holds {holds} that can be ported",
            hint="Ask for fewer ported numbers, or give a plan with more mobile ranges",
        )
    caps = sizes * _SHARE_MAX_PER_CENT // 100
    if total > int(caps.sum()):
        caps = sizes
    counts = np.zeros(len(sizes), np.int64)
    while left := total - int(counts.sum()):
        room = np.where(counts < caps, weights, 0)
        parts = (room.astype(np.float64) * (left / int(room.sum()))).astype(np.int64)
        if not parts.any():
            # Fewer are left than there are ranges: one each, in random order.
            candidates = np.flatnonzero(room)
            parts[candidates[stream.order(len(candidates))[:left]]] = 1
        counts = np.minimum(counts + parts, caps)
    return counts


def _leaving_weights(ranges: MobileRanges, market: Market, stream: Stream) -> NDArray[np.int64]:
    loss = np.array([operator.loss for operator in market.operators], np.int64)
    city = np.array([region.area in _CITY_AREAS for region in market.regions])
    code = ranges.first // CODE_SIZE
    old = np.zeros(len(code), np.bool_)
    for low, high in _OLD_CODES:
        old |= (code >= low) & (code <= high)
    share = stream.pick(log_normal(_SHARE_SIGMA, 100), len(code))
    age_percent = np.where(old, _OLD_CODE_PER_CENT, _NEW_CODE_PER_CENT)
    city_percent = np.where(city[ranges.region], _CITY_PER_CENT, 100)
    # Where anybody leaves the weight is positive, however small the range.
    return ranges.sizes * share * (loss[ranges.operator] * age_percent * city_percent) // 1000


class Ports:
    """All ported and returned numbers of a registry."""

    def __init__(
        self,
        market: Market,
        ranges: MobileRanges,
        counts: NDArray[np.int64],
        *,
        returned_home: int,
        dump_date: date,
        seed: int,
    ) -> None:
        """Prepare the tables; the numbers are drawn later, chunk by chunk.

        Args:
            market: Operators and regions.
            ranges: The mobile plan, m ranges.
            counts: int64[m], numbers to draw from each range.
            returned_home: How many of them are back with their range holder.
            dump_date: No port is on this day or later.
            seed: Of all random words.
        """
        self._ranges, self._counts, self._seed = ranges, counts, seed
        self._first_row = np.concatenate([[0], np.cumsum(counts)])
        self._home_rows = self._returned_rows(returned_home)
        self._limits = self._chunk_limits()
        self.days = [FIRST_DAY + timedelta(days=i) for i in range((dump_date - FIRST_DAY).days)]
        since = [min(operator.since, dump_date.year) for operator in market.operators]
        self._day_tables = {year: _day_table(self.days, year) for year in set(since)}
        self._since = np.array(since)
        self._hours = weighted_table(_HOURS, 1 << _HOUR_BITS)
        self._recipients = _recipient_tables(market, dump_date.year)
        self._area_of = market.area_of
        self._gap_table = quantiles(lambda share: -1000 * math.log(1 - share))
        self._cluster_table = log_normal(_CLUSTER_SIGMA, 100)
        self._run_table = quantiles(
            lambda share: min(_RUN_MAX, 2 * (1 - share) ** (-1 / _RUN_EXPONENT))
        )

    @property
    def chunk_count(self) -> int:
        """How many chunks there are."""
        return len(self._limits) - 1

    @property
    def rows(self) -> int:
        """How many ported and returned numbers there are."""
        return int(self._first_row[-1])

    def first_number(self, index: int) -> int:
        """Return the lowest number that may lie in a chunk; behind the last chunk, no number."""
        if index == self.chunk_count:
            return int(np.iinfo(np.int64).max)
        return int(self._ranges.first[self._limits[index]]) if index else 0

    def recipient(
        self, holder: NDArray[np.int64], region: NDArray[np.int64], words: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        """Return who gains numbers of these holders in these regions, chosen by random words."""
        gains = self._recipients[holder, self._area_of[region], scaled(words, TABLE_SIZE)]
        return np.asarray(gains, np.int64)

    def draw(self, index: int) -> PortedChunk:
        """Make one chunk; later chunks hold higher numbers."""
        low, high = int(self._limits[index]), int(self._limits[index + 1])
        stream = Stream(self._seed, "chunk", index)
        row = np.repeat(np.arange(low, high), self._counts[low:high])
        begins_range = np.diff(row, prepend=-1) != 0
        begins = begins_range | self._event_begins(len(row), stream)
        number = self._numbers(row, begins, begins_range, stream)
        holder, region = self._ranges.operator[row], self._ranges.region[row]
        first_row = int(self._first_row[low])

        # What an event decides once is drawn per event and repeated for its numbers.
        event = np.flatnonzero(begins)
        size = np.diff(event, append=len(row))
        recipient = self.recipient(holder[event], region[event], stream.words(len(event)))
        words = stream.words(len(event))
        other = self.recipient(holder[event], region[event], words)
        again = ((words & np.uint64(255)) < _OTHER_DONOR_OF_256) & (other != recipient)
        donor = np.where(again, other, holder[event])
        day, second = self._times(recipient, stream)
        npid = _npid(day, second, first_row + event)
        owner, donor, day, second, npid = (
            np.repeat(column, size) for column in (recipient, donor, day, second, npid)
        )

        # A return is a process of its own: from the recipient back to the range holder.
        back_from, back_to = np.searchsorted(self._home_rows, [first_row, first_row + len(row)])
        back = self._home_rows[back_from:back_to] - first_row
        home = np.zeros(len(row), np.bool_)
        home[back] = True
        owner[back] = holder[back]
        donor[back] = self.recipient(holder[back], region[back], stream.words(len(back)))
        day[back], second[back] = self._times(donor[back], stream)
        npid[back] = _npid(day[back], second[back], first_row + back)
        return PortedChunk(
            number=number,
            owner=owner,
            donor=donor,
            holder=holder,
            region=region,
            day=day,
            second=second,
            npid=npid,
            corporate=np.repeat(size > 1, size) & ~home,
            home=home,
        )

    def _returned_rows(self, returned_home: int) -> NDArray[np.int64]:
        """Choose rows of the full dump: one in each of equal strata, so they ascend."""
        if not returned_home:
            return np.zeros(0, np.int64)
        edges = np.arange(returned_home + 1, dtype=np.int64) * self.rows // returned_home
        return edges[:-1] + scaled(Stream(self._seed, "home").words(returned_home), np.diff(edges))

    def _chunk_limits(self) -> NDArray[np.int64]:
        """Cut the ranges where each further ``CHUNK_NUMBERS`` rows are full."""
        rows = np.append(np.arange(0, self.rows, CHUNK_NUMBERS), self.rows)
        return np.unique(np.searchsorted(self._first_row, rows, side="left"))

    def _event_begins(self, count: int, stream: Stream) -> NDArray[np.bool_]:
        # One event per number is always enough.
        words = stream.words(count)
        single = (words & np.uint64(1023)).astype(np.int64) * 1000 < _SINGLE_PORTS_PER_MILLE * 1024
        runs = self._run_table[scaled(words, TABLE_SIZE)]
        first = np.cumsum(np.where(single, 1, runs))
        begins = np.zeros(count, np.bool_)
        begins[:1] = True
        begins[first[: np.searchsorted(first, count)]] = True
        return begins

    def _numbers(
        self,
        row: NDArray[np.int64],
        begins: NDArray[np.bool_],
        begins_range: NDArray[np.bool_],
        stream: Stream,
    ) -> NDArray[np.int64]:
        count = len(row)
        words = stream.words(count)
        clusters = stream.pick(self._cluster_table, count // _CLUSTER_NUMBERS + 1)
        factor = np.repeat(clusters, _CLUSTER_NUMBERS)[:count]
        # Inside a run the next number follows at once; at least 1 keeps a range's sum positive.
        gap = np.where(begins, self._gap_table[scaled(words, TABLE_SIZE)] * factor + 1, 0)
        walked = np.cumsum(gap)
        starts = np.flatnonzero(begins_range)
        ends = np.append(starts[1:], count) - 1
        lengths = ends - starts + 1
        before = walked[starts] - gap[starts]
        # The stretch behind a range's last number gets a gap of average length too.
        beyond = (walked[ends] - before) // lengths + 1
        slack = self._ranges.sizes[row[starts]] - lengths
        scale = slack.astype(np.float64) / (walked[ends] - before + beyond)
        walked -= np.repeat(before, lengths)
        place = np.arange(count) - np.repeat(starts, lengths)
        offset = (walked.astype(np.float64) * np.repeat(scale, lengths)).astype(np.int64)
        number: NDArray[np.int64] = self._ranges.first[row] + offset + place
        return number

    def _times(
        self, recipient: NDArray[np.int64], stream: Stream
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw the day and the second of that day of each port, by its recipient."""
        bits = stream.words(len(recipient)).astype(np.int64)
        since = self._since[recipient]
        day = np.zeros(len(recipient), np.int64)
        for year, table in self._day_tables.items():
            day = np.where(since == year, table[bits & ((1 << _DAY_BITS) - 1)], day)
        hour = self._hours[(bits >> _DAY_BITS) & ((1 << _HOUR_BITS) - 1)]
        fraction = (bits >> (_DAY_BITS + _HOUR_BITS)) & 0xFFFFF
        return day, hour * 3600 + ((fraction * 3600) >> 20)


def _npid(
    day: NDArray[np.int64], second: NDArray[np.int64], row: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Number processes by their time: sixteen digits, ascending with the date."""
    time = day * SECONDS_PER_DAY + second
    return NPID_FIRST + time * NPIDS_PER_SECOND + row % NPIDS_PER_SECOND


def _day_table(days: list[date], since: int) -> NDArray[np.int64]:
    weights = [
        _YEARS.get(day.year, _LATER_YEARS) * _MONTHS[day.month - 1] * _WEEKDAYS[day.weekday()]
        if day.year >= since
        else 0
        for day in days
    ]
    if not any(weights):
        # An operator that starts in the dump's own year before that year has a day.
        weights[-1] = 1
    return weighted_table(weights, 1 << _DAY_BITS)


def _recipient_tables(market: Market, year: int) -> NDArray[np.int64]:
    """Who gains the numbers of each holder in each area: int16[operators, areas, TABLE_SIZE]."""

    def weight(holder: Operator, recipient: Operator, area: str) -> int:
        works = not recipient.areas or area in recipient.areas
        if recipient is holder or recipient.since > year or not works:
            return 0
        # How readily subscribers go there depends on the two codes and not on the seed.
        affinity = zlib.crc32(f"{holder.code}>{recipient.code}".encode()) % 101
        return recipient.gain * (_AFFINITY_MIN_PER_CENT + affinity)

    operators = market.operators
    return np.array(
        [
            [
                weighted_table([weight(one, other, area) for other in operators])
                for area in market.areas
            ]
            for one in operators
        ],
        np.int16,
    )
