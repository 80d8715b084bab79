"""The output folder: files per route, the rejects, the map of pseudonyms.

Any thread renders a block's rows; one thread writes them in the list's order.
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

from numroute.errors import SettingError
from numroute_campaign.lists.cells import unpacked
from numroute_campaign.output_files import SpoolFiles, TextFiles
from numroute_campaign.templates import (
    LIST_PREFIX,
    NUMBER,
    ROUTE_COLUMNS,
    ROW_ID,
    WINDOW_COLUMNS,
    Layout,
    RowText,
    Template,
    cell_of,
    cells_text,
    header_text,
    lines_text,
    rows_text,
)
from numroute_campaign.vocabulary import PSEUDONYM, Reject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numroute.model import Route
    from numroute_campaign.handover import Pseudonymizer
    from numroute_campaign.lists import Block
    from numroute_campaign.output_files import Workspace
    from numroute_campaign.sorting import Decisions, Leaving, Staying

REJECTS: Final = "rejects"
REJECT_COLUMNS: Final = ("row_id", "reason", "rule")
MAP: Final = "pseudonyms"

_UNSAFE: Final = re.compile(r"[^\w.-]+")
_STEM_CHARS_MAX: Final = 60
_TAKEN: Final = (REJECTS, "summary", "report", "act")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """Form and size of the output files; ``rows_per_file`` None makes one file per route."""

    form: str = "csv"
    rows_per_file: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What is written of each row.

    Attributes:
        kept: The columns of the list that the blocks have, in order.
        shown: Those of them that are written where no template says otherwise.
        has_windows: Whether a rule has a send window.
        country_code: Of the list's default country; empty if it has none.
    """

    kept: tuple[str, ...]
    shown: tuple[str, ...]
    has_windows: bool
    country_code: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """A block's output, in order of destination.

    Attributes:
        texts: Lines of text, each with the place of its first row; empty for the other forms.
        batch: The rows as columns for the other forms.
    """

    leaving: Leaving
    texts: list[tuple[int, RowText]]
    batch: pa.RecordBatch | None
    rejects: RowText
    map: RowText | None


class Outputs:
    """All files of one run, while they are written.

    Attributes:
        renamed: Names in the files of kept columns that are called as a column of the output is.
    """

    def __init__(
        self,
        workspace: Workspace,
        settings: OutputSettings,
        decisions: Decisions,
        routes: Sequence[Route],
        columns: Columns,
        *,
        templates: Mapping[str, Template],
        pseudonymizer: Pseudonymizer | None,
    ) -> None:
        """Create the files that exist even if no row follows. ``templates``: by route.

        Raises:
            SettingError: The form has no templates.
        """
        if templates and settings.form != "csv":
            raise SettingError(
                f"the policy has output templates, which --format {settings.form} does not know",
                hint="Give --format csv, or a policy without templates",
            )
        self._workspace, self._settings, self._decisions = workspace, settings, decisions
        self._routes, self._columns = routes, columns
        self._pseudonymizer = pseudonymizer
        self._route_columns = ROUTE_COLUMNS + (WINDOW_COLUMNS if columns.has_windows else ())
        self._number = NUMBER if pseudonymizer is None else PSEUDONYM
        taken = {ROW_ID, self._number, *self._route_columns}
        self.renamed = {each: LIST_PREFIX + each for each in columns.shown if each in taken}
        default = self._layout(
            Template(columns={ROW_ID: ROW_ID}, delimiter=","),
            [
                (ROW_ID, ROW_ID),
                (self._number, NUMBER),
                *((name, name) for name in self._route_columns),
                *((self.renamed.get(each, each), LIST_PREFIX + each) for each in columns.shown),
            ],
        )
        self._layouts = [default]
        self._layout_of: dict[str, int] = {}
        for route, template in templates.items():
            known = next(
                (i for i, each in enumerate(self._layouts) if each.template is template), 0
            )
            if not known:
                known = len(self._layouts)
                self._layouts.append(self._layout(template, tuple(template.columns.items())))
            self._layout_of[route] = known
        self._files: list[TextFiles | SpoolFiles] = []
        self._stems: list[str] = []
        head, rows = header_text(REJECT_COLUMNS), settings.rows_per_file
        self.rejects = TextFiles(workspace.output, REJECTS, head, rows)
        self.rejects.begin()
        self._map = TextFiles(workspace.spool, MAP, header_text((PSEUDONYM, NUMBER)))
        if pseudonymizer is not None:
            self._map.begin()

    def route_cells(self) -> list[tuple[pa.Array, ...]]:
        """Return the cells of the routes decided so far, for ``render``."""
        return [layout.route_cells() for layout in self._layouts]

    def render(
        self,
        leaving: Leaving,
        staying: Staying,
        block: Block,
        route_cells: Sequence[tuple[pa.Array, ...]],
    ) -> Rendered:
        """Make a block's output; on any thread."""
        texts: list[tuple[int, RowText]] = []
        batch = pairs = names = None
        if len(leaving.row_id):
            if self._pseudonymizer is not None:
                names = self._pseudonymizer.texts(leaving.number)
                pairs = rows_text([names, pa.array(leaving.number)])
            if self._settings.form != "csv":
                batch = self._batch(leaving, names, block)
            for number, begin, end in self._runs(leaving) if batch is None else ():
                layout = self._layouts[number]
                text = layout.text(leaving, begin, end, names, route_cells[number], block)
                texts.append((begin, text))
        return Rendered(
            leaving=leaving,
            texts=texts,
            batch=batch,
            rejects=self._rejects_text(staying),
            map=pairs,
        )

    def _runs(self, leaving: Leaving) -> list[tuple[int, int, int]]:
        """Return layout, first row and end of each run of destinations with the same layout."""
        runs: list[tuple[int, int, int]] = []
        for i, place in enumerate(leaving.destinations):
            begin, end = leaving.bounds[i], leaving.bounds[i + 1]
            number = self._layout_of.get(self._decisions.first[place].destination, 0)
            if runs and runs[-1][0] == number:
                begin = runs.pop()[1]
            runs.append((number, begin, end))
        return runs

    def write(self, rendered: Rendered) -> None:
        """Write the rendered rows of the next block."""
        leaving, texts = rendered.leaving, list(rendered.texts)
        for i, destination in enumerate(leaving.destinations):
            files = self._of(destination)
            begin, end = leaving.bounds[i], leaving.bounds[i + 1]
            if isinstance(files, TextFiles):
                while len(texts) > 1 and texts[1][0] <= begin:
                    texts.pop(0)
                first, text = texts[0]
                files.append(text, begin - first, end - first)
            elif rendered.batch is not None:
                files.append(rendered.batch.slice(begin, end - begin))
        self.rejects.append(rendered.rejects, 0, len(rendered.rejects.offsets) - 1)
        if rendered.map is not None:
            self._map.append(rendered.map, 0, len(leaving.row_id))

    def finish(self) -> None:
        """Complete the files."""
        spools = [files for files in self._files if isinstance(files, SpoolFiles)]
        # numpy and pyarrow release the interpreter's lock: each core writes a file.
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="write") as pool:
            columns = self._dictionaries()
            for done in [
                pool.submit(files.finish, lambda batch: self._completed(batch, columns))
                for files in spools
            ]:
                done.result()

    def column_names(self) -> tuple[str, ...]:
        """Return the names of all columns in the files."""
        if self._settings.form != "csv":
            return (ROW_ID, self._number, *self._route_columns, *self._kept_names)
        used = {self._layout_of.get(each.destination, 0) for each in self._decisions.first}
        names = (name for number in sorted(used) for name, _ in self._layouts[number].columns)
        return tuple(dict.fromkeys(names))

    def map_name(self) -> str:
        """Return the name of the map of pseudonyms within the spool folder."""
        return self._map.names[0]

    @property
    def rows(self) -> int:
        """How many rows have been written, to outputs and rejects."""
        return self.rejects.rows + sum(files.rows for files in self._files)

    def files_of(self, destination: int) -> tuple[str, ...]:
        """Return the names of the files of a destination."""
        return tuple(self._files[destination].names) if destination < len(self._files) else ()

    @property
    def _kept_names(self) -> list[str]:
        return [self.renamed.get(each, each) for each in self._columns.kept]

    def _layout(self, template: Template, columns: Sequence[tuple[str, str]]) -> Layout:
        kept, country_code = self._columns.kept, self._columns.country_code
        return Layout(template, columns, kept, self._routes, self._decisions, country_code)

    def _of(self, destination: int) -> TextFiles | SpoolFiles:
        while len(self._files) <= destination:
            stem = file_stem(self._decisions.destinations[len(self._files)], self._stems)
            self._stems.append(stem)
            self._files.append(self._new_files(stem, len(self._files)))
        return self._files[destination]

    def _new_files(self, stem: str, destination: int) -> TextFiles | SpoolFiles:
        settings, workspace = self._settings, self._workspace
        rows = settings.rows_per_file
        if settings.form != "csv":
            return SpoolFiles(workspace.spool, workspace.output, stem, settings.form, rows)
        first = self._decisions.first[destination]
        layout = self._layouts[self._layout_of.get(first.destination, 0)]
        template = layout.template
        return TextFiles(
            workspace.output,
            stem,
            layout.head(first),
            rows,
            ending=template.file_ending,
            encoding=template.encoding,
        )

    def _rejects_text(self, staying: Staying) -> RowText:
        """Return the lines of rows that are not routed: row id, reason, rule."""
        kind = np.where(staying.code >= 0, staying.code + 256, staying.reason)
        distinct, inverse = np.unique(kind, return_inverse=True)
        decided = self._decisions.decided
        reasons = [
            (Reject(each), "")
            if each < 256  # noqa: PLR2004 - a code follows behind all reasons
            else (decided[each - 256].reject, decided[each - 256].rule)
            for each in distinct.tolist()
        ]
        # Each reason is made a cell once; that of a row id is its digits.
        names = cells_text(pa.array([reason.name for reason, _ in reasons], pa.string()))
        rules = cells_text(pa.array([rule for _, rule in reasons], pa.string()))
        place, row_id = pa.array(inverse), pa.array(staying.row_id)
        return lines_text([cells_text(row_id), names.take(place), rules.take(place)])

    def _batch(self, leaving: Leaving, names: pa.Array | None, block: Block) -> pa.RecordBatch:
        """Return the rows as columns; the route's own come when the file is written."""
        value = pa.array(leaving.value)
        arrays = [
            pa.array(leaving.row_id),
            pa.array(leaving.number) if names is None else names,
            pa.array(leaving.code.astype(np.int32)),
            *(unpacked(column).take(value) for column in block.kept),
        ]
        return pa.RecordBatch.from_arrays(
            arrays, [ROW_ID, self._number, "code", *self._columns.kept]
        )

    def _dictionaries(self) -> Mapping[str, tuple[pa.Array, pa.Array]]:
        """Return for each route column its place by code, and its distinct texts."""
        decided = sorted(self._decisions.decided.items())
        codes = np.array([code for code, _ in decided], np.int64)
        found = {}
        for name in self._route_columns:
            places: dict[str, int] = {}
            place_of = np.zeros(len(self._decisions.destination), np.int32)
            place_of[codes] = [
                places.setdefault(cell_of(name, self._routes[code // 2], decision), len(places))
                for code, decision in decided
            ]
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
            [*batch.columns[:2], *routes, *batch.columns[3:]],
            [ROW_ID, self._number, *columns, *self._kept_names],
        )


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
