"""Human formats to whole E.164 numbers, one at a time and a column at a time.

All ways answer alike: ``parse_column(column)`` and ``parse_rows`` give for every row what ``parse``
gives for its text. What a text means follows the library ``phonenumbers`` with four differences,
each on the side of not guessing:

- Every Unicode space, dash and decimal digit is understood, and invisible marks are ignored.
- A number is valid when its country code is known and its length is possible for a whole number.
  A subscriber number without its area code is TOO_SHORT (the library calls it possible).
- A whole number has at most 15 digits (ITU-T E.164), also where a country's plan allows more.
- Without a default region, a text without ``+`` is read as a whole number (the way machines write
  it) only when it cannot well be anything else; see ``numroute.e164.decide``.

Whether a valid number is allocated is for the numbering plan to say, not for this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from numroute.e164.parse import TEXT_CHARS_MAX, Parsed, parse

if TYPE_CHECKING:
    from numroute.e164.column import parse_column
    from numroute.e164.rows import ParsedColumn, parse_rows, parse_texts

__all__ = [
    "TEXT_CHARS_MAX",
    "Parsed",
    "ParsedColumn",
    "parse",
    "parse_column",
    "parse_rows",
    "parse_texts",
]

_LATER = {
    "ParsedColumn": "rows",
    "parse_column": "column",
    "parse_rows": "rows",
    "parse_texts": "rows",
}


def __getattr__(name: str) -> object:
    """Load what needs numpy or pyarrow when it is first asked for."""
    if name in _LATER:
        return getattr(import_module(f"numroute.e164.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
