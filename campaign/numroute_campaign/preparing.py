"""The first steps, which need no order: read numbers, reject texts, look up routes.

Threads prepare blocks side by side; nothing is done per row in Python.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.e164.metadata import check_region
from numroute_campaign.lists import Block
from numroute_campaign.lists.cells import Phones, is_equal, read_phones, unpacked
from numroute_campaign.routers import Router
from numroute_campaign.templates import plain_texts
from numroute_campaign.vocabulary import Reject, Several

SAMPLES_MAX: Final = 3
SAMPLE_CHARS_MAX: Final = 24
SAMPLE_DIGITS: Final = 3
"""How many samples of a reason are shown, and how much of each."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A block with its numbers read and looked up.

    Attributes:
        numbers: uint64[n], the valid numbers, in order.
        record: int64[n], the place of each one's record in the block.
        code: int64[n], codes of ``Decisions``.
        holders: int64[n], the range holder's place in the router's operators; -1 = not ported.
        rejected: int64[k], the other records.
        reasons: uint8[k], ``Reject`` values.
        several: How many cells hold several numbers.
        further: How many numbers those hold after the first.
        samples: By ``Reject`` value the first rejected cells, masked.
    """

    block: Block
    numbers: NDArray[np.uint64]
    record: NDArray[np.int64]
    code: NDArray[np.int64]
    holders: NDArray[np.int64]
    rejected: NDArray[np.int64]
    reasons: NDArray[np.uint8]
    several: int
    further: int
    samples: dict[int, list[str]]


def prepare(
    block: Block,
    router: Router,
    country: DefaultCountry,
    several: Several = Several.FIRST,
    ported_since: int = 0,
) -> Prepared:
    """Read and look up a block's numbers.

    ``ported_since``: seconds since 1970-01-01 UTC; numbers ported since then are recently ported.
    """
    phones = read_phones(block.phones[0], country.region)
    cells = np.unique(phones.further_at)
    if several is Several.REJECT:
        phones.numbers[cells] = 0
        phones.reasons[cells] = Reject.SEVERAL_NUMBERS
    invalid, reasons = rejected_cells(block.phones[0], phones, block.headers[0])
    damage = block.damage.take(invalid)
    samples = _samples(block.phones[0], invalid[damage == 0], reasons[damage == 0])
    record = np.flatnonzero(phones.numbers)
    numbers = phones.numbers.take(record)
    if several is Several.ALL and len(cells):
        record = np.concatenate([record, phones.further_at])
        numbers = np.concatenate([numbers, phones.further])
        order = record.argsort(kind="stable")
        record, numbers = record.take(order), numbers.take(order)
    code, holders = look_up(numbers, router, country, ported_since)
    return Prepared(
        block=block,
        numbers=numbers,
        record=record,
        code=code,
        holders=holders,
        rejected=invalid,
        reasons=np.where(damage, damage, reasons),
        several=len(cells),
        further=len(phones.further),
        samples=samples,
    )


def mask_cell(text: str) -> str:
    """Mask a cell: three digits and all punctuation stay, letters become ``x``."""
    text = re.sub(r"[^\W\d_]", "x", text[:SAMPLE_CHARS_MAX])
    first = re.match(rf"(\D*\d){{0,{SAMPLE_DIGITS}}}", text)
    end = first.end() if first else 0
    shape = text[:end] + re.sub(r"\d", "\N{BULLET}", text[end:])
    return "".join(char if char.isprintable() else " " for char in shape)


def _samples(
    column: pa.Array, invalid: NDArray[np.int64], reasons: NDArray[np.uint8]
) -> dict[int, list[str]]:
    """Return the first rejected cells of each reason, masked."""
    samples = {}
    for reason in np.unique(reasons[reasons != Reject.EMPTY]).tolist():
        places = invalid[reasons == reason][:SAMPLES_MAX]
        cells = unpacked(column.take(pa.array(places)))
        if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
            cells = cells.cast(pa.large_binary())  # not all bytes of a list are UTF-8
        samples[reason] = list(dict.fromkeys(map(mask_cell, plain_texts(cells).to_pylist())))
    return samples


def rejected_cells(
    column: pa.Array, phones: Phones, header: str = ""
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the places of the cells without a number, and the reason of each."""
    invalid = np.flatnonzero(phones.numbers == 0)
    reasons = phones.reasons.take(invalid)
    if len(invalid):
        cells = column.take(pa.array(invalid))
        reasons[is_equal(cells, "")] = Reject.EMPTY
        if header:
            reasons[is_equal(cells, header)] = Reject.HEADER_ROW
    return invalid, reasons


def look_up(
    numbers: NDArray[np.uint64], router: Router, country: DefaultCountry, ported_since: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the code and the range holder of each number, as ``Prepared`` has them."""
    if not len(numbers):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    code, holders = router.route(numbers, ported_since)
    country.mark_foreign(numbers, code, router.unknown())
    return code, holders


class DefaultCountry:
    """The country of a list, its default region. Without one no number is foreign.

    Countries may share a code (+7 is Russia and Kazakhstan): there the leading digits decide, as
    the metadata of ``phonenumbers`` list them.
    """

    def __init__(self, region: str | None) -> None:
        """Look the region up. Raises SettingError when it is unknown."""
        self.region = check_region(region)
        self.country_code = ""
        if self.region is None:
            return
        from phonenumbers import (  # noqa: PLC0415 - slow to load
            PhoneMetadata,
            country_code_for_region,
            region_codes_for_country_code,
        )

        code = country_code_for_region(self.region)
        self.country_code = str(code)
        others = (
            PhoneMetadata.metadata_for_region(other, None)
            for other in region_codes_for_country_code(code)
            if other != self.region
        )
        leading = [each.leading_digits for each in others if each and each.leading_digits]
        self._others = f"^{code}(?:{'|'.join(leading)})" if leading else "^$"

    def mark_foreign(
        self, numbers: NDArray[np.uint64], code: NDArray[np.int64], unknown: NDArray[np.int64]
    ) -> None:
        """Add one to the code (int64[n]) of numbers without a route that are foreign.

        A number that the snapshot knows is never foreign, whatever its country.
        ``unknown``: the router's rows of such numbers.
        """
        at = np.flatnonzero(np.isin(code, 2 * unknown))
        if self.country_code and len(at):
            texts = pc.cast(pa.array(numbers.take(at)), pa.string())
            code[at] += self.are_foreign(texts).to_numpy(zero_copy_only=False)

    def are_foreign(self, numbers: pa.Array) -> pa.Array:
        """Return bool[n], whether numbers (string[n]) are of another country than this one."""
        return pc.or_(
            pc.invert(pc.starts_with(numbers, self.country_code)),
            pc.match_substring_regex(numbers, self._others),
        )
