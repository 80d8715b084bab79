"""How many segments each message has, by a column of the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.errors import InputError
from numroute_campaign.lists.column_names import shown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray


SEGMENTS_MAX: Final = 255
"""A concatenated short message has at most so many segments (3GPP TS 23.040, 9.2.3.24.1)."""


def check_segments(kind: pa.DataType, name: str, where: object) -> None:
    """Raise InputError when segments cannot stand in a column of this type."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or _is_text(kind)):
        raise InputError(
            str(where),
            f"the column {shown_name(name)} holds no segments, its type is {kind}",
            hint="Give --segments-column a column of whole numbers",
        )


def segment_counts(column: pa.Array) -> NDArray[np.int64]:
    """Return int64[n], whole numbers from 1 to ``SEGMENTS_MAX``; 0 for what is none."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type):
        # Not all bytes of a list are UTF-8, which trimming and matching need not know.
        texts = pc.ascii_trim_whitespace(column.cast(pa.string()))
        is_count = pc.match_substring_regex(texts, "^[0-9]{1,4}$")
        counts = pc.if_else(is_count, texts, "0").cast(pa.int64())
    else:
        values = column.cast(pa.float64(), safe=False)
        is_count = pc.and_(pc.less(pc.abs(values), 10_000), pc.equal(pc.floor(values), values))
        counts = pc.if_else(is_count, values, 0.0).cast(pa.int64(), safe=False)
    found: NDArray[np.int64] = pc.fill_null(counts, 0).to_numpy(zero_copy_only=False)
    return np.where((found >= 1) & (found <= SEGMENTS_MAX), found, 0)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
