"""Which files a list consists of, what kind each is, their bytes unpacked, and their encoding.

Lists are short and full of names, too little for a statistical detector. A text that is not Unicode
is judged by its words. Words of high bytes alone are Cyrillic; then the encoding is the one in
which they look most like words. Words that mix high bytes with ASCII letters are Latin with
accents.
"""

from __future__ import annotations

import codecs
import enum
import os
import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from numroute.errors import InputError, SettingError

STDIN: Final = "-"

_HEAD_BYTES: Final = 8

_SKIPPED_PREFIXES: Final = (".", "_", "~$")
"""Files of a folder that are no lists by convention: hidden ones, Spark's ``_SUCCESS``, the lock
file of an open workbook."""


class Form(enum.Enum):
    """How a file holds its rows."""

    CSV = "csv"
    PARQUET = "parquet"
    ARROW_FILE = "arrow"
    ARROW_STREAM = "arrow stream"
    SPREADSHEET = "spreadsheet"


_STARTS: Final = (
    (b"PAR1", Form.PARQUET, None),
    (b"ARROW1", Form.ARROW_FILE, None),
    (b"\xff\xff\xff\xff", Form.ARROW_STREAM, None),
    (b"\x1f\x8b", Form.CSV, "gzip"),
    (b"\x28\xb5\x2f\xfd", Form.CSV, "zstd"),
    (b"PK\x03\x04", Form.SPREADSHEET, None),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Form.SPREADSHEET, None),
)
"""How files begin, their form and compression; any zip or old Office file may be a workbook."""

_OTHERS: Final = {
    "a PDF document": rb"%PDF",
    "a picture": rb"\x89PNG|\xff\xd8\xff|GIF8",
    "an archive": rb"Rar!|7z\xbc\xaf|BZh\d|\xfd7zXZ",
    "an XML spreadsheet of Excel 2003": rb"(?:<\?xml.{0,4000}?)?<(?:\w+:)?Workbook\b",
    "an HTML page, as web grids and Bitrix24 export it under the name .xls": (
        rb"(?:<\?xml.{0,300}?>\s*)?(?:<!--.{0,300}?-->\s*)?"
        rb"<(?:!doctype html|html|head|meta|body|table|style|div)\b"
    ),
    "an XML document": rb"<\?xml\b|<\w[^<>]{0,200}>",
    "a web archive (MHTML)": rb"MIME-Version:",
    "SQL statements": (
        rb"(?:(?:--|/\*|SET\s|USE\s|BEGIN\s*;)[^\n]*\n|\s+)*+"
        rb"(?:INSERT\s+(?:IGNORE\s+)?INTO\b|(?:CREATE|DROP)\s+TABLE\b|COPY\s\S+\s*\()"
    ),
    "an address book (vCard)": rb"BEGIN:VCARD",
    "JSON": rb"(?:\[\s*)?\{\s*[\"}]|\[\s*[\"\[]",
}
"""What files that are not lists are, and how they begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFile:
    """One file of a list, or standard input; ``compression`` is pyarrow's name of it."""

    path: Path | None
    form: Form
    compression: str | None = None
    size: int = 0

    @property
    def name(self) -> str:
        """The file's name for people; no folder, which may name persons."""
        return "standard input" if self.path is None else self.path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What to read of every file, and how; None is judged from the file.

    ``option`` begins the names of the options by which the user says so, for messages.
    """

    region: str | None = None
    column: str | None = None
    keep: tuple[str, ...] = ()
    segments_column: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    has_header: bool | None = None
    sheet: str | None = None
    option: str = "--"


def find_files(lists: Sequence[str]) -> tuple[ListFile, ...]:
    """Return the files that the arguments stand for: files, folders, ``-`` for standard input.

    Empty files of a folder are passed over: programs that write in parts leave some.
    """
    files: list[ListFile] = []
    for each in lists:
        path = Path(each)
        if each == STDIN:
            files.append(_standard_input())
        elif not path.is_dir():
            files.append(recognised(path))
        elif members := [member for member in sorted(path.rglob("*")) if _is_part(path, member)]:
            files += map(recognised, members)
        else:
            raise InputError(
                path, "the folder holds no files, or only empty ones", hint="Give the list's files"
            )
    if sum(file.path is None for file in files) > 1:
        raise InputError(STDIN, "standard input is named twice", hint="Name it once")
    return tuple(files)


def _is_part(folder: Path, file: Path) -> bool:
    """Whether a file of a folder is a part of the list."""
    is_skipped = any(p.startswith(_SKIPPED_PREFIXES) for p in file.relative_to(folder).parts)
    return not is_skipped and file.is_file() and file.stat().st_size > 0


def _standard_input() -> ListFile:
    # Python opens standard input as a buffered reader; looking ahead consumes nothing.
    stdin = sys.stdin.buffer
    form, compression = _form(stdin.peek() if isinstance(stdin, BufferedReader) else b"")
    if form is not Form.CSV:
        raise InputError(
            "standard input", "not CSV; only CSV is read from a pipe", hint="Give it as a file"
        )
    return ListFile(path=None, form=form, compression=compression)


def recognised(path: Path) -> ListFile:
    """Return a file and its form, by its content. Raises InputError if it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(path, "not a file", hint="Give a file, a folder or -")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        raise InputError(path, "no such file", hint="Check the path") from None
    except OSError as error:
        hint = "Check that the user who runs this may read it"
        raise InputError(path, f"it cannot be read: {error.strerror}", hint=hint) from None
    if not head:
        raise InputError(path, "the file is empty", hint="Export the list again")
    form, compression = _form(head)
    return ListFile(path=path, form=form, compression=compression, size=size)


def _form(head: bytes) -> tuple[Form, str | None]:
    """Return form and compression by a file's first bytes."""
    found = ((form, packed) for start, form, packed in _STARTS if head.startswith(start))
    return next(found, (Form.CSV, None))


def check_start(start: bytes, where: str) -> None:
    """Raise InputError if the start of a file shows that it is something other than CSV."""
    for what, pattern in _OTHERS.items():
        if re.match(pattern, start, re.IGNORECASE | re.DOTALL):
            hint = "Export the list as CSV or .xlsx"
            raise InputError(where, f"it is {what}, not CSV", hint=hint)


UTF_8: Final = "utf-8"

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks; UTF-32's begins with UTF-16's, so it is tried first."""

_JUDGED_BYTES: Final = 65_536

_WIDE_NUL_SHARE: Final = 0.2
"""From this share of NUL bytes on, a text is not a text with some NULs in it but UTF-16."""

_WORD: Final = re.compile(rb"[A-Za-z\x80-\xff]+")
_UNDECODED: Final = re.compile("[\udc80-\udcff]")
_ASCII_LETTER: Final = re.compile(rb"[A-Za-z]")

_CYRILLIC: Final = {"cp1251": 3, "koi8_r": 0, "cp866": 0, "mac_cyrillic": 0}
"""Cyrillic encodings, and how much more likely one is before anything is read."""

_COMMON_LETTERS: Final = frozenset("оеаинтсрвлкмя")
_CENTRAL_EUROPE: Final = frozenset({"AL", "BA", "CZ", "HR", "HU", "PL", "RO", "RS", "SI", "SK"})


def check_encoding(name: str) -> str:
    """Return the standard name of an encoding; raise SettingError if it is unknown."""
    try:
        "a".encode(name)
        return codecs.lookup(name).name
    except (LookupError, UnicodeError):
        hint = "Common ones are utf-8, cp1251, utf-16, koi8-r"
        raise SettingError(f"unknown encoding {name!r}", hint=hint) from None


def detect_encoding(sample: bytes, where: str, region: str | None) -> str:
    """Return a text's encoding by its first bytes. Raises InputError if it is not a text."""
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if sample.count(b"\0") > _WIDE_NUL_SHARE * len(sample):
        even, odd = sample[::2].count(b"\0"), sample[1::2].count(b"\0")
        if min(even, odd) < max(even, odd) / 4:
            return "utf-16-be" if even > odd else "utf-16-le"
        raise InputError(where, "not a text: it is full of NUL bytes", hint="Give a CSV file")
    if sample.isascii() or _is_utf_8(sample):
        return UTF_8
    words = [word for word in _WORD.findall(sample[:_JUDGED_BYTES]) if not word.isascii()]
    mixed = sum(_ASCII_LETTER.search(word) is not None for word in words)
    if 2 * mixed > len(words):
        return "cp1250" if region in _CENTRAL_EUROPE else "cp1252"
    scores = {
        encoding: prior + sum(_russian(word, encoding) for word in words)
        for encoding, prior in _CYRILLIC.items()
    }
    return max(scores, key=scores.__getitem__)


def _russian(word: bytes, encoding: str) -> int:
    """Return how well a word reads as Russian in an encoding."""
    text = word.decode(encoding, errors="replace")
    common = sum(letter in _COMMON_LETTERS for letter in text.lower())
    others = sum(not letter.isalpha() for letter in text)
    is_odd = not (text.islower() or text.isupper() or text.istitle())
    return common - 2 * others - 3 * is_odd


def _is_utf_8(sample: bytes) -> bool:
    """Whether it is UTF-8, apart from a character cut off at its end and some damaged lines."""
    text = codecs.getincrementaldecoder(UTF_8)("surrogateescape").decode(sample)
    lines = [line for line in text.splitlines() if not line.isascii()]
    damaged = sum(_UNDECODED.search(line) is not None for line in lines)
    # Hardly any line of another encoding happens to be UTF-8: one in two says enough.
    return 2 * damaged <= len(lines)
