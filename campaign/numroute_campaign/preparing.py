"""The first steps, which need no order: numbers read, texts rejected, routes looked up.

Any number of threads prepare blocks side by side; nothing is done per row in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.e164 import parse_column
from numroute_campaign.decisions import Reject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from numroute_campaign.home import Home
    from numroute_campaign.lists.block import Block
    from numroute_campaign.routers import Router


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A block whose numbers are read and looked up.

    Attributes:
        numbers: uint64[n], the valid numbers, in order.
        record: int64[n], the record of each, its place in the block.
        value: int64[n], the place of each in the block's columns.
        code: int64[n], twice the row of the router's table, and one more for foreign numbers.
        holders: int64[n], the range holder's place in the router's operators; -1 = not ported.
        rejected: int64[k], the other records, in order.
        reasons: uint8[k], ``Reject`` values.
    """

    block: Block
    numbers: NDArray[np.uint64]
    record: NDArray[np.int64]
    value: NDArray[np.int64]
    code: NDArray[np.int64]
    holders: NDArray[np.int64]
    rejected: NDArray[np.int64]
    reasons: NDArray[np.uint8]


def prepare(block: Block, router: Router, home: Home) -> Prepared:
    """Read and look up a block's numbers."""
    parsed = parse_column(block.phone, home.region)
    value = np.flatnonzero(parsed.numbers)
    numbers = parsed.numbers.take(value)
    invalid = np.flatnonzero(parsed.numbers == 0)
    reasons = parsed.reasons.take(invalid)
    if len(invalid):
        reasons[is_empty(block.phone.take(pa.array(invalid)))] = Reject.EMPTY
    record = value
    if block.record is not None:
        record, invalid = block.record.take(value), block.record.take(invalid)
    if len(block.damaged):
        invalid = np.concatenate([invalid, block.damaged])
        order = invalid.argsort()
        invalid = invalid.take(order)
        reasons = np.concatenate([reasons, block.damage]).take(order)
    code, holders = look_up(numbers, router, home)
    return Prepared(
        block=block,
        numbers=numbers,
        record=record,
        value=value,
        code=code,
        holders=holders,
        rejected=invalid,
        reasons=reasons,
    )


def look_up(
    numbers: NDArray[np.uint64], router: Router, home: Home
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the code and the range holder of each number, as ``Prepared`` has them."""
    if not len(numbers):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    routed = router.route(numbers)
    holders = np.full(len(numbers), -1, np.int64)
    holders[routed.ported] = routed.holders
    code = routed.rows * 2
    home.mark_foreign(numbers, code, router.unallocated)
    return code, holders


def is_empty(values: pa.Array) -> NDArray[np.bool_]:
    """Whether each value is null, empty or blank."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return np.asarray(values.is_null().to_numpy(zero_copy_only=False))
    # Only short texts can be blank; and not all bytes of a list are UTF-8, which trimming needs.
    blank = pc.equal(pc.ascii_trim_whitespace(pc.fill_null(values, "")), "")
    return np.asarray(blank.to_numpy(zero_copy_only=False))
