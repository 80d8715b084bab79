"""Search an output folder for columns and cells that look like personal data.

Names of columns and contents of cells are judged by patterns and a list of given names. Finding
nothing does not prove that there is nothing. Comments and properties of files are not searched:
numroute writes none.
"""

from __future__ import annotations

import csv
import functools
import io
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from itertools import chain, islice
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from python_calamine import CalamineError, CalamineWorkbook

from numroute.e164.column import parse_column
from numroute.errors import InputError
from numroute_campaign.lists import ReadOptions
from numroute_campaign.lists.arrow_list import ArrowFile
from numroute_campaign.lists.files import Form, ListFile, check_start, detect_encoding, recognised
from numroute_campaign.templates import plain_texts

Batch = tuple[list[str], list[pa.Array]]

_UNREADABLE: Final = (
    InputError,
    OSError,
    UnicodeError,
    csv.Error,
    pa.ArrowException,
    CalamineError,
)
OWN_FILES: Final = ("summary.json", "report.html", "act.json", "act.html")
"""Files about a run; their texts are not data of the list."""

KINDS: Final = ("name", "e-mail", "date of birth", "address", "phone number", "document")
ROWS_SHOWN: Final = 3

_SAMPLE_LINES: Final = 200
_BATCH_ROWS: Final = 65_536
BIRTH_YEARS_MIN: Final = 10
"""A date at least this long ago may be a birthday; a later one is of an order or of sending."""

_PATTERNS: Final = {
    part: {name: "|".join(alternatives) for name, alternatives in patterns.items()}
    for part, patterns in tomllib.loads(
        (resources.files("numroute_campaign") / "data" / "personal_data.toml").read_text("utf-8")
    ).items()
}
_NAME: Final = re.compile(r"[A-ZА-ЯЁ][A-Za-zА-Яа-яЁё]+")
_PHONE: Final = re.compile(
    r"(?<!\d)\+?\d{10,15}(?!\d)|"
    r"(?<!\d)\+?\d{1,3}[\s-]?\(?\d{3,5}\)?[\s-]?\d{2,3}[\s-]?\d{2}[\s-]?\d{2}(?!\d)"
)
_WORTH_READING: Final = r"\p{L}|@|(?:\d\D*){6}"
_PSEUDONYM: Final = r"^[0-9a-fA-F]{32}$"

_MANY_DIGITS: Final = re.compile(r"\d{7,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A column that looks like personal data of one kind.

    Attributes:
        file: Its name within the folder.
        column: Its name if it is one, else its place: ``column 3``.
        kind: One of ``KINDS``.
        cells: How many cells look so; 0 if only the column's name does.
        filled: How many cells are not empty.
        rows: Where the first such cells are, counted from 1 behind the header.
    """

    file: str
    column: str
    kind: str
    cells: int
    filled: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a search found. ``files`` were searched; ``unread`` are damaged, or of another form."""

    files: tuple[str, ...]
    unread: tuple[str, ...]
    rows: int
    findings: tuple[Finding, ...]


def check_handover(folder: Path, region: str | None) -> Check:
    """Search the files of a folder, and of folders in it.

    Raises:
        InputError: The folder does not exist, or is empty.
    """
    if not folder.is_dir():
        raise InputError(folder, "not a folder", hint="Give the output folder of a run")
    files: list[str] = []
    unread: list[str] = []
    findings: list[Finding] = []
    rows = 0
    for path in sorted(each for each in folder.rglob("*") if not each.is_dir()):
        name = str(path.relative_to(folder))
        if name in OWN_FILES:
            continue
        shown = _MANY_DIGITS.sub(lambda run: run[0][:3] + "*" * (len(run[0]) - 3), name)
        search = _Search(shown, region)
        try:
            if path.stat().st_size:
                for names, columns in _batches(recognised(path), region):
                    search.add(names, columns)
            files.append(shown)
        except _UNREADABLE:
            unread.append(shown)
        rows += search.rows
        findings += search.findings()
    if not files and not unread:
        raise InputError(folder, "nothing to check in it", hint="Give the output folder of a run")
    return Check(files=tuple(files), unread=tuple(unread), rows=rows, findings=tuple(findings))


class _Search:
    """Counts what looks like personal data in the columns of one file."""

    def __init__(self, file: str, region: str | None) -> None:
        self._file, self._region = file, region
        self.rows = 0
        self._filled: Counter[tuple[int, str]] = Counter()
        self._cells: Counter[tuple[int, str, str]] = Counter()
        self._first: dict[tuple[int, str, str], list[int]] = {}

    def add(self, names: list[str], columns: list[pa.Array]) -> None:
        for place, (name, column) in enumerate(zip(names, columns, strict=True)):
            texts = pc.fill_null(plain_texts(column), "")
            self._filled[place, name] += pc.sum(pc.not_equal(texts, "")).as_py() or 0
            for kind, mask in _hits(texts, self._region).items():
                at = np.flatnonzero(mask)
                if len(at):
                    self._cells[place, name, kind] += len(at)
                    first = self._first.setdefault((place, name, kind), [])
                    first += (at[: ROWS_SHOWN - len(first)] + self.rows + 1).tolist()
        self.rows += len(columns[0]) if columns else 0

    def findings(self) -> list[Finding]:
        return [
            Finding(
                file=self._file,
                column=name,
                kind=kind,
                cells=self._cells[place, name, kind],
                filled=filled,
                rows=tuple(self._first.get((place, name, kind), ())),
            )
            for (place, name), filled in self._filled.items()
            for kind in KINDS
            if self._cells[place, name, kind]
            or (filled and re.search(_PATTERNS["columns"][kind], name.lower()))
        ]


def _hits(texts: pa.Array, region: str | None) -> dict[str, NDArray[np.bool_]]:
    """Return for each kind whether each cell looks like it."""
    distinct = pc.unique(texts)
    worth = pc.and_not(
        pc.match_substring_regex(distinct, _WORTH_READING),
        pc.match_substring_regex(distinct, _PSEUDONYM),
    )
    distinct = distinct.filter(worth)
    masks = {
        kind: _matches(distinct, f"(?i){pattern}") for kind, pattern in _PATTERNS["cells"].items()
    }
    masks["name"] = (
        _matches(distinct, _PATTERNS["people"]["patronymic"])
        | _matches(distinct, _PATTERNS["people"]["surname"])
        | _has_given_name(distinct)
    )
    masks["date of birth"] = _is_birthday(distinct)
    masks["phone number"] = _has_phone(distinct, region)
    place = pc.fill_null(pc.index_in(texts, value_set=distinct), len(distinct)).to_numpy()
    return {kind: np.append(mask, False).take(place) for kind, mask in masks.items()}


def _matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    mask = pc.match_substring_regex(texts, pattern)
    return np.asarray(mask.to_numpy(zero_copy_only=False), np.bool_)


def _has_given_name(texts: pa.Array) -> NDArray[np.bool_]:
    names = given_names()
    return np.array(
        [
            any(word.casefold() in names for word in _NAME.findall(text))
            for text in texts.to_pylist()
        ],
        np.bool_,
    )


def _is_birthday(texts: pa.Array) -> NDArray[np.bool_]:
    dates = pc.extract_regex(texts, _PATTERNS["people"]["date"])
    years = np.zeros(len(texts), np.int64)
    for part in ("last", "first"):
        year = pc.fill_null(pc.struct_field(dates, part), "")
        years += pc.cast(pc.if_else(pc.equal(year, ""), "0", year), pa.int64()).to_numpy()
    return (years > 0) & (years <= datetime.now(UTC).year - BIRTH_YEARS_MIN)


def _has_phone(texts: pa.Array, region: str | None) -> NDArray[np.bool_]:
    cells: list[int] = []
    candidates: list[str] = []
    for cell, text in enumerate(texts.to_pylist()):
        for candidate in _PHONE.findall(text):
            cells.append(cell)
            candidates.append(candidate)
    if region is not None and candidates:
        numbers = parse_column(pa.array(candidates, pa.string()), region).numbers
        cells = np.array(cells)[numbers > 0].tolist()
    mask = np.zeros(len(texts), np.bool_)
    mask[cells] = True
    return mask


@functools.cache
def given_names() -> frozenset[str]:
    """Return given names, folded to one case."""
    text = (resources.files("numroute_campaign") / "data" / "given_names.toml").read_text("utf-8")
    return frozenset(
        word.casefold() for words in tomllib.loads(text).values() for word in words.split()
    )


def _batches(file: ListFile, region: str | None) -> Iterator[Batch]:
    """Yield the rows of a file of any form."""
    if file.form is Form.CSV:
        yield from _text(file, region)
    elif file.form is Form.SPREADSHEET:
        yield from _workbook(Path(file.path or ""))
    else:
        for batch in ArrowFile(file, ReadOptions()).batches():
            yield batch.schema.names, batch.columns


def _workbook(path: Path) -> Iterator[Batch]:
    with CalamineWorkbook.from_path(path) as workbook:
        for name in workbook.sheet_names:
            rows = iter(workbook.get_sheet_by_name(name).iter_rows())
            names = [str(cell) for cell in next(rows, ())]
            while piece := list(islice(rows, _BATCH_ROWS)):
                columns = zip(*piece, strict=True)
                yield names, [pa.array(list(map(str, column))) for column in columns]


def _text(file: ListFile, region: str | None) -> Iterator[Batch]:
    """Yield the columns of delimited text; lines of another width are a column of their own."""
    source = partial(pa.input_stream, str(file.path), compression=file.compression)
    with source() as start:
        head = start.read(_SAMPLE_LINES * 1000)
    check_start(head, file.name)
    encoding = detect_encoding(head, file.name, region)
    lines = head.decode(encoding, "replace").splitlines()[:_SAMPLE_LINES]
    delimiter = max(",;\t|", key=lambda each: sum(line.count(each) for line in lines))
    with io.TextIOWrapper(source(), encoding, "replace", newline="") as text:
        rows = (row for row in csv.reader(text, delimiter=delimiter) if row)
        sample = list(islice(rows, _SAMPLE_LINES))
        width = Counter(map(len, sample)).most_common(1)[0][0] if sample else 1
        first = next((row for row in sample if len(row) == width), [])
        has_header = all(
            re.fullmatch(r"[\w .-]{0,60}", cell) and not re.search(r"\d{5}", cell) for cell in first
        )
        names = [cell if has_header and cell else f"column {i}" for i, cell in enumerate(first, 1)]
        if has_header and first:
            sample.remove(first)
        remaining = chain(sample, rows)
        others: list[str] = []
        while piece := list(islice(remaining, _BATCH_ROWS)):
            others += [delimiter.join(row) for row in piece if len(row) != width]
            columns = zip(*(row for row in piece if len(row) == width), strict=True)
            if arrays := [pa.array(column, pa.string()) for column in columns]:
                yield names, arrays
    if others:
        yield ["lines outside the table"], [pa.array(others, pa.string())]
