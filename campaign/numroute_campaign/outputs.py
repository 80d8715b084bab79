"""The output folder: files per route, the rejects, the map of pseudonyms.

Any thread renders a block's rows; one thread writes them in the list's order. A list may have
thousands of output routes: their files cannot all be open, nor their Parquet row groups and
worksheets all be in memory. Text is appended and closed; for the other forms the rows wait in a
spool, an Arrow IPC stream, and the file is written from it at the end.

The folder is made beside the output folder, so that the last step is one rename: the output folder
is complete or does not exist. The next run for the same output removes what a killed run left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count, groupby, pairwise
from pathlib import Path
from typing import BinaryIO, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from numroute.errors import InputError, SettingError
from numroute.files import create_private, finish, flush, replacing
from numroute_campaign.handover import pseudonyms_of
from numroute_campaign.lists.cells import unpacked
from numroute_campaign.routers import DefaultCountry
from numroute_campaign.sorting import BY_POLICY, REJECTED, Decisions, Sorted
from numroute_campaign.templates import (
    LIST_PREFIX,
    NUMBER,
    ROUTE_COLUMNS,
    ROW_ID,
    WINDOW_COLUMNS,
    LineMaker,
    Template,
    TextFiles,
    append_bytes,
    cells_text,
    header_text,
    lines_text,
    part_name,
    plain_texts,
    rows_text,
)
from numroute_campaign.vocabulary import PSEUDONYM, Reject

GROUP_ROWS: Final = 524_288
"""Rows of a Parquet row group or of an Arrow batch: enough for compression, bounded in memory."""

SHEET_ROWS_MAX: Final = 1_048_576
"""Rows of a worksheet, its header included."""

SHEET_CELL_CHARS_MAX: Final = 32_767

_SUFFIX: Final = ".numroute"

REJECTS: Final = "rejects"
REJECT_COLUMNS: Final = (ROW_ID, "reason", "rule")
MAP: Final = "pseudonyms"
"""The map of pseudonyms in the spool folder, without its ending."""

_UNSAFE: Final = re.compile(r"[^\w.-]+")
_STEM_CHARS_MAX: Final = 60
_TAKEN: Final = (REJECTS, "summary", "report", "act")
_REASONS: Final = {each.value: each.name for each in Reject}

Rendered = list[tuple[int, pa.Array | pa.RecordBatch]]
"""A block's output: lines or rows, each time with their destination, ``REJECTED`` or the map's."""

_MAPPED: Final = -2
"""The destination of rows of the map from pseudonyms to numbers."""


class OutputError(InputError):
    """The output cannot be written; the cause is an OSError."""


class Workspace:
    """The temporary folder of one run, removed when the run ends.

    ::

        OUT's parent/.OUT.RANDOM.numroute/   0700, locked while the run lasts
            output/                          becomes OUT
            spool/                           rows waiting to be written as Parquet or Arrow
    """

    def __init__(self, out: Path) -> None:
        """Make the folder; remove what killed runs for the same output left.

        Raises InputError if the output folder is not empty or another run is making it, OutputError
        if it cannot be made.
        """
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(
                out, "it exists and is not empty", hint="Give --out a new or an empty folder"
            )
        self.out = out.absolute()
        parent, prefix = self.out.parent, f".{self.out.name}."
        try:
            parent.mkdir(parents=True, exist_ok=True)
            leftover = re.compile(rf"{re.escape(prefix)}[^.]+{re.escape(_SUFFIX)}")
            for each in parent.iterdir():
                if leftover.fullmatch(each.name):
                    self._remove_leftover(each)
            self.folder = Path(tempfile.mkdtemp(_SUFFIX, prefix, parent))
            self._lock = _locked(self.folder)
        except OSError as error:
            raise OutputError(
                out, f"it cannot be made: {error.strerror}", hint="Give another --out"
            ) from error
        self.output, self.spool = self.folder / "output", self.folder / "spool"
        self.output.mkdir(mode=0o700)
        self.spool.mkdir(mode=0o700)

    def _remove_leftover(self, folder: Path) -> None:
        """Remove the folder of a dead run; a run that is alive holds its lock."""
        try:
            lock = _locked(folder)
        except BlockingIOError:
            raise InputError(
                self.out, "another run is making it", hint="Wait for it, or give another --out"
            ) from None
        except OSError:
            return  # no folder, or another user's
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)

    def hand_over(self, name: str, path: Path) -> None:
        """Copy a file of the spool folder to a path outside, whole or not at all."""
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        with replacing(path) as file, (self.spool / name).open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)

    def finish(self) -> None:
        """Give the output its name; it may take that of an empty folder."""
        for path in (*self.output.iterdir(), self.output):
            flush(path)
        finish(self.output, self.out)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def _locked(folder: Path) -> int:
    """Return a folder's descriptor, locked. Raises OSError; BlockingIOError when locked already."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


class SpoolFiles:
    """The rows of one output route, and the Parquet, Arrow or .xlsx files made of them.

    Attributes as those of ``TextFiles``.
    """

    def __init__(
        self, workspace: Workspace, stem: str, form: str, rows_per_file: int | None
    ) -> None:
        """Name the files; nothing is created before the first row."""
        self._workspace, self._stem, self._form = workspace, stem, form
        self._spool = workspace.spool / f"{stem}.spool"
        self._rows_per_file = rows_per_file
        self.rows = 0
        self.names: list[str] = []

    def append(self, batch: pa.RecordBatch) -> None:
        """Append a batch; all have the same columns."""
        if not self.rows:
            append_bytes(self._spool, memoryview(batch.schema.serialize()))
        append_bytes(self._spool, memoryview(batch.serialize()))
        self.rows += batch.num_rows

    def finish(self, complete: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
        """Write the files; ``complete`` makes an output batch of a spooled one.

        Raises InputError if a worksheet cannot hold a cell.
        """
        size = self._rows_per_file
        if self._form == "xlsx" and min(self.rows, size or self.rows) >= SHEET_ROWS_MAX:
            size = SHEET_ROWS_MAX - 1
        with pa.memory_map(str(self._spool)) as source:
            rows = pa.ipc.open_stream(source).read_all()  # mapped, not read
            for number, begin in enumerate(range(0, self.rows, size or self.rows), 1):
                part = rows.slice(begin, size)
                self.names.append(part_name(self._stem, f".{self._form}", size and number))
                groups = (
                    complete(_copied(part.slice(at, GROUP_ROWS)))
                    for at in range(0, part.num_rows, GROUP_ROWS)
                )
                with create_private(self._workspace.output / self.names[-1]) as file:
                    (self._write_sheet if self._form == "xlsx" else self._write)(file, groups)

    def _write(self, file: BinaryIO, groups: Iterator[pa.RecordBatch]) -> None:
        first = next(groups)
        schema = first.schema
        dictionaries = [field.name for field in schema if pa.types.is_dictionary(field.type)]
        with (
            pq.ParquetWriter(file, schema, use_dictionary=dictionaries)
            if self._form == "parquet"
            else pa.ipc.new_file(file, schema)
        ) as writer:
            for group in chain([first], groups):
                writer.write_batch(group)

    def _write_sheet(self, file: BinaryIO, groups: Iterator[pa.RecordBatch]) -> None:
        """Write a workbook of one sheet; every cell is text, so no number loses a digit."""
        import xlsxwriter  # noqa: PLC0415 - slow to load

        # Constant memory needs temporary files: they belong in the private spool folder.
        tmpdir = str(self._workspace.spool)
        options = {"constant_memory": True, "tmpdir": tmpdir, "use_zip64": True}
        with xlsxwriter.Workbook(file, options) as workbook:
            sheet = workbook.add_worksheet("list")
            write, row = sheet.write_string, 0
            for group in groups:
                names = group.schema.names
                if row == 0:
                    for place, name in enumerate(names):
                        write(0, place, name)
                columns = [plain_texts(column).to_pylist() for column in group.columns]
                for cells in zip(*columns, strict=True):
                    row += 1
                    for place, cell in enumerate(cells):
                        if cell and write(row, place, cell):
                            raise InputError(
                                self.names[-1],
                                f"a cell of the column {names[place]!r} is longer "
                                f"than the {SHEET_CELL_CHARS_MAX:,} characters of a worksheet",
                                hint="Leave the column out of --keep, or give --format csv",
                            )


def _copied(rows: pa.Table) -> pa.RecordBatch:
    """Return a copy of the rows, each column in one piece.

    The output then depends on the rows alone, not on how they were batched, and the padding of an
    Arrow file holds no text of other rows.
    """
    columns = [pa.concat_arrays(column.chunks) for column in rows.columns]
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


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
        key: bytes,
    ) -> None:
        """Create the files that exist even if no row follows.

        ``keep``: the columns of the list that are written where no template says otherwise; the
        blocks have these first, then the templates' own. ``key``: of pseudonyms, empty to write
        numbers. Raises SettingError if the form has no templates, or a kept column has the name of
        an output's.
        """
        policy = decisions.policy
        if policy.templates and form != "csv":
            raise SettingError(
                f"the policy has output templates, which --format {form} does not know",
                hint="Give --format csv, or a policy without templates",
            )
        self._workspace, self._decisions = workspace, decisions
        self._form, self._rows_per_file = form, rows_per_file
        self._key = key
        has_windows = any(rule.window for rule in policy.rules)
        self._route_columns = ROUTE_COLUMNS + (WINDOW_COLUMNS if has_windows else ())
        number = PSEUDONYM if key else NUMBER
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
        self._makers = {
            id(template): LineMaker(template, kept, country)
            for template in (self._default, *policy.templates.values())
        }
        self._stems: list[str] = [*_TAKEN]
        self._known = -1
        self._reject_cells = pa.nulls(0, pa.string())
        rejects = TextFiles(workspace.output / REJECTS, header_text(REJECT_COLUMNS), rows_per_file)
        rejects.begin()
        self._files: dict[int, TextFiles | SpoolFiles] = {REJECTED: rejects}
        if key:
            mapped = TextFiles(workspace.spool / MAP, header_text((PSEUDONYM, NUMBER)))
            mapped.begin()
            self._files[_MAPPED] = mapped

    def take_decisions(self) -> None:
        """Make the cells of newly decided routes; on the thread that decides, before ``render``.

        A thread that renders sees the old cells or the new ones; both have its codes.
        """
        decisions = self._decisions
        if len(decisions.decided) == self._known:
            return
        self._known = len(decisions.decided)
        for maker in self._makers.values():
            maker.take_decisions(decisions.column)
        reasons = pa.array([f"{_REASONS.get(kind, '')}," for kind in range(BY_POLICY)])
        rules = [cells_text(decisions.column(each)) for each in ("reject", "rule")]
        by_policy = pc.binary_join_element_wise(*rules, ",")
        self._reject_cells = pa.concat_arrays([reasons, by_policy])

    def render(self, rows: Sorted) -> Rendered:
        """Make a block's output; on any thread."""
        why = self._reject_cells.take(pa.array(rows.kind))
        rendered: Rendered = [(REJECTED, lines_text([cells_text(pa.array(rows.rejected)), why]))]
        numbers = pa.array(rows.number)
        if self._key:
            pseudonyms = pseudonyms_of(rows.number, self._key)
            rendered.append((_MAPPED, rows_text([pseudonyms, numbers])))
            numbers = pseudonyms
        value = pa.array(rows.value)
        kept = (unpacked(column.take(value)) for column in rows.block.kept)
        # The columns of the route come when the file is written, by the code.
        columns = [pa.array(rows.row_id), numbers, pa.array(rows.code.astype(np.int32)), *kept]
        batch = pa.RecordBatch.from_arrays(columns, list(map(str, range(len(columns)))))
        bounds = list(zip(rows.destinations, pairwise(rows.bounds), strict=True))
        if self._form != "csv":
            return rendered + [(each, batch.slice(i, j - i)) for each, (i, j) in bounds]
        for maker, run in groupby(bounds, lambda each: self._maker(each[0])):
            # Destinations with the same template become text at once.
            places = list(run)
            begin, end = places[0][1][0], places[-1][1][1]
            text = maker.lines(batch.slice(begin, end - begin))
            rendered += [(each, text.slice(i - begin, j - i)) for each, (i, j) in places]
        return rendered

    def write(self, rendered: Rendered) -> None:
        """Write the rendered rows of the next block."""
        for destination, rows in rendered:
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
        routed = (each for each in self._files if each >= 0)
        templates = [self._maker(each).template for each in routed] or [self._default]
        return tuple(dict.fromkeys(name for each in templates for name in each.columns))

    @property
    def rows(self) -> int:
        """How many rows have been written, to outputs and rejects."""
        return sum(files.rows for each, files in self._files.items() if each != _MAPPED)

    def files_of(self, destination: int) -> tuple[str, ...]:
        """Return the names of the files of a destination."""
        return tuple(self._files[destination].names) if destination in self._files else ()

    def _maker(self, destination: int) -> LineMaker:
        route = self._decisions.first[destination].destination
        return self._makers[id(self._decisions.policy.templates.get(route, self._default))]

    def _new_files(self, destination: int) -> TextFiles | SpoolFiles:
        workspace, first = self._workspace, self._decisions.first[destination]
        # A file name that no other has, whatever the case.
        text = _UNSAFE.sub("-", unicodedata.normalize("NFC", first.files))
        stem = text.strip("-._")[:_STEM_CHARS_MAX].lower() or "route"
        stems = chain([stem], (f"{stem}-{serial}" for serial in count(2)))
        stem = next(each for each in stems if each not in self._stems)
        self._stems.append(stem)
        if self._form != "csv":
            return SpoolFiles(workspace, stem, self._form, self._rows_per_file)
        template = self._maker(destination).template
        head = template.begin(first.destination, first.send_from, first.send_until)
        return TextFiles(workspace.output / stem, head, self._rows_per_file, template)
