"""The ported numbers themselves, chunk by chunk in ascending order.

A chunk is a pure function of the options and its index. Its ranges are cut into events: a port of
one number, or a corporate port of a run of consecutive numbers that share recipient, date and
process.
"""

from __future__ import annotations

import math
import zlib
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from numroute.errors import SettingError
from numroute_loader.generate.plan import CODE_SIZE, Market, MobileRanges
from numroute_loader.generate.randomness import (
    TABLE_SIZE,
    Stream,
    log_normal,
    quantiles,
    scaled,
    share_out,
    weighted_table,
)

CHUNK_NUMBERS = 1 << 18
"""A chunk holds whole ranges, so a large range can make it larger."""

_SHARE_SIGMA = 0.9
"""Spread of the ported share between ranges."""
_SHARE_MAX_PER_CENT = 45
"""No range loses more than this, unless the whole plan has to."""
_OLD_CODES = ((902, 929), (950, 953), (960, 968))
_OLD_CODE_PER_CENT, _NEW_CODE_PER_CENT, _CITY_PER_CENT = 130, 70, 140
"""Weight of codes in use since before porting began, of later ones, and of the two capitals."""
_CITY_AREAS = frozenset({"moscow", "piter"})
_STRETCH, _STRETCH_SIGMA = 64, 1.0
"""Events next to each other whose gaps share a factor: numbers are issued block by block, so a
range has dense and sparse stretches."""
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
_SECONDS_PER_DAY = 86_400
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

PORTED_ROW = np.dtype(
    [
        *((name, np.int64) for name in ("number", "owner", "donor", "holder", "region")),
        *((name, np.int64) for name in ("time", "npid")),
        *((name, np.bool_) for name in ("corporate", "new")),
    ]
)
"""A row of Port_All_Full.

``number``: a ten-digit national number. ``owner``, ``donor``, ``holder``, ``region``: indexes into
the market; the owner of a returned number is its holder. ``time``: seconds since the midnight of
``FIRST_DAY``, Moscow time. ``npid``: the porting process. ``corporate``: ported in a run. ``new``:
not in the first dump.
"""


def portable_sizes(ranges: MobileRanges, market: Market) -> NDArray[np.int64]:
    """Return how many numbers of each range can be ported: none where subscribers never leave."""
    leaves = np.array([operator.loss > 0 for operator in market.operators])
    return np.where(leaves[ranges.operator], ranges.sizes, 0)


def _allocate(total: int, ranges: MobileRanges, market: Market, seed: int) -> NDArray[np.int64]:
    """Return int64[m]: how many numbers of each range leave their holder, ``total`` in all."""
    stream = Stream(seed, "allocation")
    sizes = portable_sizes(ranges, market)
    holds = int(sizes.sum())
    if total > holds:
        raise SettingError(
            f"ported and returned numbers are {total}, the plan holds {holds} that can be ported",
            hint="Ask for fewer ported numbers, or give a plan with more mobile ranges",
        )
    loss = np.array([operator.loss for operator in market.operators], np.int64)
    weights = sizes * stream.pick(log_normal(_SHARE_SIGMA, 100), len(sizes)) * loss[ranges.operator]
    code = ranges.first // CODE_SIZE
    old = np.any([(first <= code) & (code <= last) for first, last in _OLD_CODES], axis=0)
    city = np.array([region.area in _CITY_AREAS for region in market.regions])[ranges.region]
    weights *= np.where(old, _OLD_CODE_PER_CENT, _NEW_CODE_PER_CENT)
    weights *= np.where(city, _CITY_PER_CENT, 100)
    caps = sizes * _SHARE_MAX_PER_CENT // 100
    if total > int(caps.sum()):
        caps = sizes
    counts = np.zeros(len(sizes), np.int64)
    while left := total - int(counts.sum()):
        room = np.where(counts < caps, weights, 0)
        parts = share_out(left, room)
        if not parts.any():
            # Fewer are left than there are ranges: one each, in random order.
            candidates = np.flatnonzero(room)
            parts[candidates[stream.order(len(candidates))[:left]]] = 1
        counts = np.minimum(counts + parts, caps)
    return counts


class Ports:
    """All ported and returned numbers of a registry.

    ``rows``: how many there are, in ``chunk_count`` chunks; ``returned_home`` of them are back with
    their range holder. ``starts``: the lowest number that may lie in each chunk, and behind the
    last. ``recipients``: who gains each holder's numbers in each area, [operators, areas,
    TABLE_SIZE].
    """

    def __init__(
        self,
        market: Market,
        ranges: MobileRanges,
        *,
        ported: int,
        returned_home: int,
        dump_date: date,
        seed: int,
    ) -> None:
        """Prepare the tables; the numbers are drawn later. No port is on ``dump_date`` or later.

        Raises SettingError when the plan holds fewer numbers that can be ported.
        """
        self.rows, self.returned_home = ported + returned_home, returned_home
        self._ranges, self._seed = ranges, seed
        self._counts = _allocate(self.rows, ranges, market, seed)
        self._first_row = np.concatenate([[0], np.cumsum(self._counts)])
        # One row in each of equal strata, so they ascend.
        edges = np.arange(returned_home + 1, dtype=np.int64) * self.rows // max(1, returned_home)
        words = Stream(seed, "home").words(returned_home)
        self._home_rows = edges[:-1] + scaled(words, np.diff(edges))
        # A chunk ends with the range in which a further CHUNK_NUMBERS rows are full.
        full = np.append(np.arange(0, self.rows, CHUNK_NUMBERS), self.rows)
        self._limits = np.unique(self._first_row.searchsorted(full))
        self.chunk_count = len(self._limits) - 1
        self.starts = np.array([0, *ranges.first[self._limits[1:-1]], np.iinfo(np.int64).max])
        days = [FIRST_DAY + timedelta(days=i) for i in range((dump_date - FIRST_DAY).days)]
        self._day_table = weighted_table(
            [
                _YEARS.get(day.year, _LATER_YEARS)
                * _MONTHS[day.month - 1]
                * _WEEKDAYS[day.weekday()]
                for day in days
            ],
            1 << _DAY_BITS,
        )
        since = [(date(operator.since, 1, 1) - FIRST_DAY).days for operator in market.operators]
        self._since = self._day_table.searchsorted(since)
        self._hours = weighted_table(_HOURS, 1 << _HOUR_BITS)
        self.recipients = _recipient_tables(market, dump_date.year)
        self._area_of = market.area_of
        self._gap_table = quantiles(lambda share: -1000 * math.log(1 - share))
        self._stretch_table = log_normal(_STRETCH_SIGMA, 100)
        self._run_table = quantiles(
            lambda share: min(_RUN_MAX, 2 * (1 - share) ** (-1 / _RUN_EXPONENT))
        )

    def draw(self, index: int) -> NDArray[np.void]:
        """Return the rows of one chunk, ascending; later chunks hold higher numbers."""
        low, high = self._limits[index : index + 2]
        stream = Stream(self._seed, "chunk", index)
        row = np.repeat(np.arange(low, high), self._counts[low:high])
        first_row = int(self._first_row[low])
        rows = np.zeros(len(row), PORTED_ROW)
        holder, region = self._ranges.operator[row], self._ranges.region[row]
        rows["holder"], rows["region"] = holder, region

        def recipient(of: NDArray[np.int64], words: NDArray[np.uint64]) -> NDArray[np.int64]:
            area = self._area_of[region[of]]
            gains = self.recipients[holder[of], area, scaled(words, TABLE_SIZE)]
            return np.asarray(gains, np.int64)

        # What an event decides once is drawn per event and repeated for its numbers.
        event = self._events(row, stream)
        size = np.diff(event, append=len(row))
        offset = self._offsets(row[event], stream)
        place = np.arange(first_row, first_row + len(row)) - self._first_row[row]
        rows["number"] = self._ranges.first[row] + np.repeat(offset, size) + place
        owner = recipient(event, stream.words(len(event)))
        words = stream.words(len(event))
        other = recipient(event, words)
        again = ((words & np.uint64(255)) < _OTHER_DONOR_OF_256) & (other != owner)
        rows["owner"] = np.repeat(owner, size)
        rows["donor"] = np.repeat(np.where(again, other, holder[event]), size)
        rows["corporate"] = np.repeat(size > 1, size)
        time, npid = self._processes(owner, first_row + event, stream)
        rows["time"], rows["npid"] = np.repeat(time, size), np.repeat(npid, size)

        # A return is a process of its own: from the recipient back to the range holder.
        begin, end = self._home_rows.searchsorted([first_row, first_row + len(row)])
        back = self._home_rows[begin:end] - first_row
        donor = recipient(back, stream.words(len(back)))
        rows["owner"][back], rows["donor"][back] = holder[back], donor
        rows["corporate"][back] = False
        rows["time"][back], rows["npid"][back] = self._processes(donor, first_row + back, stream)
        return rows

    def _events(self, row: NDArray[np.int64], stream: Stream) -> NDArray[np.int64]:
        """Return where events begin; the end of a range cuts a run off."""
        words = stream.words(len(row))
        single = (words & np.uint64(1023)).astype(np.int64) * 1000 < _SINGLE_PORTS_PER_MILLE * 1024
        begins = np.diff(row, prepend=-1) != 0
        # One event per number is always enough.
        after = np.cumsum(np.where(single, 1, self._run_table[scaled(words, TABLE_SIZE)]))
        begins[after[: after.searchsorted(len(row))]] = True
        return np.flatnonzero(begins)

    def _offsets(self, row: NDArray[np.int64], stream: Stream) -> NDArray[np.int64]:
        """Return how many free numbers of its range lie before each event, ascending in a range."""
        count = len(row)
        factor = np.repeat(stream.pick(self._stretch_table, count // _STRETCH + 1), _STRETCH)
        gap = stream.pick(self._gap_table, count) * factor[:count]
        walked = np.cumsum(gap)
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        events = np.diff(begins, append=count)
        before = walked[begins] - gap[begins]
        length = walked[begins + events - 1] - before
        # Behind a range's last event comes a gap of average length.
        length += length // events + 1
        free = (self._ranges.sizes - self._counts)[row[begins]]
        scale = np.repeat(free / length, events)
        return np.asarray((walked - np.repeat(before, events)) * scale, np.int64)

    def _processes(
        self, recipient: NDArray[np.int64], row: NDArray[np.int64], stream: Stream
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw the times of ports by their recipients, and number the processes.

        Their numbers have sixteen digits and ascend with the time.
        """
        bits = stream.words(len(recipient)).astype(np.int64)
        days = len(self._day_table)
        since = self._since[recipient]
        place = since + (((bits & (days - 1)) * (days - since)) >> _DAY_BITS)
        hour = self._hours[(bits >> _DAY_BITS) & ((1 << _HOUR_BITS) - 1)]
        fraction = (bits >> (_DAY_BITS + _HOUR_BITS)) & 0xFFFFF
        # An operator may begin in the dump's own year, before that year has a day.
        day = self._day_table[np.minimum(place, days - 1)]
        time = day * _SECONDS_PER_DAY + hour * 3600 + ((fraction * 3600) >> 20)
        return time, NPID_FIRST + time * NPIDS_PER_SECOND + row % NPIDS_PER_SECOND


def _recipient_tables(market: Market, year: int) -> NDArray[np.int16]:
    def weight(holder: int, recipient: int, area: str) -> int:
        one, other = market.operators[holder], market.operators[recipient]
        if one is other or other.since > year or not other.works_in(area):
            return 0
        # How readily subscribers go there depends on the two codes and not on the seed.
        affinity = zlib.crc32(f"{one.code}>{other.code}".encode()) % 101
        return other.gain * (_AFFINITY_MIN_PER_CENT + affinity)

    every = range(len(market.operators))
    tables = [
        [weighted_table([weight(holder, each, area) for each in every]) for area in market.areas]
        for holder in every
    ]
    return np.array(tables, np.int16)
