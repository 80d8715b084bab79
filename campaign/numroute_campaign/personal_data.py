"""Search an output folder for columns and cells that look like personal data.

Names of columns and contents of cells are judged by patterns and a list of given names. Finding
nothing does not prove that there is nothing. Comments and properties of files are not searched:
numroute writes none.
"""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from itertools import chain, islice, zip_longest
from pathlib import Path
from statistics import mode
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from python_calamine import CalamineError, CalamineWorkbook

from numroute.e164.column import parse_column
from numroute.errors import InputError
from numroute_campaign.lists.arrow_list import ArrowFile
from numroute_campaign.lists.files import (
    Form,
    ReadOptions,
    check_start,
    detect_encoding,
    recognised,
)
from numroute_campaign.templates import plain_texts

OWN_FILES: Final = ("summary.json", "report.html", "act.json", "act.html")
"""Files about a run; their texts are not data of the list."""

KINDS: Final = ("name", "e-mail", "date of birth", "address", "phone number", "document")
ROWS_SHOWN: Final = 3

_SAMPLE_BYTES: Final = 2**18
_SAMPLE_ROWS: Final = 200
_BATCH_ROWS: Final = 65_536
BIRTH_YEARS_MIN: Final = 10
"""A date at least this long ago may be a birthday; a later one is of an order or of sending."""

_DATA: Final = resources.files("numroute_campaign") / "data"
_PATTERNS: Final = {
    part: {name: "|".join(alternatives) for name, alternatives in patterns.items()}
    for part, patterns in tomllib.loads((_DATA / "personal_data.toml").read_text("utf-8")).items()
}
_GIVEN_NAMES: Final = frozenset(
    word.casefold()
    for words in tomllib.loads((_DATA / "given_names.toml").read_text("utf-8")).values()
    for word in words.split()
)
_COLUMN_NAME: Final = re.compile(r"(?!.*\d{5})[\w ./()№:-]{0,60}")
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

    ``cells`` of ``filled`` look so, 0 if only the column's name does; ``rows`` are the first of
    them, counted from 1 behind the header.
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
    """Search the files of a folder, and of folders in it. Raises InputError if it has none."""
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
        try:
            searched, found = _search(path, shown, region)
        except (InputError, OSError, UnicodeError, csv.Error, pa.ArrowException, CalamineError):
            unread.append(shown)
            continue
        files.append(shown)
        rows += searched
        findings += found
    if not files and not unread:
        raise InputError(folder, "nothing to check in it", hint="Give the output folder of a run")
    return Check(files=tuple(files), unread=tuple(unread), rows=rows, findings=tuple(findings))


def _search(path: Path, shown: str, region: str | None) -> tuple[int, list[Finding]]:
    """Return how many rows a file has, and what looks like personal data in them."""
    rows = 0
    filled: Counter[tuple[int, str]] = Counter()
    cells: Counter[tuple[int, str, str]] = Counter()
    first: dict[tuple[int, str, str], list[int]] = {}
    for names, columns in _batches(path, region):
        for place, (name, column) in enumerate(zip(names, columns, strict=True)):
            texts = pc.fill_null(plain_texts(column), "")
            filled[place, name] += pc.sum(pc.not_equal(texts, "")).as_py() or 0
            for kind, mask in _hits(texts, region).items():
                at = np.flatnonzero(mask)
                cells[place, name, kind] += len(at)
                places = (at[:ROWS_SHOWN] + rows + 1).tolist()
                first.setdefault((place, name, kind), []).extend(places)
        rows += len(columns[0]) if columns else 0
    return rows, [
        Finding(
            file=shown,
            column=name,
            kind=kind,
            cells=cells[place, name, kind],
            filled=count,
            rows=tuple(first.get((place, name, kind), ())[:ROWS_SHOWN]),
        )
        for (place, name), count in filled.items()
        for kind in KINDS
        if cells[place, name, kind]
        or (count and re.search(_PATTERNS["columns"][kind], name.lower()))
    ]


def _hits(texts: pa.Array, region: str | None) -> dict[str, NDArray[np.bool_]]:
    """Return for each kind whether each cell looks like it."""
    distinct = pc.unique(texts)
    distinct = distinct.filter(_matches(distinct, _WORTH_READING) & ~_matches(distinct, _PSEUDONYM))
    people = _PATTERNS["people"]
    masks = {
        kind: _matches(distinct, f"(?i){pattern}") for kind, pattern in _PATTERNS["cells"].items()
    }
    masks["name"] = _matches(distinct, people["patronymic"]) | _matches(distinct, people["surname"])
    words = map(_NAME.findall, distinct.to_pylist())
    has_name = [any(word.casefold() in _GIVEN_NAMES for word in each) for each in words]
    masks["name"] |= np.array(has_name, np.bool_)
    dates = pc.extract_regex(distinct, people["date"])
    parts = [pc.fill_null(pc.struct_field(dates, part), "") for part in ("last", "first")]
    # Only one part of a match is filled.
    years = pc.cast(pc.binary_join_element_wise("0", *parts, ""), pa.int64()).to_numpy()
    masks["date of birth"] = (years > 0) & (years <= datetime.now(UTC).year - BIRTH_YEARS_MIN)
    masks["phone number"] = _has_phone(distinct, region)
    place = pc.fill_null(pc.index_in(texts, value_set=distinct), len(distinct)).to_numpy()
    return {kind: np.append(mask, False).take(place) for kind, mask in masks.items()}


def _matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    mask = pc.match_substring_regex(texts, pattern)
    return np.asarray(mask.to_numpy(zero_copy_only=False), np.bool_)


def _has_phone(texts: pa.Array, region: str | None) -> NDArray[np.bool_]:
    found = [(i, each) for i, text in enumerate(texts.to_pylist()) for each in _PHONE.findall(text)]
    cells = np.array([cell for cell, _ in found], np.int64)
    if region is not None:
        numbers = parse_column(pa.array([each for _, each in found], pa.string()), region).numbers
        cells = cells[numbers != 0]
    return np.isin(np.arange(len(texts)), cells)


def _batches(path: Path, region: str | None) -> Iterator[tuple[Sequence[str], Sequence[pa.Array]]]:
    """Yield the columns of a file of any form, with their names, some rows at a time."""
    if not path.stat().st_size:
        return
    file = recognised(path)
    if file.form is Form.CSV:
        with pa.input_stream(str(path), compression=file.compression) as start:
            head = start.read(_SAMPLE_BYTES)
        check_start(head, file.name)
        encoding = detect_encoding(head, file.name, region)
        delimiter = max(",;\t|", key=head.decode(encoding, "replace").count)
        source = pa.input_stream(str(path), compression=file.compression)
        with io.TextIOWrapper(source, encoding, "replace", newline="") as text:
            yield from _table(row for row in csv.reader(text, delimiter=delimiter) if row)
    elif file.form is Form.SPREADSHEET:
        with CalamineWorkbook.from_path(path) as workbook:
            for name in workbook.sheet_names:
                rows = workbook.get_sheet_by_name(name).iter_rows()
                yield from _table((list(map(str, row)) for row in rows), has_header=True)
    else:
        for batch in ArrowFile(file, ReadOptions()).batches():
            yield batch.schema.names, batch.columns


def _table(
    rows: Iterable[list[str]], *, has_header: bool = False
) -> Iterator[tuple[Sequence[str], Sequence[pa.Array]]]:
    """Yield rows of texts as columns; what a row has beyond the others is one cell.

    The header is the first row that is as long as most are, if it looks like one or must be.
    """
    rows = iter(rows)
    sample = list(islice(rows, _SAMPLE_ROWS))
    width = mode(map(len, sample)) if sample else 0
    names = next((row for row in sample if len(row) == width), [])
    if has_header or all(_COLUMN_NAME.fullmatch(cell) for cell in names):
        sample = [row for row in sample if row is not names]
    else:
        names = []
    remaining = chain(sample, rows)
    # One wide row must not make as many columns for all others.
    narrow = (
        row if len(row) <= width else [*row[:width], " ".join(row[width:])] for row in remaining
    )
    while piece := list(islice(narrow, _BATCH_ROWS)):
        columns = [pa.array(cells, pa.string()) for cells in zip_longest(*piece, fillvalue="")]
        names += [""] * (len(columns) - len(names))
        shown = enumerate(names[: len(columns)], 1)
        yield [name or f"column {place}" for place, name in shown], columns
