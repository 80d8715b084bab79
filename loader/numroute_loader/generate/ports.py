"""The ported numbers themselves, chunk by chunk in ascending order.

A chunk is a pure function of the options and its index, so chunks can be made in any order. Its
ranges are cut into events: a port of one number, or a corporate port of a run of consecutive
numbers that share recipient, date and process. Numbers ascend by drawn gaps that are scaled to the
range, so nothing has to be sorted and no number can come twice.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute_loader.generate.port_dates import SECONDS_PER_DAY, PortDates
from numroute_loader.generate.randomness import (
    TABLE_SIZE,
    Purpose,
    Stream,
    exponential_table,
    log_normal_table,
    power_law_table,
    scaled,
    weighted_table,
)

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray

    from numroute_loader.generate.market import Market
    from numroute_loader.generate.plan import HeldRanges

CHUNK_NUMBERS = 1 << 18
"""A chunk holds whole ranges, so a large range can make it larger."""

CLUSTER_NUMBERS = 64
"""Neighbours in the dump whose gaps share a factor: ranges have dense and sparse stretches."""
CLUSTER_SIGMA = 1.0

SINGLE_PORTS_PER_MILLE = 970
"""Events that are one number's; the others are corporate runs."""
RUN_EXPONENT = 1.1
RUN_MIN = 2
RUN_MAX = 400

OTHER_DONOR_OF_256 = 30
"""Numbers ported more than once: their donor is not the range holder."""
AFFINITY_MIN_PER_CENT = 50

NPID_FIRST = 10**15
NPIDS_PER_SECOND = 10**7


@dataclass(frozen=True, slots=True, kw_only=True)
class PortedChunk:
    """Rows of Port_All_Full as columns, one entry per number, numbers ascending.

    ``number``: ten-digit national numbers. ``owner``, ``donor``, ``holder``, ``region``: indexes
    into the market. ``day`` counts from ``port_dates.FIRST_DAY``, ``second`` within the day.
    ``npid``: the porting process. ``corporate``: bool, whether the number was ported in a run.
    ``home``: bool, whether the number is back with its holder. All others are int64.
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


class Ports:
    """All ported and returned numbers of a registry."""

    def __init__(
        self,
        market: Market,
        ranges: HeldRanges,
        counts: NDArray[np.int64],
        *,
        returned_home: int,
        dump_date: date,
        seed: int,
    ) -> None:
        """Prepare the tables; nothing is drawn for single numbers yet but who came home.

        Args:
            market: Operators and regions.
            ranges: The mobile plan, m ranges.
            counts: int64[m], numbers to draw from each range.
            returned_home: How many of them are back with their range holder.
            dump_date: No port is on this day or later.
            seed: Of all random words.
        """
        self._ranges = ranges
        self._counts = counts
        self._seed = seed
        self._first_row = np.concatenate([[0], np.cumsum(counts)])
        self._home_rows = self._returned_rows(returned_home)
        self._bounds = self._chunk_bounds()
        self._dates = PortDates(
            dump_date, [min(operator.since, dump_date.year) for operator in market.operators]
        )
        self._recipients = _recipient_tables(market, dump_date.year)
        areas = market.areas
        self._area_of = np.array([areas.index(region.area) for region in market.regions])
        self._gap_table = exponential_table()
        self._cluster_table = log_normal_table(CLUSTER_SIGMA, median=100)
        self._run_table = power_law_table(exponent=RUN_EXPONENT, low=RUN_MIN, high=RUN_MAX)

    @property
    def chunk_count(self) -> int:
        """How many chunks there are."""
        return len(self._bounds) - 1

    @property
    def days(self) -> list[date]:
        """The date of each ``day``."""
        return self._dates.days

    def first_number(self, index: int) -> int:
        """Return the lowest number that may lie in a chunk."""
        return int(self._ranges.first[self._bounds[index]]) if index else 0

    def recipient(self, holder: int, region: int, word: int) -> int:
        """Return who gains a number of this holder in this region, chosen by a random word."""
        chosen = self._recipients[holder, self._area_of[region], word % TABLE_SIZE]
        return int(chosen)

    def draw(self, index: int) -> PortedChunk:
        """Make one chunk; later chunks hold higher numbers."""
        low, high = int(self._bounds[index]), int(self._bounds[index + 1])
        stream = Stream(self._seed, Purpose.CHUNK, index)
        row = np.repeat(np.arange(low, high), self._counts[low:high])
        begins_range = np.diff(row, prepend=-1) != 0
        begins = begins_range | self._event_begins(len(row), stream)
        number = self._numbers(row, begins, begins_range, stream)
        holder, region = self._ranges.operator[row], self._ranges.region[row]

        # What an event decides once is drawn per event and repeated for its numbers.
        event_first = np.flatnonzero(begins)
        event_size = np.diff(event_first, append=len(row))
        event_holder, event_region = holder[event_first], region[event_first]
        recipient = self._recipient(event_holder, event_region, stream.words(len(event_first)))
        donor = self._donor(event_holder, event_region, recipient, stream)
        day, second = self._dates.draw(stream.words(len(event_first)), recipient)
        first_row = int(self._first_row[low])
        npid = _npid(day, second, first_row + event_first)

        owner, donor, day, second, npid = (
            np.repeat(column, event_size) for column in (recipient, donor, day, second, npid)
        )
        home_from, home_to = np.searchsorted(self._home_rows, [first_row, first_row + len(row)])
        came_home = self._home_rows[home_from:home_to] - first_row
        home = np.zeros(len(row), np.bool_)
        home[came_home] = True
        # A return is a process of its own: from the recipient back to the range holder.
        owner[came_home] = holder[came_home]
        donor[came_home] = self._recipient(
            holder[came_home], region[came_home], stream.words(len(came_home))
        )
        home_day, home_second = self._dates.draw(stream.words(len(came_home)), donor[came_home])
        day[came_home], second[came_home] = home_day, home_second
        npid[came_home] = _npid(home_day, home_second, first_row + came_home)
        return PortedChunk(
            number=number,
            owner=owner,
            donor=donor,
            holder=holder,
            region=region,
            day=day,
            second=second,
            npid=npid,
            corporate=np.repeat(event_size > 1, event_size) & ~home,
            home=home,
        )

    def _returned_rows(self, returned_home: int) -> NDArray[np.int64]:
        """Choose rows of the full dump: one in each of equal strata, so they ascend."""
        total = int(self._first_row[-1])
        if not returned_home:
            return np.zeros(0, np.int64)
        edges = np.arange(returned_home + 1, dtype=np.int64) * total // returned_home
        words = Stream(self._seed, Purpose.HOME).words(returned_home)
        return edges[:-1] + scaled(words, np.diff(edges))

    def _chunk_bounds(self) -> NDArray[np.int64]:
        """Cut the ranges where each further ``CHUNK_NUMBERS`` rows are full."""
        total = int(self._first_row[-1])
        rows = np.append(np.arange(0, total, CHUNK_NUMBERS), total)
        return np.unique(np.searchsorted(self._first_row, rows, side="left"))

    def _event_begins(self, count: int, stream: Stream) -> NDArray[np.bool_]:
        # One event per number is always enough.
        words = stream.words(count)
        single = (words & np.uint64(1023)).astype(np.int64) * 1000 < SINGLE_PORTS_PER_MILLE * 1024
        runs = self._run_table[scaled(words, len(self._run_table))]
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
        clusters = stream.pick(self._cluster_table, count // CLUSTER_NUMBERS + 1)
        factor = np.repeat(clusters, CLUSTER_NUMBERS)[:count]
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

    def _recipient(
        self, holder: NDArray[np.int64], region: NDArray[np.int64], words: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        found = self._recipients[holder, self._area_of[region], scaled(words, TABLE_SIZE)]
        return np.asarray(found, np.int64)

    def _donor(
        self,
        holder: NDArray[np.int64],
        region: NDArray[np.int64],
        recipient: NDArray[np.int64],
        stream: Stream,
    ) -> NDArray[np.int64]:
        words = stream.words(len(holder))
        again = (words & np.uint64(255)) < OTHER_DONOR_OF_256
        other = self._recipient(holder, region, words)
        return np.where(again & (other != recipient), other, holder)


def _npid(
    day: NDArray[np.int64], second: NDArray[np.int64], row: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Number processes by their time: sixteen digits, ascending with the date."""
    time = day * SECONDS_PER_DAY + second
    return NPID_FIRST + time * NPIDS_PER_SECOND + row % NPIDS_PER_SECOND


def _recipient_tables(market: Market, year: int) -> NDArray[np.int64]:
    """Who gains the numbers of each holder in each area: int16[operators, areas, TABLE_SIZE]."""
    operators = market.operators
    tables = [
        [
            weighted_table(
                [
                    recipient.gain * _affinity(holder.code, recipient.code)
                    if recipient is not holder
                    and recipient.since <= year
                    and recipient.works_in(area)
                    else 0
                    for recipient in operators
                ],
                TABLE_SIZE,
            )
            for area in market.areas
        ]
        for holder in operators
    ]
    return np.array(tables, np.int16)


def _affinity(holder: str, recipient: str) -> int:
    """How readily one operator's subscribers go to another, 50 to 150 per cent.

    It is fixed by the two codes, so that it does not change with the seed.
    """
    return AFFINITY_MIN_PER_CENT + zlib.crc32(f"{holder}>{recipient}".encode()) % 101
