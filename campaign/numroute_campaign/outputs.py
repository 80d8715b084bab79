"""The output folder: files per route, the rejects, the map of pseudonyms.

Any thread renders a block's rows; one thread writes them in the list's order.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, pairwise
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.errors import SettingError
from numroute_campaign.handover import Pseudonymizer
from numroute_campaign.lists import Block
from numroute_campaign.lists.cells import unpacked
from numroute_campaign.output_files import SpoolFiles, TextFiles, Workspace
from numroute_campaign.sorting import Decisions, Leaving, Staying
from numroute_campaign.templates import (
    LINE_ENDS,
    LIST_PREFIX,
    NUMBER,
    ROUTE_COLUMNS,
    ROW_ID,
    WINDOW_COLUMNS,
    Template,
    cells_text,
    header_text,
    lines_text,
    rows_text,
)
from numroute_campaign.vocabulary import PSEUDONYM, Decision, Reject

REJECTS: Final = "rejects"
REJECT_COLUMNS: Final = ("row_id", "reason", "rule")
MAP: Final = "pseudonyms"
"""The map of pseudonyms in the spool folder, without its ending."""

_UNSAFE: Final = re.compile(r"[^\w.-]+")
_STEM_CHARS_MAX: Final = 60
_TAKEN: Final = (REJECTS, "summary", "report", "act")


Rendered = list[tuple[int, pa.Array | pa.RecordBatch]]
"""A block's output: lines or rows, each time with their destination, or one of the next two."""

_REJECTED: Final = -1
_MAPPED: Final = -2


class Outputs:
    """All files of one run while they are written.

    Attributes:
        renamed: New names of kept columns whose own names are those of output columns.
    """

    def __init__(
        self,
        workspace: Workspace,
        form: str,
        rows_per_file: int | None,
        decisions: Decisions,
        keep: Sequence[str],
        country_code: str,
        pseudonymizer: Pseudonymizer | None,
    ) -> None:
        """Create the files that exist even if no row follows.

        Args:
            workspace: Where the files are made.
            form: Their form, one of ``FORMS``.
            rows_per_file: Their size; None makes one file per route.
            decisions: Where each row goes; its policy has the templates.
            keep: The columns of the list that are written where no template says otherwise; the
                blocks have these first, then the templates' own.
            country_code: Of the list's default country; empty if it has none.
            pseudonymizer: Makes pseudonyms; None writes the numbers.

        Raises:
            SettingError: The form has no templates.
        """
        policy = decisions.policy
        if policy.templates and form != "csv":
            raise SettingError(
                f"the policy has output templates, which --format {form} does not know",
                hint="Give --format csv, or a policy without templates",
            )
        self._workspace, self._decisions = workspace, decisions
        self._form, self._rows_per_file = form, rows_per_file
        self._pseudonymizer = pseudonymizer
        self._route_columns = ROUTE_COLUMNS + (WINDOW_COLUMNS if policy.has_windows else ())
        self._number = NUMBER if pseudonymizer is None else PSEUDONYM
        taken = {ROW_ID, self._number, *self._route_columns}
        self._kept = tuple(dict.fromkeys(keep))
        self.renamed = {each: LIST_PREFIX + each for each in self._kept if each in taken}
        names = {
            ROW_ID: ROW_ID,
            self._number: NUMBER,
            **{name: name for name in self._route_columns},
            **{self.renamed.get(each, each): LIST_PREFIX + each for each in self._kept},
        }
        kept = tuple(dict.fromkeys((*keep, *policy.list_columns)))
        default = Template(columns=names, delimiter=",")
        layouts = {
            id(template): Layout(template, kept, decisions, country_code)
            for template in (default, *policy.templates.values())
        }
        self._layout_of = {route: layouts[id(each)] for route, each in policy.templates.items()}
        self._default, self._layouts = layouts[id(default)], tuple(layouts.values())
        self._files: list[TextFiles | SpoolFiles] = []
        self._stems: list[str] = []
        head = header_text(REJECT_COLUMNS)
        self.rejects = TextFiles(workspace.output, REJECTS, head, rows_per_file)
        self.rejects.begin()
        self._map = TextFiles(workspace.spool, MAP, header_text((PSEUDONYM, NUMBER)))
        if pseudonymizer is not None:
            self._map.begin()

    def take_decisions(self) -> None:
        """Make the cells of newly decided routes; on the thread that decides, before ``render``."""
        for layout in self._layouts:
            layout.take_decisions()

    def render(self, leaving: Leaving, staying: Staying, block: Block) -> Rendered:
        """Make a block's output; on any thread."""
        rendered: Rendered = [(_REJECTED, self._rejects_text(staying))]
        if not len(leaving.row_id):
            return rendered
        names = None
        if self._pseudonymizer is not None:
            names = self._pseudonymizer.texts(leaving.number)
            rendered.append((_MAPPED, rows_text([names, pa.array(leaving.number)])))
        bounds = list(zip(leaving.destinations, pairwise(leaving.bounds), strict=True))
        if self._form != "csv":
            batch = self._batch(leaving, names, block)
            return rendered + [(each, batch.slice(i, j - i)) for each, (i, j) in bounds]
        for layout, run in groupby(
            bounds, lambda each: self._layout(self._decisions.first[each[0]])
        ):
            # Destinations with the same layout become text at once.
            places = list(run)
            begin, end = places[0][1][0], places[-1][1][1]
            text = layout.text(leaving, begin, end, names, block)
            rendered += [(each, text.slice(i - begin, j - i)) for each, (i, j) in places]
        return rendered

    def write(self, rendered: Rendered) -> None:
        """Write the rendered rows of the next block."""
        for destination, rows in rendered:
            if destination == _REJECTED:
                self.rejects.append(rows)
            elif destination == _MAPPED:
                self._map.append(rows)
            else:
                self._of(destination).append(rows)

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
        if self._form != "csv":
            return tuple(self._default.template.columns)
        used = {id(self._layout(each)) for each in self._decisions.first}
        layouts = (layout for layout in self._layouts if id(layout) in used)
        return tuple(dict.fromkeys(name for each in layouts for name in each.template.columns))

    @property
    def rows(self) -> int:
        """How many rows have been written, to outputs and rejects."""
        return self.rejects.rows + sum(files.rows for files in self._files)

    def files_of(self, destination: int) -> tuple[str, ...]:
        """Return the names of the files of a destination."""
        return tuple(self._files[destination].names) if destination < len(self._files) else ()

    def _layout(self, decision: Decision) -> Layout:
        return self._layout_of.get(decision.destination, self._default)

    def _of(self, destination: int) -> TextFiles | SpoolFiles:
        while len(self._files) <= destination:
            stem = file_stem(self._decisions.destinations[len(self._files)], self._stems)
            self._stems.append(stem)
            self._files.append(self._new_files(stem, len(self._files)))
        return self._files[destination]

    def _new_files(self, stem: str, destination: int) -> TextFiles | SpoolFiles:
        workspace, rows = self._workspace, self._rows_per_file
        if self._form != "csv":
            return SpoolFiles(workspace.spool, workspace.output, stem, self._form, rows)
        first = self._decisions.first[destination]
        layout = self._layout(first)
        template = layout.template
        return TextFiles(
            workspace.output,
            stem,
            layout.head(first),
            rows,
            ending=template.file_ending,
            encoding=template.encoding,
        )

    def _rejects_text(self, staying: Staying) -> pa.Array:
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
        return pa.RecordBatch.from_arrays(arrays, [ROW_ID, self._number, "code", *self._kept])

    def _dictionaries(self) -> Mapping[str, tuple[pa.Array, pa.Array]]:
        """Return for each route column its place by code, and its distinct texts."""
        codes = np.array(sorted(self._decisions.decided), np.int64)
        found = {}
        for name in self._route_columns:
            places: dict[str, int] = {}
            place_of = np.zeros(len(self._decisions.destination), np.int32)
            place_of[codes] = [
                places.setdefault(self._decisions.cell(name, code), len(places))
                for code in codes.tolist()
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
            list(self._default.template.columns),
        )


class Layout:
    """Writes rows as lines of text by a template."""

    def __init__(
        self, template: Template, kept: Sequence[str], decisions: Decisions, country_code: str
    ) -> None:
        """Take the names of the blocks' kept columns, and the default country's code if any."""
        self.template = template
        self._kept = {name: place for place, name in enumerate(kept)}
        self._decisions, self._country_code = decisions, country_code
        # Neighbouring columns that depend on the route alone become one text per route.
        self._parts = [
            tuple(sources)
            for _, sources in groupby(
                template.columns.values(), lambda each: _is_of_row(each) and each
            )
        ]
        self._texts: list[list[str]] = [[] for _ in self._parts]
        self._route_cells = [pa.array([], pa.string()) for _ in self._parts]
        self._known = 0

    def head(self, decision: Decision) -> bytes:
        """Return what a file begins with, in UTF-8."""
        template = self.template
        times = (decision.send_from, decision.send_until)
        lines = "".join(
            template.filled(line, decision.destination, *times) + LINE_ENDS[template.line_end]
            for line in template.header_block
        )
        names = header_text(list(template.columns), template) if template.header else b""
        return lines.encode() + names

    def take_decisions(self) -> None:
        """Make the cells of routes decided since the last call."""
        codes = list(self._decisions.decided)[self._known :]
        if not codes:
            return
        self._known += len(codes)
        for place, sources in enumerate(self._parts):
            if _is_of_row(sources[0]):
                continue
            columns = [
                pa.array([self._decisions.cell(source, code) for code in codes], pa.string())
                for source in sources
            ]
            cells = (cells_text(column, self.template) for column in columns)
            made = pc.binary_join_element_wise(*cells, self.template.delimiter).to_pylist()
            texts = self._texts[place]
            texts += [""] * (len(self._decisions.destination) - len(texts))
            for code, text in zip(codes, made, strict=True):
                texts[code] = text
            # A thread that renders sees the old array or the new one; both have its codes.
            self._route_cells[place] = pa.array(texts, pa.string())

    def text(
        self, leaving: Leaving, begin: int, end: int, pseudonyms: pa.Array | None, block: Block
    ) -> pa.Array:
        """Return the lines of some rows."""
        cells = []
        code, value = leaving.code[begin:end], pa.array(leaving.value[begin:end])
        for sources, texts in zip(self._parts, self._route_cells, strict=True):
            source = sources[0]
            if source == ROW_ID:
                cell = cells_text(pa.array(leaving.row_id[begin:end]), self.template)
            elif source == NUMBER and pseudonyms is not None:
                cell = self._quoted(pseudonyms.slice(begin, end - begin))
            elif source == NUMBER:
                cell = self._quoted(self._numbers(pa.array(leaving.number[begin:end]), code))
            elif source.startswith(LIST_PREFIX):
                column = block.kept[self._kept[source.removeprefix(LIST_PREFIX)]]
                cell = cells_text(column.take(value), self.template)
            else:
                cell = texts.take(pa.array(code))
            cells += [cell] * (len(sources) if _is_of_row(source) else 1)
        return lines_text(cells, self.template)

    def _quoted(self, texts: pa.Array) -> pa.Array:
        """Return numbers or pseudonyms as cells; they never need quotes, nor are they formulas."""
        if self.template.quoting != "all":
            return texts
        return pc.binary_join_element_wise('"', texts, '"', "")

    def _numbers(self, numbers: pa.Array, code: NDArray[np.int64]) -> pa.Array:
        template, texts = self.template, pc.cast(numbers, pa.string())
        if template.number == "international":
            if not template.number_prefix:
                return texts
            return pc.binary_join_element_wise(template.number_prefix, texts, "")
        if not self._country_code:
            return texts
        is_foreign = pa.array(self._decisions.is_foreign.take(code))
        is_domestic = pc.and_not(pc.starts_with(texts, self._country_code), is_foreign)
        national = pc.utf8_slice_codeunits(texts, len(self._country_code))
        prefixed = pc.binary_join_element_wise(template.number_prefix, national, "")
        return pc.if_else(is_domestic, prefixed, texts)


def _is_of_row(source: str) -> bool:
    return source in {ROW_ID, NUMBER} or source.startswith(LIST_PREFIX)


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
