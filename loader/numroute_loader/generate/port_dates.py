"""When numbers were ported: more every year, most in December, mostly in working hours."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from numroute_loader.generate.randomness import weighted_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FIRST_DAY = date(2013, 12, 1)
"""Mobile number portability began in Russia on this day."""

DAY_BITS = 16
HOUR_BITS = 8
SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 86_400

# Ports that are still the number's latest, by year, in relative figures; the later years follow
# the published totals (registries.md, 3).
_YEARS = {
    2013: 60, 2014: 80, 2015: 95, 2016: 120, 2017: 150, 2018: 190, 2019: 220, 2020: 190,
    2021: 220, 2022: 220, 2023: 270, 2024: 350, 2025: 540,
}  # fmt: skip
_LATER_YEARS = 560
_DECEMBER = 145
_OTHER_MONTH = 100
_DECEMBER_MONTH = 12
_WEEKDAYS = (105, 108, 108, 106, 104, 82, 62)
_HOURS = (14, 6, 3, 2, 2, 3, 5, 8, 14, 30, 60, 66, 66, 62, 60, 60, 58, 54, 46, 38, 30, 24, 20, 17)


class PortDates:
    """Draws times of ports before midnight of the dump's date, Moscow time.

    Days count from ``FIRST_DAY``.
    """

    def __init__(self, dump_date: date, since: Sequence[int]) -> None:
        """Prepare one table of days for each distinct year.

        Args:
            dump_date: No port is on this day or later.
            since: Per operator the first year in which it receives numbers, at most the year
                of the dump.
        """
        self.days = [FIRST_DAY + timedelta(days=i) for i in range((dump_date - FIRST_DAY).days)]
        years = sorted(set(since))
        self._tables = np.stack([self._day_table(year) for year in years])
        self._table_of = np.array([years.index(year) for year in since], np.int64)
        self._hours = weighted_table(_HOURS, 1 << HOUR_BITS)

    def draw(
        self, words: NDArray[np.uint64], recipient: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw a day and a second of that day for each port.

        Args:
            words: uint64[n], random; the low 44 bits are used.
            recipient: int64[n], index of the operator.

        Returns:
            Day and second, int64[n] each.
        """
        bits = words.astype(np.int64)
        day = self._tables[self._table_of[recipient], bits & ((1 << DAY_BITS) - 1)]
        hour = self._hours[(bits >> DAY_BITS) & ((1 << HOUR_BITS) - 1)]
        fraction = (bits >> (DAY_BITS + HOUR_BITS)) & 0xFFFFF
        return day, hour * SECONDS_PER_HOUR + ((fraction * SECONDS_PER_HOUR) >> 20)

    def _day_table(self, since: int) -> NDArray[np.int64]:
        weights = [_day_weight(day) if day.year >= since else 0 for day in self.days]
        if not any(weights):
            # An operator that starts in the dump's own year before that year has a day.
            weights[-1] = 1
        return weighted_table(weights, 1 << DAY_BITS)


def _day_weight(day: date) -> int:
    month = _DECEMBER if day.month == _DECEMBER_MONTH else _OTHER_MONTH
    return _YEARS.get(day.year, _LATER_YEARS) * month * _WEEKDAYS[day.weekday()]
