r"""Digit patterns of a numbering plan, matched against numbers that are known only in part.

The library's metadata describes prefixes and national numbers by small regular expressions over
digits: literals, ``[...]``, ``\d``, groups, ``|``, ``?``, ``{m}``, ``{m,n}`` and a final ``$``.
Such an expression matches finitely many shapes, and a shape is one set of allowed digits per
position. Written out as shapes, a pattern can be matched against all numbers of one length that
share their leading digits at once: either all match, or none does, or more digits are needed.
"""

from __future__ import annotations

import re
from typing import Final

_ANY: Final = (1 << 10) - 1
"""The set of all ten digits, one bit per digit."""

_SHAPES_MAX: Final = 20_000
"""A pattern with more shapes than this is matched against whole numbers only."""

_Shape = tuple[int, ...]


class UnsettledError(Exception):
    """The known digits do not decide the answer. Never leaves this package."""


class DigitPattern:
    """One regular expression of the metadata.

    Every query takes the leading digits that are known and the length of the whole number, and
    answers for all numbers of that length with those leading digits, or raises UnsettledError.
    """

    def __init__(self, source: str) -> None:
        """Compile the expression and write its shapes out."""
        self._regex = re.compile(source)
        self._shapes = expand(source)
        self._by_length: dict[int, list[_Shape]] = {}
        for shape in self._shapes or ():
            self._by_length.setdefault(len(shape), []).append(shape)

    def fullmatch(self, known: str, length: int) -> bool:
        """Say whether the whole number matches the whole expression."""
        if len(known) == length:
            return self._regex.fullmatch(known) is not None
        if self._shapes is None:
            raise UnsettledError
        open_shapes = [s for s in self._by_length.get(length, ()) if _admits(s, known)]
        if not open_shapes:
            return False
        if any(all(digits == _ANY for digits in s[len(known) :]) for s in open_shapes):
            return True
        raise UnsettledError

    def match(self, known: str, length: int) -> re.Match[str] | None:
        """Match the expression at the number's start; unknown digits read as zeros.

        The spans of the match hold for every number of the class.
        """
        if len(known) < length:
            if self._shapes is None:
                raise UnsettledError
            # A shape that the known digits exclude cannot match, whatever the others are; one that
            # asks nothing of the unknown digits matches all or none.
            open_shapes = [s for s in self._shapes if len(s) <= length and _admits(s, known)]
            if not open_shapes:
                return None
            if any(digits != _ANY for s in open_shapes for digits in s[len(known) :]):
                raise UnsettledError
        return self._regex.match(known.ljust(length, "0"))


def _admits(shape: _Shape, known: str) -> bool:
    """Say whether a shape agrees with the known digits as far as both go."""
    return all(digits >> int(digit) & 1 for digits, digit in zip(shape, known, strict=False))


def expand(source: str) -> tuple[_Shape, ...] | None:
    """Return every shape that an expression matches, or None for what is not understood."""
    try:
        shapes, end = _alternatives(source, 0)
    except _NotUnderstoodError:
        return None
    return tuple(shapes) if end == len(source) else None


class _NotUnderstoodError(Exception):
    """The expression uses something that the metadata did not use when this was written."""


def _alternatives(source: str, at: int) -> tuple[list[_Shape], int]:
    """Read ``a|b|c`` up to a closing bracket or the end."""
    shapes, at = _sequence(source, at)
    while at < len(source) and source[at] == "|":
        more, at = _sequence(source, at + 1)
        shapes = shapes + more
    return list(dict.fromkeys(shapes)), at


def _sequence(source: str, at: int) -> tuple[list[_Shape], int]:
    """Read items one after the other, each with its repetition."""
    shapes: list[_Shape] = [()]
    while at < len(source) and source[at] not in "|)":
        item, at = _item(source, at)
        low, high, at = _repetition(source, at)
        repeated: list[_Shape] = [()]
        choices: list[_Shape] = [()] if low == 0 else []
        for count in range(1, high + 1):
            repeated = _joined(repeated, item)
            if count >= low:
                choices += repeated
        shapes = _joined(shapes, choices)
    return shapes, at


def _joined(heads: list[_Shape], tails: list[_Shape]) -> list[_Shape]:
    """Return every head followed by every tail."""
    if len(heads) * len(tails) > _SHAPES_MAX:
        raise _NotUnderstoodError
    return list(dict.fromkeys(head + tail for head in heads for tail in tails))


def _item(source: str, at: int) -> tuple[list[_Shape], int]:
    r"""Read one digit, ``\d``, ``[...]``, ``(...)`` or ``$``."""
    if source[at].isdecimal():
        return [(1 << int(source[at]),)], at + 1
    if source.startswith(r"\d", at):
        return [(_ANY,)], at + 2
    if source[at] == "[":
        end = source.find("]", at)
        return [(_digit_set(source[at + 1 : end]),)], end + 1
    if source[at] == "(":
        at += 3 if source.startswith("(?:", at) else 1
        shapes, at = _alternatives(source, at)
        if not source.startswith(")", at):
            raise _NotUnderstoodError
        return shapes, at + 1
    if source[at] == "$":
        return [()], at + 1
    raise _NotUnderstoodError


def _digit_set(inside: str) -> int:
    """Read the inside of ``[...]``: digits and ranges of digits."""
    if not re.fullmatch(r"(?:\d(?:-\d)?)+", inside):
        raise _NotUnderstoodError
    digits = 0
    for first, last in re.findall(r"(\d)(?:-(\d))?", inside):
        for digit in range(int(first), int(last or first) + 1):
            digits |= 1 << digit
    return digits


def _repetition(source: str, at: int) -> tuple[int, int, int]:
    """Read ``?``, ``{m}`` or ``{m,n}`` and return least, most and where reading goes on."""
    if source.startswith("?", at):
        return 0, 1, at + 1
    braces = re.compile(r"\{(\d+)(?:,(\d+))?\}").match(source, at)
    if braces is None:
        return 1, 1, at
    low = int(braces[1])
    return low, int(braces[2] or low), braces.end()
