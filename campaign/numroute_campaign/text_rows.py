"""Rows of output as CSV text, put together a whole block at a time.

The cells that belong to a route are made once per route. An Arrow array of strings keeps its texts
one after the other, so an array of whole lines is the text of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute_campaign.decisions import Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from numroute.model import Route
    from numroute_campaign.decisions import Decision, Decisions
    from numroute_campaign.lists.block import Block
    from numroute_campaign.sorting import Leaving, Staying

REJECT_COLUMNS: Final = ("row_id", "reason", "rule")

_FORMULA: Final = "^[=+\\-@\\t\\r\\n]"
"""How a cell begins that a spreadsheet may run as a formula."""

_SPECIAL: Final = '[",\\r\\n]'

_FORMULA_START: Final = re.compile(_FORMULA)
_SPECIAL_ANYWHERE: Final = re.compile(_SPECIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowText:
    """Lines of text. ``data``: their bytes; ``offsets``: int[n + 1], where each line begins."""

    data: memoryview
    offsets: NDArray[np.int32]

    def lines(self, begin: int, end: int) -> memoryview:
        """Return the bytes of some lines."""
        return self.data[int(self.offsets[begin]) : int(self.offsets[end])]


class RouteCells:
    """The cells that belong to a route, one text per code; made when a code is first met."""

    def __init__(
        self,
        routes: Sequence[Route],
        decisions: Decisions,
        cells: Callable[[Route, Decision], Sequence[str]],
    ) -> None:
        """``cells`` gives the texts of a route and its decision, in the order of the columns."""
        self._routes, self._decisions, self._cells = routes, decisions, cells
        self._texts: list[str] = []
        self._array = pa.array([], pa.string())
        self._known = 0

    def array(self) -> pa.Array:
        """Return string[codes], empty where a code was not met."""
        decided = self._decisions.decided
        if self._known != len(decided):
            missing = len(self._decisions.destination) - len(self._texts)
            self._texts += [""] * missing
            for code in list(decided)[self._known :]:
                self._texts[code] = ",".join(
                    cell_text(cell) for cell in self._cells(self._routes[code // 2], decided[code])
                )
            self._known = len(decided)
            self._array = pa.array(self._texts, pa.string())
        return self._array


def leaving_text(leaving: Leaving, names: pa.Array, route_cells: pa.Array, block: Block) -> RowText:
    """Return the lines of rows that leave: row id, number or pseudonym, route cells, kept columns.

    Args:
        leaving: The rows.
        names: string[n], what stands for the number.
        route_cells: string[codes], as ``RouteCells`` gives them.
        block: Where the kept columns are.
    """
    value = pa.array(leaving.value)
    parts = [
        pc.cast(pa.array(leaving.row_id), pa.string()),
        names,
        route_cells.take(pa.array(leaving.code)),
        *(cells_text(column.take(value)) for column in block.kept),
    ]
    return lines_of(parts)


def staying_text(staying: Staying, decisions: Decisions) -> RowText:
    """Return the lines of rows that do not leave: row id, reason, rule."""
    kind = np.where(staying.code >= 0, staying.code + 256, staying.reason)
    distinct, inverse = np.unique(kind, return_inverse=True)
    texts = []
    for each in distinct.tolist():
        if each < 256:  # noqa: PLR2004 - a reason; a code follows behind all reasons
            texts.append(f"{Reject(each).name},\n")
        else:
            decision = decisions.decided[each - 256]
            texts.append(f"{decision.reject.name},{cell_text(decision.rule)}\n")
    return _row_text(
        pc.binary_join_element_wise(
            pc.cast(pa.array(staying.row_id), pa.string()),
            pa.array(texts, pa.string()).take(pa.array(inverse)),
            ",",
        )
    )


def map_text(pseudonyms: pa.Array, numbers: NDArray[np.uint64]) -> RowText:
    """Return the lines of the map: pseudonym (string[n]), number (uint64[n])."""
    return lines_of([pseudonyms, pc.cast(pa.array(numbers), pa.string())])


def lines_of(cells: Sequence[pa.Array]) -> RowText:
    """Return lines of cells that are CSV text already, one array per column."""
    last = pc.binary_join_element_wise(cells[-1], "\n", "")
    return _row_text(pc.binary_join_element_wise(*cells[:-1], last, ","))


def cell_text(text: str) -> str:
    """Return a cell as CSV text that no spreadsheet takes for a formula."""
    if _FORMULA_START.match(text):
        text = f"'{text}"
    if _SPECIAL_ANYWHERE.search(text):
        escaped = text.replace('"', '""')
        return f'"{escaped}"'
    return text


def cells_text(column: pa.Array) -> pa.Array:
    """Return a column's values as CSV text, a null as nothing.

    A text that a spreadsheet would run as a formula gets an apostrophe before it, which says there
    that it is text; numbers stay as they are.
    """
    is_text = not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type))
    texts = pc.fill_null(pc.cast(column, pa.string()), "")
    if is_text:
        formula = pc.match_substring_regex(texts, _FORMULA)
        if pc.any(formula).as_py():
            texts = pc.if_else(formula, pc.binary_join_element_wise("'", texts, ""), texts)
    special = pc.match_substring_regex(texts, _SPECIAL)
    if pc.any(special).as_py():
        quoted = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
        texts = pc.if_else(special, quoted, texts)
    return texts


def _row_text(lines: pa.Array) -> RowText:
    _, offsets, data = lines.buffers()
    return RowText(
        data=memoryview(data if data is not None else b""),
        offsets=np.frombuffer(offsets, np.int32, count=len(lines) + 1, offset=lines.offset * 4),
    )
