"""Human formats to whole E.164 numbers, one at a time and a column at a time.

All ways answer alike: ``column.parse_column`` and ``rows.parse_rows`` give for every row what
``parse`` gives for its text. What a text means follows the library ``phonenumbers`` with four
differences, each on the side of not guessing:

- Every Unicode space, dash and decimal digit is understood, and invisible marks are ignored.
- A number is valid when its country code is known and its length is possible for a whole number.
  A subscriber number without its area code is TOO_SHORT (the library calls it possible).
- A whole number has at most 15 digits (ITU-T E.164), also where a country's plan allows more.
- Without a default region, a text without ``+`` is read as a whole number (the way machines write
  it) only when it cannot well be anything else; see ``numroute.e164.decide``.

Whether a valid number is allocated is for the numbering plan to say, not for this package.
"""

from __future__ import annotations

from numroute.e164.parse import TEXT_CHARS_MAX, Parsed, parse

__all__ = ["TEXT_CHARS_MAX", "Parsed", "parse"]
