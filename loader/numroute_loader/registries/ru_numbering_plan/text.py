"""The bytes of a numbering-plan file as UTF-8 lines, or the reason why they are not a plan.

The publisher wrote windows-1251 until 2018, UTF-8 without and later with a byte order mark; copies
saved again by others are in any of the three, and sometimes in two of them at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute_loader.reading.archive import refuse_web_page

if TYPE_CHECKING:
    from pathlib import Path

PLAN_BYTES_MAX = 256 * 2**20
"""The largest file that is read as a plan. All four files of 2026 together are below 100 MB."""

_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

# Three Cyrillic letters in UTF-8. In windows-1251 the same bytes would be three times one of the
# capitals Р and С followed by a sign that never follows a letter in a Russian text.
_UTF8_CYRILLIC = re.compile(rb"(?:[\xd0\xd1][\x80-\xbf]){3}")

# A carriage return belongs to a line's end. The columnar reader would take any other as one.
_STRAY_RETURN = re.compile(rb"\r(?!\n|\Z)")

_DOWNLOAD_AGAIN = "Download the file from its publisher again"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanText:
    """A plan's text: UTF-8 without byte order mark, in lines that end with LF or CRLF."""

    path: Path
    data: bytes

    @property
    def line_count(self) -> int:
        """The number of lines, the last one counted whether or not it ends with a line end."""
        return self.data.count(b"\n") + (not self.data.endswith(b"\n"))


def decode_plan(path: Path, raw: bytes) -> PlanText:
    """Return the text of a plan file's bytes.

    Raises:
        InputError: the file is too long, empty, a web page or in UTF-16, or it holds NUL bytes, a
            return inside a line, letters lost in a conversion, or lines in two encodings.
    """
    if len(raw) > PLAN_BYTES_MAX:
        raise InputError(
            path,
            f"longer than {PLAN_BYTES_MAX} bytes, which no numbering plan is",
            hint="Check that this is a file of the numbering plan",
        )
    if raw.startswith(_UTF16_MARKS):
        raise InputError(path, "the file is in UTF-16", hint="Save it as UTF-8")
    marked = raw.startswith(_BOM)
    data = raw[len(_BOM) :] if marked else raw
    if not data.strip():
        raise InputError(path, "the file is empty", hint=_DOWNLOAD_AGAIN)
    refuse_web_page(path, data)
    _refuse_bytes(path, data)
    return PlanText(path=path, data=_as_utf8(path, data, marked=marked))


def _refuse_bytes(path: Path, data: bytes) -> None:
    """Refuse what no encoding of a plan holds."""
    nul = data.find(b"\x00")
    if nul >= 0:
        raise InputError(path, "a NUL byte", line=_line(data, nul), hint=_DOWNLOAD_AGAIN)
    stray = _STRAY_RETURN.search(data)
    if stray:
        raise InputError(
            path,
            "a carriage return inside the line",
            line=_line(data, stray.start()),
            hint="Lines end with LF or CRLF; save the file with one of them",
        )
    lost = data.find("\N{REPLACEMENT CHARACTER}".encode())
    if lost >= 0:
        raise InputError(
            path,
            "letters were lost when this copy was converted (U+FFFD)",
            line=_line(data, lost),
            hint=_DOWNLOAD_AGAIN,
        )


def _as_utf8(path: Path, data: bytes, *, marked: bool) -> bytes:
    """Return the bytes as UTF-8, whichever of the two encodings they are in."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        not_utf8 = error.start
    else:
        return data
    utf8 = _UTF8_CYRILLIC.search(data)
    if utf8:
        raise _mixed(path, not_utf8=_line(data, not_utf8), utf8=_line(data, utf8.start()))
    if marked:
        raise _mixed(path, not_utf8=_line(data, not_utf8), utf8=0)
    try:
        return data.decode("windows-1251").encode()
    except UnicodeDecodeError as error:
        raise InputError(
            path,
            "neither UTF-8 nor windows-1251",
            line=_line(data, error.start),
            hint=_DOWNLOAD_AGAIN,
        ) from None


def _mixed(path: Path, *, not_utf8: int, utf8: int) -> InputError:
    """Name the line that departs from what the file begins with; line 0 is the mark."""
    if utf8 == not_utf8:
        line, reason = utf8, "one part of this line is in UTF-8, another is not"
    elif utf8 > not_utf8:
        line, reason = utf8, f"this line is in UTF-8, line {not_utf8} is not"
    else:
        begin = f"line {utf8}" if utf8 else "the byte order mark"
        line, reason = not_utf8, f"this line is not in UTF-8, {begin} is"
    return InputError(path, f"mixed encodings: {reason}", line=line, hint=_DOWNLOAD_AGAIN)


def _line(data: bytes, position: int) -> int:
    """The line, counted from 1, that a byte position lies in."""
    return data.count(b"\n", 0, position) + 1
