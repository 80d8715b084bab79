"""The output folder: files per route, the rejects, the map of pseudonyms.

Any thread renders a block's rows; one thread writes them in the list's order.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, pairwise
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.errors import SettingError
from numroute_campaign.handover import Pseudonymizer
from numroute_campaign.lists.cells import unpacked
from numroute_campaign.output_files import SpoolFiles, TextFiles, Workspace
from numroute_campaign.preparing import DefaultCountry
from numroute_campaign.sorting import BY_POLICY, Decisions, Sorted
from numroute_campaign.templates import (
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
from numroute_campaign.vocabulary import PSEUDONYM, Reject

REJECTS: Final = "rejects"
REJECT_COLUMNS: Final = (ROW_ID, "reason", "rule")
MAP: Final = "pseudonyms"
"""The map of pseudonyms in the spool folder, without its ending."""

_UNSAFE: Final = re.compile(r"[^\w.-]+")
_STEM_CHARS_MAX: Final = 60
_TAKEN: Final = (REJECTS, "summary", "report", "act")
_REASONS: Final = {each.value: each.name for each in Reject}

Rendered = list[tuple[int, pa.Array | pa.RecordBatch]]
"""A block's output: lines or rows, each time with their destination, or one of the next two."""

REJECTED: Final = -1
_MAPPED: Final = -2


class Outputs:
    """All files of one run while they are written."""

    def __init__(
        self,
        workspace: Workspace,
        form: str,
        rows_per_file: int | None,
        decisions: Decisions,
        keep: Sequence[str],
        country: DefaultCountry,
        pseudonymizer: Pseudonymizer | None,
    ) -> None:
        """Create the files that exist even if no row follows.

        ``keep``: the columns of the list that are written where no template says otherwise; the
        blocks have these first, then the templates' own. Raises SettingError if the form has no
        templates, or a kept column has the name of an output's.
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
        has_windows = any(rule.window for rule in policy.rules)
        self._route_columns = ROUTE_COLUMNS + (WINDOW_COLUMNS if has_windows else ())
        number = NUMBER if pseudonymizer is None else PSEUDONYM
        names = {ROW_ID: ROW_ID, number: NUMBER, **{each: each for each in self._route_columns}}
        clash = next((each for each in keep if each in names), None)
        if clash is not None:
            raise SettingError(
                f"--keep names {clash!r}, which is the name of an output's own column",
                hint="Rename the column in the list",
            )
        names |= {each: LIST_PREFIX + each for each in keep}
        self._default = Template(columns=names, delimiter=",")
        kept = tuple(dict.fromkeys((*keep, *policy.list_columns)))
        self._layouts = {
            id(template): Layout(template, kept, decisions, country)
            for template in (self._default, *policy.templates.values())
        }
        self._stems: list[str] = [*_TAKEN]
        self._known = -1
        self._reject_cells = pa.nulls(0, pa.string())
        head = header_text(REJECT_COLUMNS)
        rejects = TextFiles(workspace.output, REJECTS, head, rows_per_file)
        rejects.begin()
        self._files: dict[int, TextFiles | SpoolFiles] = {REJECTED: rejects}
        if pseudonymizer is not None:
            self._map = TextFiles(workspace.spool, MAP, header_text((PSEUDONYM, NUMBER)))
            self._map.begin()

    def take_decisions(self) -> None:
        """Make the cells of newly decided routes; on the thread that decides, before ``render``.

        A thread that renders sees the old cells or the new ones; both have its codes.
        """
        decisions = self._decisions
        if len(decisions.decided) == self._known:
            return
        self._known = len(decisions.decided)
        for layout in self._layouts.values():
            layout.take_decisions()
        reasons = pa.array([f"{_REASONS.get(kind, '')}," for kind in range(BY_POLICY)])
        rules = [cells_text(decisions.column(each)) for each in ("reason", "rule")]
        by_policy = pc.binary_join_element_wise(*rules, ",")
        self._reject_cells = pa.concat_arrays([reasons, by_policy])

    def render(self, rows: Sorted) -> Rendered:
        """Make a block's output; on any thread."""
        why = self._reject_cells.take(pa.array(rows.kind))
        rendered: Rendered = [(REJECTED, lines_text([cells_text(pa.array(rows.rejected)), why]))]
        numbers = pa.array(rows.number)
        if self._pseudonymizer is not None:
            pseudonyms = self._pseudonymizer.texts(rows.number)
            rendered.append((_MAPPED, rows_text([pseudonyms, numbers])))
            numbers = pseudonyms
        bounds = list(zip(rows.destinations, pairwise(rows.bounds), strict=True))
        if self._form != "csv":
            batch = self._batch(rows, numbers)
            return rendered + [(each, batch.slice(i, j - i)) for each, (i, j) in bounds]
        for layout, run in groupby(bounds, lambda each: self._layout(each[0])):
            # Destinations with the same layout become text at once.
            places = list(run)
            begin, end = places[0][1][0], places[-1][1][1]
            text = layout.text(rows, begin, end, numbers)
            rendered += [(each, text.slice(i - begin, j - i)) for each, (i, j) in places]
        return rendered

    def write(self, rendered: Rendered) -> None:
        """Write the rendered rows of the next block."""
        for destination, rows in rendered:
            if destination == _MAPPED:
                self._map.append(rows)
                continue
            if destination not in self._files:
                self._files[destination] = self._new_files(destination)
            self._files[destination].append(rows)

    def finish(self) -> None:
        """Complete the files."""
        columns = [self._decisions.column(each) for each in self._route_columns]
        encoded = [column.dictionary_encode() for column in columns]

        def complete(batch: pa.RecordBatch) -> pa.RecordBatch:
            row_id, number, code, *kept = batch.columns
            arrays = [row_id, number, *(column.take(code) for column in encoded), *kept]
            return pa.RecordBatch.from_arrays(arrays, list(self._default.columns))

        # numpy and pyarrow release the interpreter's lock: each core writes a file.
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="write") as pool:
            spools = (each for each in self._files.values() if isinstance(each, SpoolFiles))
            for done in [pool.submit(files.finish, complete) for files in spools]:
                done.result()

    def column_names(self) -> tuple[str, ...]:
        """Return the names of all columns in the files."""
        routed = (each for each in self._files if each != REJECTED)
        templates = [self._layout(each).template for each in routed] or [self._default]
        return tuple(dict.fromkeys(name for each in templates for name in each.columns))

    @property
    def rows(self) -> int:
        """How many rows have been written, to outputs and rejects."""
        return sum(files.rows for files in self._files.values())

    def files_of(self, destination: int) -> tuple[str, ...]:
        """Return the names of the files of a destination."""
        return tuple(self._files[destination].names) if destination in self._files else ()

    def _layout(self, destination: int) -> Layout:
        route = self._decisions.first[destination].destination
        return self._layouts[id(self._decisions.policy.templates.get(route, self._default))]

    def _new_files(self, destination: int) -> TextFiles | SpoolFiles:
        workspace, first = self._workspace, self._decisions.first[destination]
        stem = file_stem(first.files, self._stems)
        self._stems.append(stem)
        if self._form != "csv":
            return SpoolFiles(workspace, stem, self._form, self._rows_per_file)
        template = self._layout(destination).template
        head = template.begin(first.destination, first.send_from, first.send_until)
        return TextFiles(workspace.output, stem, head, self._rows_per_file, template)

    def _batch(self, rows: Sorted, numbers: pa.Array) -> pa.RecordBatch:
        """Return the rows as columns; the route's own come when the file is written."""
        value = pa.array(rows.value)
        arrays = [
            pa.array(rows.row_id),
            numbers,
            pa.array(rows.code.astype(np.int32)),
            *(unpacked(column).take(value) for column in rows.block.kept),
        ]
        return pa.RecordBatch.from_arrays(arrays, list(map(str, range(len(arrays)))))


class Layout:
    """Writes rows as lines of text by a template."""

    def __init__(
        self, template: Template, kept: Sequence[str], decisions: Decisions, country: DefaultCountry
    ) -> None:
        """Take the names of the blocks' kept columns, and the list's default country."""
        self.template = template
        self._kept = {LIST_PREFIX + name: place for place, name in enumerate(kept)}
        self._decisions, self._country = decisions, country
        # Neighbouring columns that depend on the route alone become one text per route.
        sources = enumerate(template.columns.values())
        parts = groupby(sources, lambda each: each[0] if self._is_of_row(each[1]) else -1)
        self._parts = [[source for _, source in part] for _, part in parts]
        self._route_cells: list[pa.Array] = []

    def _is_of_row(self, source: str) -> bool:
        return source in {ROW_ID, NUMBER} or source.startswith(LIST_PREFIX)

    def take_decisions(self) -> None:
        """Make the cells of the routes that are decided."""
        self._route_cells = [
            pa.nulls(0, pa.string())
            if self._is_of_row(sources[0])
            else pc.binary_join_element_wise(
                *(cells_text(self._decisions.column(each), self.template) for each in sources),
                self.template.delimiter,
            )
            for sources in self._parts
        ]

    def text(self, rows: Sorted, begin: int, end: int, numbers: pa.Array) -> pa.Array:
        """Return the lines of some rows; ``numbers`` are those of all, or their pseudonyms."""
        cells = []
        code, value = pa.array(rows.code[begin:end]), pa.array(rows.value[begin:end])
        for (source, *_), texts in zip(self._parts, self._route_cells, strict=True):
            if source == ROW_ID:
                cells.append(cells_text(pa.array(rows.row_id[begin:end]), self.template))
            elif source == NUMBER:
                cells.append(self._numbers(numbers.slice(begin, end - begin)))
            elif self._is_of_row(source):
                column = rows.block.kept[self._kept[source]]
                cells.append(cells_text(column.take(value), self.template))
            else:
                cells.append(texts.take(code))
        return lines_text(cells, self.template)

    def _numbers(self, numbers: pa.Array) -> pa.Array:
        """Return numbers or pseudonyms as cells; they never need quotes, nor are they formulas."""
        template, texts = self.template, pc.cast(numbers, pa.string())
        country_code = self._country.country_code
        if pa.types.is_string(numbers.type):
            pass
        elif template.number == "national" and country_code:
            national = pc.utf8_slice_codeunits(texts, len(country_code))
            prefixed = pc.binary_join_element_wise(template.number_prefix, national, "")
            texts = pc.if_else(self._country.are_foreign(texts), texts, prefixed)
        elif template.number == "international" and template.number_prefix:
            texts = pc.binary_join_element_wise(template.number_prefix, texts, "")
        if template.quoting == "all":
            texts = pc.binary_join_element_wise('"', texts, '"', "")
        return texts


def file_stem(name: str, taken: Iterable[str]) -> str:
    """Return a file name without ending for a group of files; none of ``taken``, without case."""
    text = unicodedata.normalize("NFC", name)
    stem = _UNSAFE.sub("-", text).strip("-._")[:_STEM_CHARS_MAX].lower() or "route"
    candidate, serial = stem, 1
    while candidate in taken:
        serial += 1
        candidate = f"{stem}-{serial}"
    return candidate
