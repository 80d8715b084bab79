"""Which files a list consists of, what kind each is, their bytes unpacked, and their encoding.

Lists are short and full of names, too little for a statistical detector. A text that is not Unicode
is judged by its words. Words of high bytes alone are Cyrillic; then the encoding is the
one in which they are made of frequent letters, capitals at their beginning. Words that mix high
bytes with ASCII letters are Latin with accents.
"""

from __future__ import annotations

import codecs
import enum
import functools
import math
import os
import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

import pyarrow as pa

from numroute.errors import InputError, SettingError

STDIN: Final = "-"

HEAD_BYTES: Final = 8

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

_EXPORT: Final = "Export the list as CSV or .xlsx"
_UNPACK: Final = "Unpack it and give the list's files"
_SAVE_AGAIN: Final = "Open it in a spreadsheet program and save it as .xlsx or CSV"

_OTHER_FILES: Final = (
    (rb"%PDF", "a PDF document", _EXPORT),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture", _EXPORT),
    (rb"Rar!", "a RAR archive", _UNPACK),
    (rb"7z\xbc\xaf", "a 7-Zip archive", _UNPACK),
    (rb"BZh\d|\xfd7zXZ", "compressed with bzip2 or xz", _UNPACK),
)
_OTHER_TEXTS: Final = (
    (
        rb"<\?xml.{0,4000}?(?:office:spreadsheet|<(?:\w+:)?Workbook\b)|<(?:\w+:)?Workbook\b",
        "an XML spreadsheet of Excel 2003",
        _SAVE_AGAIN,
    ),
    (
        (
            rb"(?:<\?xml.{0,300}?>\s*)?(?:<!--.{0,300}?-->\s*)?"
            rb"<(?:!doctype html|html|head|meta|body|table|style|div)\b"
        ),
        "an HTML page, as web grids and Bitrix24 export it under the name .xls",
        _SAVE_AGAIN,
    ),
    (rb"<\?xml\b|<\w[^<>]{0,200}>", "an XML document", _EXPORT),
    (rb"MIME-Version:", "a web archive (MHTML)", _SAVE_AGAIN),
    (
        (
            rb"(?:(?:--|/\*|SET\s|USE\s|BEGIN\s*;)[^\n]*\n|\s+)*+(?:INSERT\s+(?:IGNORE\s+)?INTO\b|"
            rb"(?:CREATE|DROP)\s+(?:TABLE|DATABASE|SCHEMA)\b|COPY\s\S+\s*\()"
        ),
        "SQL statements",
        _EXPORT,
    ),
    (rb"BEGIN:VCARD", "an address book (vCard)", _EXPORT),
    (rb"(?:\[\s*)?\{\s*[\"}]|\[\s*[\"\[]", "JSON", _EXPORT),
)
"""How files that are not lists begin, what they are, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFile:
    """One file of a list. ``compression`` is pyarrow's name of it, or None."""

    path: Path | None
    form: Form
    compression: str | None = None
    size: int = 0

    @property
    def name(self) -> str:
        """The file's name for people; no folder, which may name persons."""
        return "standard input" if self.path is None else self.path.name


def find_files(lists: Sequence[str]) -> tuple[ListFile, ...]:
    """Return the files that the arguments stand for: files, folders, ``-`` for standard input.

    Empty files of a folder are passed over: programs that write in parts leave some.

    Raises:
        InputError: There is no such file, a folder holds none, a file is empty or no list.
    """
    files: list[ListFile] = []
    for each in lists:
        if each == STDIN:
            files.append(_standard_input())
            continue
        path = Path(each)
        if not path.is_dir():
            files.append(recognised(path))
            continue
        members = sorted(
            member
            for member in path.rglob("*")
            if member.is_file()
            and member.stat().st_size
            and not any(
                part.startswith(_SKIPPED_PREFIXES) for part in member.relative_to(path).parts
            )
        )
        if not members:
            raise InputError(
                path, "the folder holds no files, or only empty ones", hint="Give the list's files"
            )
        files += map(recognised, members)
    if sum(file.path is None for file in files) > 1:
        raise InputError(STDIN, "standard input is named twice", hint="Name it once")
    return tuple(files)


def check_start(
    start: bytes,
    where: object,
    others: Sequence[tuple[bytes, str, str]] = (*_OTHER_FILES, *_OTHER_TEXTS),
) -> None:
    """Raise InputError if the start of a file shows that it is something other than CSV."""
    for pattern, what, hint in others:
        if re.match(pattern, start, re.IGNORECASE | re.DOTALL):
            raise InputError(str(where), f"it is {what}, not CSV", hint=hint)


def _standard_input() -> ListFile:
    # Python opens standard input as a buffered reader; looking ahead consumes nothing.
    head = (
        sys.stdin.buffer.peek(HEAD_BYTES) if isinstance(sys.stdin.buffer, BufferedReader) else b""
    )[:HEAD_BYTES]
    form, compression = _form(head)
    if form is not Form.CSV:
        what = "a zip or an Excel workbook" if form is Form.SPREADSHEET else f"{form.value} data"
        raise InputError(
            "standard input", f"{what}, which is not read from a pipe", hint="Give it as a file"
        )
    return ListFile(path=None, form=form, compression=compression)


def recognised(path: Path) -> ListFile:
    """Return a file and its form, by its content. Raises InputError as ``find_files`` does."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(path, "not a file", hint="Give a file, a folder or -")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise InputError(path, "no such file", hint="Check the path") from None
    except OSError as error:
        raise InputError(
            path,
            f"it cannot be read: {error.strerror}",
            hint="Check that the user who runs this may read it",
        ) from None
    if not head:
        raise InputError(path, "the file is empty", hint="Export the list again")
    check_start(head, path.name, _OTHER_FILES)
    form, compression = _form(head)
    return ListFile(path=path, form=form, compression=compression, size=status.st_size)


def _form(head: bytes) -> tuple[Form, str | None]:
    """Return form and compression by a file's first bytes."""
    for start, form, compression in _STARTS:
        if head.startswith(start):
            return form, compression
    return Form.CSV, None


class ByteSource:
    """The unpacked bytes of a file or of standard input."""

    def __init__(self, file: ListFile) -> None:
        """Open the file; nothing is read yet."""
        self.file = file
        self._raw = (
            pa.PythonFile(sys.stdin.buffer, mode="r")
            if file.path is None
            else pa.OSFile(os.fspath(file.path))
        )
        self._stream = (
            pa.CompressedInputStream(self._raw, file.compression) if file.compression else self._raw
        )
        self.bytes_done = 0
        """How many bytes of the file, as it lies on disk, were read; unpacked ones of a pipe."""

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes; none at the end.

        Raises:
            InputError: The compressed data is damaged or cut short.
        """
        try:
            data: bytes = self._stream.read(count)
        except OSError:
            raise InputError(
                self.file.path or STDIN,
                f"the {self.file.compression or 'file'} data is damaged or cut short",
                hint="Export or copy the list again",
            ) from None
        self.bytes_done = (
            self.bytes_done + len(data) if self.file.path is None else self._raw.tell()
        )
        return data

    def close(self) -> None:
        """Close the file."""
        if self.file.path is not None:
            self._stream.close()
            self._raw.close()


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

_CYRILLIC: Final = {"cp1251": 0.0, "koi8_r": -8.0, "cp866": -8.0, "mac_cyrillic": -12.0}
"""Cyrillic encodings and the logarithm of how often each is met, against the first."""

_FREQUENCIES: Final = dict(
    zip(
        "оеаинтсрвлкмдпуяызьбгчйхжюшцщэфъёіїєґўʼ",
        (
            *(1097, 845, 801, 735, 670, 626, 547, 473, 454, 440, 349, 321, 298, 281, 262, 201),
            *(190, 165, 174, 159, 170, 144, 121, 97, 94, 64, 73, 48, 36, 32, 26, 4, 10),
            *(20, 5, 5, 2, 5, 2),
        ),
        strict=True,
    )
)
"""Letters in ten thousand of Russian text; those of its neighbours are rare."""

_CENTRAL_EUROPE: Final = frozenset({"AL", "BA", "CZ", "HR", "HU", "PL", "RO", "RS", "SI", "SK"})


def check_encoding(name: str) -> str:
    """Return the standard name of an encoding; raise SettingError if it is unknown."""
    try:
        "a".encode(name)
        return codecs.lookup(name).name
    except (LookupError, UnicodeError):
        raise SettingError(
            f"unknown encoding {name!r}", hint="Common ones are utf-8, cp1251, utf-16, koi8-r"
        ) from None


def detect_encoding(sample: bytes, where: object, region: str | None) -> str:
    """Return a text's encoding by its first bytes. Raises InputError if it is not a text."""
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    nuls = sample.count(b"\0")
    if nuls > _WIDE_NUL_SHARE * len(sample):
        even, odd = sample[::2].count(b"\0"), sample[1::2].count(b"\0")
        if min(even, odd) < max(even, odd) / 4:
            return "utf-16-be" if even > odd else "utf-16-le"
        raise InputError(str(where), "not a text: it is full of NUL bytes", hint="Give a CSV file")
    if sample.isascii() or _is_utf_8(sample):
        return UTF_8
    words = [word for word in _WORD.findall(sample[:_JUDGED_BYTES]) if not word.isascii()]
    mixed = sum(_ASCII_LETTER.search(word) is not None for word in words)
    if 2 * mixed > len(words):
        return "cp1250" if region in _CENTRAL_EUROPE else "cp1252"
    return max(_CYRILLIC, key=lambda name: _CYRILLIC[name] + _likelihood(words, name))


def _likelihood(words: list[bytes], encoding: str) -> float:
    """Return the logarithm of how well words read as Russian in an encoding."""
    total = 0.0
    for word in words:
        text = word.decode(encoding, errors="replace")
        total += sum(map(_log_frequency, text.lower()))
        if not (text.islower() or text.isupper() or text.istitle()):
            total -= 5.0
    return total


@functools.cache
def _log_frequency(character: str) -> float:
    return math.log(_FREQUENCIES.get(character, 0.1 if character.isalpha() else 1))


def _is_utf_8(sample: bytes) -> bool:
    """Whether it is UTF-8, apart from a character cut off at its end and some damaged lines."""
    text = codecs.getincrementaldecoder(UTF_8)("surrogateescape").decode(sample)
    lines = [line for line in text.splitlines() if not line.isascii()]
    damaged = sum(_UNDECODED.search(line) is not None for line in lines)
    # Hardly any line of another encoding happens to be UTF-8: one in two says enough.
    return 2 * damaged <= len(lines)
