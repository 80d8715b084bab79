"""Which encoding a text is in, judged by its first bytes.

Lists are short and full of names, too little for a statistical detector. A text that is not Unicode
is judged by its words. Words of high bytes alone are Cyrillic; then the encoding is the
one in which they are made of frequent letters, capitals at their beginning. Words that mix high
bytes with ASCII letters are Latin with accents.
"""

from __future__ import annotations

import codecs
import functools
import math
import re
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

_JUDGED_BYTES: Final = 65_536

_WIDE_NUL_SHARE: Final = 0.2
"""From this share of NUL bytes on, a text is not a text with some NULs in it but UTF-16."""

_WORD: Final = re.compile(rb"[A-Za-z\x80-\xff]+")
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
    """Return the standard name of an encoding that the user gave.

    Raises:
        SettingError: Python knows no such encoding of texts.
    """
    try:
        "a".encode(name)
        return codecs.lookup(name).name
    except (LookupError, UnicodeError):
        raise SettingError(
            f"unknown encoding {name!r}", hint="Common ones are utf-8, cp1251, utf-16, koi8-r"
        ) from None


def detect_encoding(sample: bytes, where: object, region: str | None) -> str:
    """Return the name of the encoding that the first bytes of a text are in.

    Raises:
        InputError: It is not a text.
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
