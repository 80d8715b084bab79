"""A TOML file that knows the line of every key, so that each complaint names one.

The standard library's parser decides what the file says; it does not tell where. Lines are found
beside it: a table's header or a key begins a line, and the key's value ends where the parser is
satisfied.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from numroute.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    Keys = tuple[str | int, ...]

DOCUMENT_BYTES_MAX: Final = 2**20

_AT_LINE: Final = re.compile(r"^(.*) \(at line (\d+), column (\d+)\)$", re.DOTALL)


class Document:
    """A parsed file. Paths of keys are tuples: ``("rule", 0, "brand")``."""

    def __init__(self, path: Path) -> None:
        """Read and parse the file.

        Raises:
            InputError: It cannot be read or is not TOML; names the line.
        """
        self.path = path
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise InputError(
                path, f"cannot be read: {error.strerror}", hint="Check the path and who may read it"
            ) from None
        if len(raw) > DOCUMENT_BYTES_MAX:
            raise InputError(path, f"longer than {DOCUMENT_BYTES_MAX} bytes")
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            raise InputError(path, "not UTF-8", line=line, hint="Save it as UTF-8") from None
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            match = _AT_LINE.match(str(error))
            reason = match[1] if match else str(error)
            line = int(match[2]) if match else text.count("\n") + 1
            raise InputError(
                path, f"not TOML: {reason}", line=line, hint="See docs/CAMPAIGN.md"
            ) from None
        self._lines = _key_lines(text)

    def line(self, keys: Keys) -> int:
        """Return the line, from 1, of a key, or of the nearest one that it belongs to."""
        while keys and keys not in self._lines:
            keys = keys[:-1]
        return self._lines.get(keys, 1)

    def error(self, keys: Keys, reason: str, *, hint: str = "") -> InputError:
        """Return the error to raise about a key."""
        return InputError(self.path, reason, line=self.line(keys), hint=hint)

    def refuse_unknown(self, keys: Keys, table: dict[str, Any], known: Collection[str]) -> None:
        """Raise InputError for a key of the table that is not known, with what may be meant."""
        for key in table:
            if key not in known:
                raise self.error(
                    (*keys, key), f"there is no key {key!r} here", hint=did_you_mean(key, known)
                )

    def table(self, keys: Keys, value: object) -> dict[str, Any]:
        """Return a value that must be a table."""
        if not isinstance(value, dict):
            raise self.error(keys, f"{keys[-1]} must be a table")
        return value

    def text(self, keys: Keys, value: object) -> str:
        """Return a value that must be a text with something in it."""
        if not isinstance(value, str) or not value.strip():
            raise self.error(keys, f"{keys[-1]} must be a text in quotes")
        return value

    def texts(self, keys: Keys, value: object) -> tuple[str, ...]:
        """Return a value that must be a text or a list of them."""
        if isinstance(value, list) and value:
            return tuple(self.text(keys, each) for each in value)
        return (self.text(keys, value),)


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return the hint for a misspelt word: the closest known one, or all of them."""
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    if close:
        return f"Did you mean {folded[close[0]]!r}?"
    return f"Known are {', '.join(sorted(known)[:20])}"


def _key_lines(text: str) -> dict[Keys, int]:
    """Return the line of each key of a text that is TOML."""
    found: dict[Keys, int] = {}
    arrays: Counter[Keys] = Counter()
    prefix: Keys = ()
    # TOML's line end is LF, with or without CR; str.splitlines knows a dozen others.
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if not line or line.startswith("#"):
            at += 1
        elif line.startswith("["):
            is_array = line.startswith("[[")
            prefix = _header(line, arrays, is_array=is_array)
            found.setdefault(prefix, at + 1)
            at += 1
        else:
            end = at + 1
            while (parsed := _parsed("\n".join(lines[at:end]))) is None and end < len(lines):
                end += 1
            for keys in _paths(parsed or {}):
                found.setdefault((*prefix, *keys), at + 1)
            at = end
    return found


def _header(line: str, arrays: Counter[Keys], *, is_array: bool) -> Keys:
    """Return the path of a table's header; a table of an array belongs to its last element."""
    names: list[str] = []
    table: Any = tomllib.loads(line)
    while isinstance(table, dict | list) and table:
        table = table[0] if isinstance(table, list) else table
        if not table:
            break
        (name,) = table
        names.append(name)
        table = table[name]
    keys: Keys = ()
    for i, name in enumerate(names):
        keys = (*keys, name)
        if is_array and i == len(names) - 1:
            arrays[keys] += 1
        if arrays[keys]:
            keys = (*keys, arrays[keys] - 1)
    return keys


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _paths(table: dict[str, Any]) -> list[Keys]:
    """Return the paths of all keys of a table, tables within it included."""
    found: list[Keys] = []
    for key, value in table.items():
        found.append((key,))
        if isinstance(value, dict):
            found += [(key, *rest) for rest in _paths(value)]
    return found
