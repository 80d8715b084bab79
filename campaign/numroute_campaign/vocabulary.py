"""The words of a campaign: values of options, reasons of rejects, phrases of reports.

Apart from the code that obeys them, so that ``--help`` imports little.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Self

from numroute.model import InvalidReason, Status

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision about the numbers of one route.

    Attributes:
        destination: The output route's name; empty if they are rejected.
        reject: Why they are rejected.
        rule: The name of the rule that decided.
        send_from: UTC time of day, ``HH:MM``, from which sending is allowed; empty = any time.
        send_until: UTC time of day at which sending ends.
        group: The name of the output files, if they are not named for the route.
    """

    destination: str = ""
    reject: Reject = Reject.NONE
    rule: str = ""
    send_from: str = ""
    send_until: str = ""
    group: str = ""


def without_route(status: Status) -> Reject:
    """Return why numbers of a status without a route are rejected."""
    return Reject.NOT_COVERED if status is Status.NOT_COVERED else Reject.UNALLOCATED


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

    def __getnewargs__(self) -> tuple[str, ...]:  # type: ignore[override] # more than a text
        """Return what copies are made of: a value may have braces."""
        return (self.template, *self.values)
