"""Which encoding a text is in, judged by its first bytes."""

from __future__ import annotations

import codecs
from typing import Final

from numroute.errors import InputError, SettingError

UTF_8: Final = "utf-8"

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks; UTF-32's begins with UTF-16's, so it is tried first."""

_CANDIDATES: Final = ("cp1251", "koi8_r", "cp866", "mac_cyrillic", "cp1252", "latin_1", "cp1250")
_JUDGED_BYTES: Final = 65_536

_WIDE_NUL_SHARE: Final = 0.2
"""From this share of NUL bytes on, a text is not a text with some NULs in it but UTF-16."""


def check_encoding(name: str) -> str:
    """Return the standard name of an encoding that the user gave.

    Raises:
        SettingError: Python knows no such encoding of texts.
    """
    try:
        "a".encode(name)
        return codecs.lookup(name).name
    except (LookupError, UnicodeError):
        raise SettingError(
            f"there is no encoding {name!r}", hint="Common ones are utf-8, cp1251, utf-16, koi8-r"
        ) from None


def detect_encoding(sample: bytes, where: object) -> str:
    """Return the name of the encoding that the first bytes of a text are in.

    Raises:
        InputError: It is not a text that can be told.
    """
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    nuls = sample.count(b"\0")
    if nuls > _WIDE_NUL_SHARE * len(sample):
        even, odd = sample[::2].count(b"\0"), sample[1::2].count(b"\0")
        if min(even, odd) < max(even, odd) / 4:
            return "utf-16-be" if even > odd else "utf-16-le"
        raise InputError(str(where), "not a text: it is full of NUL bytes", hint="Give a CSV file")
    if sample.isascii():
        return UTF_8
    if _is_utf_8(sample):
        return UTF_8
    foreign = b"\n".join(line for line in sample.splitlines() if not line.isascii())
    from charset_normalizer import from_bytes  # noqa: PLC0415 - few lists need it

    best = from_bytes(foreign[:_JUDGED_BYTES], cp_isolation=list(_CANDIDATES)).best()
    if best is None or best.encoding not in _CANDIDATES:
        raise InputError(
            str(where), "its encoding cannot be told", hint="Give --encoding, e.g. cp1251"
        )
    return best.encoding


def _is_utf_8(sample: bytes) -> bool:
    """Whether it is UTF-8, save for a character cut off at its end and some damaged lines."""
    try:
        codecs.getincrementaldecoder(UTF_8)().decode(sample)
    except UnicodeDecodeError:
        foreign = [line for line in sample.splitlines() if not line.isascii()]
        good = sum(_decodes(line) for line in foreign)
        # Hardly any line of another encoding happens to be UTF-8: one in two says enough.
        return 2 * good >= len(foreign)
    return True


def _decodes(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
