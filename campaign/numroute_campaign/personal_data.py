"""Search an output folder for columns and cells that look like personal data.

Names of columns and contents of cells are judged, by patterns and a list of given names. The search
finds what looks like personal data; finding nothing does not prove that there is none.
"""

from __future__ import annotations

import csv
import functools
import html
import re
import tomllib
import zipfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv as pa_csv

from numroute.e164 import parse_column
from numroute.errors import InputError
from numroute_campaign.lists.encoding import detect_encoding
from numroute_campaign.lists.files import Form, recognised
from numroute_campaign.text_rows import plain_texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Batch = tuple[list[str], list[pa.Array]]

OWN_FILES: Final = ("summary.json", "report.html", "act.json", "act.html")
"""What numroute writes about a run; its texts are not data of the list."""

KINDS: Final = ("name", "e-mail", "date of birth", "address", "phone number", "document")
ROWS_SHOWN: Final = 3

_SAMPLE_LINES: Final = 200
_BATCH_ROWS: Final = 65_536
BIRTH_YEARS_MIN: Final = 10
"""A date so many years ago may be a birthday; a later one is of an order or of sending."""

_COLUMNS: Final = {
    "name": r"^author$|(^|[^a-z])(name|fio|surname|last_?name|first_?name|patronymic)([^a-z]|$)|"
    r"^фио|(^|[^а-я])(имя|фамилия|отчество|фио|клиент|контакт)([^а-я]|$)",
    "e-mail": r"e-?mail|почт|мейл",
    "date of birth": r"birth|^dob$|рожд|^д\.?р\.?$|возраст",
    "address": r"addr|street|адрес|улица|квартира|индекс|прописк",
    "phone number": r"phone|mobile|msisdn|тел(ефон)?([^а-я]|$)|моб(ильный)?([^а-я]|$)|whatsapp",
    "document": r"passport|паспорт|снилс|snils|^инн$|^inn$|^tax_?(id|number)$|карт[аы]|card",
}
_CELLS: Final = {
    "e-mail": r"[^\s@<>;,]+@[^\s@<>;,]+\.[^\s@<>;,]{2,}",
    "address": r"(^|[\s,.;])(ул|просп|пр-т|пр-кт|пер|наб|бул|б-р|ш|мкр|кв|обл|пос|дер)\.|"
    r"(^|[\s,;])(улица|проспект|переулок|набережная|бульвар|шоссе|микрорайон|квартира|дом)\s|"
    r"(^|[\s,;])[гд]\.\s*([а-яё]{3,}|\d+)|"
    r"\b\d+\s+[a-z]+\s+(street|st|avenue|ave|road|rd|lane)\b",
    "document": r"(^|\D)\d{2}\s?\d{2}\s\d{6}(\D|$)|(^|\D)\d{3}-\d{3}-\d{3}[\s-]\d{2}(\D|$)|"
    r"(^|\D)\d{4}[\s-]\d{4}[\s-]\d{4}[\s-]\d{4}(\D|$)",
}
_DATE: Final = (
    r"(?:^|\D)(?:\d{1,2}[./-]\d{1,2}[./-](?P<last>(?:19|20)\d{2})|"
    r"(?P<first>(?:19|20)\d{2})[./-]\d{1,2}[./-]\d{1,2})(?:\D|$)"
)
_PATRONYMIC: Final = (
    r"(^|[\s,.;!])[А-ЯЁ][А-ЯЁа-яё]+(?i:ович|евич|ьич|овна|евна|ична|инична)([\s,.;!]|$)"
)
_SURNAME: Final = (
    r"^[А-ЯЁ][А-ЯЁа-яё-]+(?i:ов|ев|ёв|ин|ова|ева|ёва|ина|ский|ская|цкий|цкая|енко|швили|дзе)"
    r"(\s[А-ЯЁ][а-яё]*\.?\s?([А-ЯЁ][а-яё]*\.?)?)?$|"
    r"^[A-Z][A-Za-z-]+(?i:ov|ova|ev|eva|sky|skiy|skaya|enko)(\s[A-Z][a-z]*\.?){0,2}$"
)
"""A whole cell of a surname, with a name or initials behind it."""

_NAME: Final = re.compile(r"[A-ZА-ЯЁ][A-Za-zА-Яа-яЁё]+")
_PHONE: Final = re.compile(
    r"(?<!\d)\+?\d{10,15}(?!\d)|"
    r"(?<!\d)\+?\d{1,3}[\s-]?\(?\d{3,5}\)?[\s-]?\d{2,3}[\s-]?\d{2}[\s-]?\d{2}(?!\d)"
)
_WORTH_READING: Final = r"\p{L}|@|(?:\d\D*){6}"
_PSEUDONYM: Final = r"^[0-9a-fA-F]{32}$"

_WORD_BREAKS: Final = re.compile(r"[_/-]|\.[A-Za-z]+(?=\.|$)")
_MANY_DIGITS: Final = re.compile(r"\d{7,}")
_PARTS_APART: Final = re.compile(
    r"docProps/|xl/(?:comments|threadedComments|persons|drawings/)|meta\.xml|content\.xml"
)
"""The parts of a workbook that hold texts which are in no cell."""

_AUTHOR: Final = re.compile(
    r"<(?:dc:creator|cp:lastModifiedBy|author|Manager|meta:initial-creator)>([^<]+)<|"
    r'displayName="([^"]+)"'
)
_ANNOTATION: Final = re.compile(r"<office:annotation\b.*?</office:annotation>", re.DOTALL)
_XML_TEXT: Final = re.compile(r">([^<>]+)<")


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
    """What a search found. ``files`` were read, ``unread`` are of a form that cannot be."""

    files: tuple[str, ...]
    unread: tuple[str, ...]
    rows: int
    findings: tuple[Finding, ...]


def check_handover(folder: Path, region: str | None) -> Check:
    """Search the files of a folder, and of folders in it.

    Raises:
        InputError: The folder or a file of it cannot be read.
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
        shown = _masked(name)
        name_search = _Search(shown, region)
        name_search.add(["title of the file"], [pa.array([_WORD_BREAKS.sub(" ", name).title()])])
        findings += name_search.findings()
        search, apart = _Search(shown, region), _Search(shown, region)
        try:
            if path.stat().st_size:
                form, compression = _form(path)
                for columns, values in _batches(path, form, compression, region):
                    search.add(columns, values)
                for column, texts in _texts_apart(path, form).items():
                    apart.add([column], [pa.array(texts, pa.string())])
        except _UnreadableFormError:
            unread.append(shown)
            continue
        except (OSError, pa.ArrowException, zipfile.BadZipFile):
            # pyarrow's own message may quote a cell.
            raise InputError(path, "it cannot be read", hint="Check the file") from None
        files.append(shown)
        rows += search.rows
        findings += search.findings() + apart.findings()
    if not files and not unread:
        raise InputError(folder, "nothing to check in it", hint="Give the output folder of a run")
    return Check(files=tuple(files), unread=tuple(unread), rows=rows, findings=tuple(findings))


class _UnreadableFormError(Exception):
    """A file is of a form that is not searched."""


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
            texts = _texts(column)
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
            or (filled and re.search(_COLUMNS[kind], name.lower()))
        ]


def _hits(texts: pa.Array, region: str | None) -> dict[str, NDArray[np.bool_]]:
    """Return for each kind whether each cell looks like it."""
    distinct = pc.unique(texts)
    worth = pc.and_not(
        pc.match_substring_regex(distinct, _WORTH_READING),
        pc.match_substring_regex(distinct, _PSEUDONYM),
    )
    distinct = distinct.filter(worth)
    masks = {kind: _matches(distinct, f"(?i){pattern}") for kind, pattern in _CELLS.items()}
    masks["name"] = (
        _matches(distinct, _PATRONYMIC) | _matches(distinct, _SURNAME) | _has_given_name(distinct)
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
    dates = pc.extract_regex(texts, _DATE)
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


def _texts(column: pa.Array) -> pa.Array:
    return pc.fill_null(plain_texts(column), "")


def _masked(name: str) -> str:
    """Return a file's name without the digits of a phone number in it."""
    return _MANY_DIGITS.sub(lambda run: run[0][:3] + "*" * (len(run[0]) - 3), name)


def _form(path: Path) -> tuple[Form, str | None]:
    """Return the form and the compression of a file. Raises _UnreadableFormError."""
    try:
        file = recognised(path)
    except InputError:
        raise _UnreadableFormError from None
    return file.form, file.compression


def _batches(
    path: Path, form: Form, compression: str | None, region: str | None
) -> Iterator[Batch]:
    """Yield the columns of a file, piece by piece. Raises _UnreadableFormError."""
    if form is Form.PARQUET:
        return _parquet(path)
    if form is Form.SPREADSHEET:
        return _workbook(path)
    if form is Form.CSV:
        return _text(path, compression, region)
    return _arrow(path, form)


def _texts_apart(path: Path, form: Form) -> dict[str, list[str]]:
    """Return what a file says besides its rows: authors, comments, properties, metadata."""
    if form is Form.CSV:
        return {}
    if form is Form.SPREADSHEET:
        return _workbook_texts_apart(path)
    if form is Form.PARQUET:
        with pq.ParquetFile(path) as file:
            schema, found = file.schema_arrow, dict(file.metadata.metadata or {})
    else:
        with pa.memory_map(str(path)) as source, _opened_arrow(source, form) as reader:
            schema, found = reader.schema, {}
    found |= schema.metadata or {}
    texts = [value for key, value in found.items() if key != b"ARROW:schema"]
    texts += [value for field in schema for value in (field.metadata or {}).values()]
    return {"metadata": [text.decode(errors="replace") for text in texts]}


def _workbook_texts_apart(path: Path) -> dict[str, list[str]]:
    """Return the authors, the comments and properties of a workbook, which is a zip of XML."""
    if not zipfile.is_zipfile(path):
        raise _UnreadableFormError  # the old .xls: its properties cannot be read here
    authors: list[str] = []
    others: list[str] = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not _PARTS_APART.match(name):
                continue
            text = archive.read(name).decode("utf-8", "replace")
            if name == "content.xml":
                text = "".join(_ANNOTATION.findall(text))
            authors += [html.unescape("".join(each)) for each in _AUTHOR.findall(text)]
            others += map(html.unescape, _XML_TEXT.findall(text))
    named = [each for each in authors if each.strip()]
    return {"author": named, "comments and properties": others}


def _parquet(path: Path) -> Iterator[Batch]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS):
            yield batch.schema.names, batch.columns


def _opened_arrow(source: pa.NativeFile, form: Form) -> pa.RecordBatchReader:
    is_file = form is Form.ARROW_FILE
    return pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)


def _arrow(path: Path, form: Form) -> Iterator[Batch]:
    with pa.memory_map(str(path)) as source, _opened_arrow(source, form) as file:
        batches = (
            (file.get_batch(i) for i in range(file.num_record_batches))
            if form is Form.ARROW_FILE
            else iter(file)
        )
        for batch in batches:
            yield batch.schema.names, batch.columns


def _workbook(path: Path) -> Iterator[Batch]:
    from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415 - slow to load

    try:
        with CalamineWorkbook.from_path(path) as workbook:
            for name in workbook.sheet_names:
                rows = iter(workbook.get_sheet_by_name(name).iter_rows())
                names = [str(cell) for cell in next(rows, ())]
                while piece := list(islice(rows, _BATCH_ROWS)):
                    columns = zip(*piece, strict=True)
                    yield names, [pa.array(list(map(str, column))) for column in columns]
    except CalamineError:
        raise InputError(path, "it cannot be read", hint="Check the file") from None


def _text(path: Path, compression: str | None, region: str | None) -> Iterator[Batch]:
    """Yield the columns of delimited text; lines of another width are a column of their own."""
    with pa.input_stream(str(path), compression=compression) as source:
        head = source.read(_SAMPLE_LINES * 1000)
    try:
        encoding = detect_encoding(head, path.name, region)
    except InputError:
        raise _UnreadableFormError from None
    lines = head.decode(encoding, "replace").splitlines()[:_SAMPLE_LINES]
    if not lines:
        return
    delimiter = max(",;\t|", key=lambda each: sum(line.count(each) for line in lines))
    widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if row)
    (width, _), *_ = widths.most_common(1) or [(1, 1)]
    first = next((row for row in csv.reader(lines, delimiter=delimiter) if len(row) == width), [])
    has_header = all(
        re.fullmatch(r"[\w .-]{0,60}", cell) and not re.search(r"\d{5}", cell) for cell in first
    )
    names = [cell if has_header and cell else f"column {i}" for i, cell in enumerate(first, 1)] or [
        "column 1"
    ]
    others: list[str] = []

    def keep(row: pa_csv.InvalidRow) -> str:
        others.append(row.text or "")
        return "skip"

    keys = [str(i) for i in range(len(names))]
    reader = pa_csv.open_csv(
        pa.input_stream(str(path), compression=compression),
        read_options=pa_csv.ReadOptions(column_names=keys, encoding=encoding),
        parse_options=pa_csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(keys, pa.string()), strings_can_be_null=False
        ),
    )
    for number, batch in enumerate(reader):
        yield names, batch.slice(1 if number == 0 and has_header else 0).columns
    if others:
        yield ["lines outside the table"], [pa.array(others, pa.string())]
