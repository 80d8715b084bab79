"""The output folder: files per route, the rejects, the map of pseudonyms, the summary.

A block's rows are rendered by any thread (``render``) and written in the list's order by one
(``write``).
"""

from __future__ import annotations

import os
import re
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute_campaign.kept_columns import unpacked
from numroute_campaign.spool_files import SpoolFiles
from numroute_campaign.text_files import TextFiles
from numroute_campaign.text_rows import (
    REJECT_COLUMNS,
    RouteCells,
    RowText,
    cell_text,
    leaving_text,
    map_text,
    staying_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numroute.model import Route
    from numroute_campaign.decisions import Decision, Decisions
    from numroute_campaign.lists.block import Block
    from numroute_campaign.pseudonyms import Pseudonymizer
    from numroute_campaign.sorting import Leaving, Staying
    from numroute_campaign.workspace import Workspace

ROUTE_COLUMNS: Final = ("route", "operator", "mcc", "mnc", "status")
"""What leaves of every row behind its row id and its number or pseudonym."""

WINDOW_COLUMNS: Final = ("send_from_utc", "send_until_utc")
NUMBER: Final = "number"
PSEUDONYM: Final = "pseudonym"
ROW_ID: Final = "row_id"

REJECTS: Final = "rejects"

FORMS: Final = ("csv", "parquet", "arrow")
MAP: Final = "pseudonyms"


_UNSAFE: Final = re.compile(r"[^\w.-]+")
_STEM_CHARS_MAX: Final = 60
_TAKEN: Final = (REJECTS, "summary", "report")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """Form and size of the output files; ``rows_per_file`` None makes one file per route."""

    form: str = "csv"
    rows_per_file: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """A block's output: lines of text or, for the other forms, a batch; in order of destination."""

    leaving: Leaving
    text: RowText | None
    batch: pa.RecordBatch | None
    rejects: RowText
    rejects_rows: int
    map: RowText | None


class Outputs:
    """All files of one run, while they are written."""

    def __init__(
        self,
        workspace: Workspace,
        settings: OutputSettings,
        decisions: Decisions,
        routes: Sequence[Route],
        *,
        kept: Sequence[str],
        has_windows: bool,
        pseudonymizer: Pseudonymizer | None,
    ) -> None:
        """Begin with no file but that of the rejects."""
        self._workspace, self._settings, self._decisions = workspace, settings, decisions
        self._routes, self._kept = routes, tuple(kept)
        self._pseudonymizer = pseudonymizer
        self._route_columns = (*ROUTE_COLUMNS, *(WINDOW_COLUMNS if has_windows else ()))
        self.columns = (
            ROW_ID,
            NUMBER if pseudonymizer is None else PSEUDONYM,
            *self._route_columns,
            *self._kept,
        )
        self._cells = RouteCells(routes, decisions, self._cells_of)
        self._files: list[TextFiles | SpoolFiles] = []
        self._stems: list[str] = []
        self.rejects = TextFiles(
            workspace.output, REJECTS, _header(REJECT_COLUMNS), settings.rows_per_file
        )
        self._map = TextFiles(workspace.spool, MAP, _header((PSEUDONYM, NUMBER)), None)

    def begin(self) -> None:
        """Make the files that are there even when no row comes."""
        self.rejects.begin()
        if self._pseudonymizer is not None:
            self._map.begin()

    def route_cells(self) -> pa.Array:
        """Return what ``render`` needs to know of the routes met so far."""
        return self._cells.array()

    def render(
        self, leaving: Leaving, staying: Staying, block: Block, route_cells: pa.Array
    ) -> Rendered:
        """Make a block's output; on any thread."""
        text = batch = pairs = None
        if len(leaving.row_id):
            if self._pseudonymizer is None:
                names = None
            else:
                names = self._pseudonymizer.texts(leaving.number)
                pairs = map_text(names, leaving.number)
            if self._settings.form == "csv":
                texts = pc.cast(pa.array(leaving.number), pa.string()) if names is None else names
                text = leaving_text(leaving, texts, route_cells, block)
            else:
                batch = self._batch(leaving, names, block)
        return Rendered(
            leaving=leaving,
            text=text,
            batch=batch,
            rejects=staying_text(staying, self._decisions),
            rejects_rows=len(staying.row_id),
            map=pairs,
        )

    def write(self, rendered: Rendered) -> None:
        """Write what was made of the next block."""
        leaving = rendered.leaving
        for i, destination in enumerate(leaving.destinations):
            files = self._of(destination)
            begin, end = leaving.bounds[i], leaving.bounds[i + 1]
            if isinstance(files, SpoolFiles):
                files.append(_part(rendered.batch, begin, end))
            elif rendered.text is not None:
                files.append(rendered.text, begin, end)
        self.rejects.append(rendered.rejects, 0, rendered.rejects_rows)
        if rendered.map is not None:
            self._map.append(rendered.map, 0, len(leaving.row_id))

    def finish(self) -> None:
        """Complete the files."""
        spools = [files for files in self._files if isinstance(files, SpoolFiles)]
        # numpy and pyarrow let go of the interpreter's lock: each core writes a file.
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="write") as pool:
            columns = self._dictionaries()
            for done in [
                pool.submit(files.finish, lambda batch: self._completed(batch, columns))
                for files in spools
            ]:
                done.result()

    def map_name(self) -> str:
        """Return the name of the map of pseudonyms within the spool folder."""
        return self._map.names[0]

    def files_of(self, destination: int) -> tuple[str, ...]:
        """Return the names of the files of an output route."""
        return tuple(self._files[destination].names) if destination < len(self._files) else ()

    def _of(self, destination: int) -> TextFiles | SpoolFiles:
        while len(self._files) <= destination:
            stem = file_stem(self._decisions.destinations[len(self._files)], self._stems)
            self._stems.append(stem)
            self._files.append(self._new_files(stem))
        return self._files[destination]

    def _new_files(self, stem: str) -> TextFiles | SpoolFiles:
        settings, workspace = self._settings, self._workspace
        if settings.form == "csv":
            return TextFiles(workspace.output, stem, _header(self.columns), settings.rows_per_file)
        return SpoolFiles(
            workspace.spool, workspace.output, stem, settings.form, settings.rows_per_file
        )

    def _cells_of(self, route: Route, decision: Decision) -> Sequence[str]:
        operator = route.operator
        cells = (
            decision.destination,
            operator.brand or operator.name or operator.code,
            route.mcc,
            route.mnc,
            route.status.name,
            decision.send_from,
            decision.send_until,
        )
        return cells[: len(self._route_columns)]

    def _batch(self, leaving: Leaving, names: pa.Array | None, block: Block) -> pa.RecordBatch:
        """Return the rows as columns; the route's own come when the file is written."""
        value = pa.array(leaving.value)
        arrays = [
            pa.array(leaving.row_id),
            pa.array(leaving.number) if names is None else names,
            pa.array(leaving.code.astype(np.int32)),
            *(unpacked(column).take(value) for column in block.kept),
        ]
        return pa.RecordBatch.from_arrays(arrays, [ROW_ID, self.columns[1], "code", *self._kept])

    def _dictionaries(self) -> Mapping[str, tuple[pa.Array, pa.Array]]:
        """Return for each route column its place by code, and its distinct texts."""
        decided = sorted(self._decisions.decided.items())
        cells = [self._cells_of(self._routes[code // 2], decision) for code, decision in decided]
        codes = np.array([code for code, _ in decided], np.int64)
        found = {}
        for i, name in enumerate(self._route_columns):
            places: dict[str, int] = {}
            place_of = np.zeros(len(self._decisions.destination), np.int32)
            place_of[codes] = [places.setdefault(cell[i], len(places)) for cell in cells]
            found[name] = (pa.array(place_of), pa.array(list(places), pa.string()))
        return found

    def _completed(
        self, batch: pa.RecordBatch, columns: Mapping[str, tuple[pa.Array, pa.Array]]
    ) -> pa.RecordBatch:
        code = batch.column(2)
        routes = [
            pa.DictionaryArray.from_arrays(place_of.take(code), texts)
            for place_of, texts in columns.values()
        ]
        return pa.RecordBatch.from_arrays(
            [*batch.columns[:2], *routes, *batch.columns[3:]], list(self.columns)
        )


def _part(batch: pa.RecordBatch | None, begin: int, end: int) -> pa.RecordBatch:
    if batch is None:
        raise AssertionError("rows of this form come as a batch")
    return batch.slice(begin, end - begin)


def _header(columns: Sequence[str]) -> bytes:
    return (",".join(cell_text(column) for column in columns) + "\n").encode()


def file_stem(route: str, taken: Iterable[str]) -> str:
    """Return a file name without ending for an output route; none of ``taken``, without case."""
    text = unicodedata.normalize("NFC", route)
    stem = _UNSAFE.sub("-", text).strip("-._")[:_STEM_CHARS_MAX].lower() or "route"
    used = {*_TAKEN, *taken}
    candidate, serial = stem, 1
    while candidate in used:
        serial += 1
        candidate = f"{stem}-{serial}"
    return candidate
