"""The words of a campaign: values of options, reasons of rejects, phrases of reports.

Apart from the code that obeys them, so that ``--help`` imports little.
"""

from __future__ import annotations

import enum
from typing import Final, Self

from numroute.model import InvalidReason

FORMS: Final = ("csv", "parquet", "arrow", "xlsx")
"""Forms of output files."""

LANGUAGES: Final = ("en", "ru")
"""Languages of the report page."""

CATEGORIES: Final = ("advertising", "transactional", "service", "authorisation")
"""Traffic categories that operators price apart."""

SEGMENTS_MAX: Final = 255
"""A concatenated short message has at most this many segments (3GPP TS 23.040, 9.2.3.24.1)."""

REJECTS_MAX: Final = 0.1
"""More rejected rows than one in ten are a list that was not understood."""

PSEUDONYM: Final = "pseudonym"
"""The column of pseudonyms in the files that leave and in the map."""


class Several(enum.Enum):
    """What to do with a cell that holds several numbers."""

    FIRST = "first"
    ALL = "all"
    REJECT = "reject"


class Reject(enum.IntEnum):
    """Why a row is rejected; the first values are those of ``InvalidReason``."""

    NONE = 0
    NOT_A_NUMBER = InvalidReason.NOT_A_NUMBER
    TOO_SHORT = InvalidReason.TOO_SHORT
    TOO_LONG = InvalidReason.TOO_LONG
    UNKNOWN_COUNTRY = InvalidReason.UNKNOWN_COUNTRY
    NO_DEFAULT_REGION = InvalidReason.NO_DEFAULT_REGION
    EMPTY = 16
    RAGGED_ROW = 17
    BROKEN_QUOTES = 18
    SHORTENED = 19
    SEVERAL_NUMBERS = 20
    TOTAL_ROW = 21
    HEADER_ROW = 22
    DUPLICATE = 32
    SUPPRESSED = 33
    UNALLOCATED = 48
    FOREIGN = 49
    EXCLUDED = 50
    NO_RULE = 51
    NO_TIME_ZONE = 52
    NOT_COVERED = 53


MEANINGS = {
    Reject.NOT_A_NUMBER: "not a phone number",
    Reject.TOO_SHORT: "too few digits",
    Reject.TOO_LONG: "too many digits",
    Reject.UNKNOWN_COUNTRY: "unassigned country code",
    Reject.NO_DEFAULT_REGION: "a national format, but no default country was given",
    Reject.EMPTY: "the phone cell is empty",
    Reject.RAGGED_ROW: "more or fewer cells than the header",
    Reject.BROKEN_QUOTES: "an unclosed quote",
    Reject.SHORTENED: "a spreadsheet has shortened the number (7.9E+10): its digits are lost",
    Reject.SEVERAL_NUMBERS: "the cell holds several numbers",
    Reject.TOTAL_ROW: "a row of totals",
    Reject.HEADER_ROW: "the header again",
    Reject.DUPLICATE: "the number is in an earlier row",
    Reject.SUPPRESSED: "on the do-not-send list",
    Reject.UNALLOCATED: "no operator holds the number",
    Reject.NOT_COVERED: "no numbering plan of the snapshot covers the number",
    Reject.FOREIGN: "a number of another country",
    Reject.EXCLUDED: "excluded by a policy rule",
    Reject.NO_RULE: "no policy rule matches",
    Reject.NO_TIME_ZONE: "the route has a send window, but the region's time zone is unknown",
}
"""A phrase for each reason, for reports."""

NOBODY: Final = (Reject.TOTAL_ROW, Reject.HEADER_ROW)
"""Reasons of rows that are nobody's: no person is missed with them."""


class Phrase(str):
    """An English phrase that remembers its parts, so that the report can say it in its language.

    ``template`` has ``{}`` in the place of each value; values may be phrases.
    """

    __slots__ = ("template", "values")
    template: str
    values: tuple[str, ...]

    def __new__(cls, template: str, *values: str) -> Self:
        """Fill a template."""
        phrase = super().__new__(cls, template.format(*values))
        phrase.template, phrase.values = template, values
        return phrase
