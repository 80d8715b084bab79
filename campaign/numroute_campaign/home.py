"""Which numbers are of another country than the list's own.

A country code may be shared (+7 is Russia and Kazakhstan): there the leading digits decide, as the
metadata of the library ``phonenumbers`` have them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from numroute.e164.metadata import check_region

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PREFIX_DIGITS: Final = 7
"""Digits that tell whole countries apart: a country code and four digits of the number."""

_POWERS: Final = 10 ** np.arange(16, dtype=np.uint64)


class Home:
    """The country of a list: its default region. Without one no number is foreign."""

    def __init__(self, region: str | None) -> None:
        """Look the region up. Raises SettingError when it is unknown."""
        self.region = check_region(region)
        self._foreign: dict[int, bool] = {}
        self.country_code = ""
        self._others: list[re.Pattern[str]] = []
        if self.region is None:
            return
        from phonenumbers import (  # noqa: PLC0415 - slow to load
            PhoneMetadata,
            country_code_for_region,
            region_codes_for_country_code,
        )

        code = country_code_for_region(self.region)
        self.country_code = str(code)
        for other in region_codes_for_country_code(code):
            metadata = PhoneMetadata.metadata_for_region(other, None)
            if other != self.region and metadata is not None and metadata.leading_digits:
                self._others.append(re.compile(metadata.leading_digits))

    def mark_foreign(
        self, numbers: NDArray[np.uint64], code: NDArray[np.int64], unallocated: int | None
    ) -> None:
        """Add one to the code (int64[n]) of unallocated numbers that are foreign.

        A number that the snapshot knows is never foreign, whatever its country.
        ``unallocated``: the router's row of that status; None when it was not met.
        """
        if not self.country_code or unallocated is None:
            return
        at = np.flatnonzero(code == 2 * unallocated)
        if not len(at):
            return
        chosen = numbers.take(at)
        digits = np.searchsorted(_POWERS, chosen, side="right")
        prefix = chosen // _POWERS.take(np.maximum(digits - _PREFIX_DIGITS, 0))
        distinct, inverse = np.unique(prefix, return_inverse=True)
        foreign = np.array([self._is_foreign(each) for each in distinct.tolist()], np.int64)
        code[at] += foreign.take(inverse)

    def _is_foreign(self, prefix: int) -> bool:
        found = self._foreign.get(prefix)
        if found is None:
            text = str(prefix)
            national = text.removeprefix(self.country_code)
            found = not text.startswith(self.country_code) or any(
                other.match(national) for other in self._others
            )
            self._foreign[prefix] = found
        return found
