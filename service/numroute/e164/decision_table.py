"""Decisions of one region as arrays, so that a whole column looks its decisions up at once.

A class of numbers (plus sign or none, how many digits, the first five) has one code; a code has
one outcome. Both are filled when a class is first met: a list of a country's numbers meets a few
dozen classes, and one decision settles as many as share its deciding digits.
"""

from __future__ import annotations

import functools
import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

from numroute.e164.decide import DIGITS_MAX, KNOWN_DIGITS_MAX, Outcome, decide_class

_HEADS: Final = 10**KNOWN_DIGITS_MAX
_LENGTHS: Final = DIGITS_MAX + 2
"""No digits, 1 to DIGITS_MAX digits, and more than that."""

_NOT_MET: Final = 0
UNSETTLED: Final = 1
"""The code of a class whose leading digits do not decide."""

_OUTCOMES_MAX: Final = 1 << 15
"""More than all country codes times all lengths; a code is a signed 16-bit integer."""


class DecisionTable:
    """The decisions of one region, or of no region."""

    def __init__(self, region: str | None) -> None:
        """Start with nothing decided. ``region`` is one that ``check_region`` returned."""
        self._region = region
        # Fresh zero pages take no memory until they are written.
        self._codes = np.zeros(2 * _LENGTHS * _HEADS, np.int16)
        self._code_of: dict[Outcome, int] = {}
        self._lock = threading.Lock()
        self._base = np.zeros(_OUTCOMES_MAX, np.uint64)
        self._modulus = np.ones(_OUTCOMES_MAX, np.uint64)
        self._reason = np.zeros(_OUTCOMES_MAX, np.uint8)

    def codes(
        self, plus: NDArray[np.bool_], lengths: NDArray[np.int64], heads: NDArray[np.uint32]
    ) -> NDArray[np.int16]:
        """Return the code of every number's class, deciding those not met before.

        A number's class is whether a ``+`` stands before its digits, how many digits there are, and
        the first five as an integer, with zeros for missing ones.
        """
        at = (plus * _LENGTHS + np.minimum(lengths, _LENGTHS - 1)) * _HEADS + heads
        codes = self._codes.take(at)
        not_met = codes == _NOT_MET
        if not_met.any():
            with self._lock:
                for place in np.unique(at[not_met]).tolist():
                    self._settle(place)
            codes = self._codes.take(at)
        return codes

    def outcomes(
        self, codes: NDArray[np.int16], tails: NDArray[np.uint64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        """Return the numbers and the reasons of codes and of the last 16 digits of each text."""
        numbers = tails % self._modulus.take(codes)
        numbers += self._base.take(codes)
        return numbers, self._reason.take(codes)

    def _settle(self, place: int) -> None:
        """Decide one class, and with it all that share the digits that decided."""
        if self._codes[place] != _NOT_MET:
            return
        plus, length = divmod(place // _HEADS, _LENGTHS)
        digits = f"{place % _HEADS:0{KNOWN_DIGITS_MAX}}"[:length]
        for count in range(len(digits) + 1):
            outcome = decide_class(digits[:count], length, self._region, plus=bool(plus))
            if outcome is not None:
                alike = 10 ** (KNOWN_DIGITS_MAX - count)
                first = place - place % alike
                self._codes[first : first + alike] = self._code(outcome)
                return
        self._codes[place] = UNSETTLED

    def _code(self, outcome: Outcome) -> int:
        """Return the outcome's code. Its figures stand in the arrays before its code is used."""
        if outcome not in self._code_of:
            code = UNSETTLED + 1 + len(self._code_of)
            self._reason[code], self._base[code], self._modulus[code] = outcome
            self._code_of[outcome] = code
        return self._code_of[outcome]


decision_table = functools.cache(DecisionTable)
"""Returns the table of a region; one is kept for each."""
