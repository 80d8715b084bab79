"""The words of a campaign: option values, reject reasons, report phrases.

They stand apart from the code that uses them so that ``--help`` imports little.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

from numroute.model import InvalidReason

FORMS: Final = ("csv", "parquet", "arrow", "xlsx")
"""Forms of output files."""

LANGUAGES: Final = ("en", "ru")
"""Languages of the report page."""

Category = Literal["advertising", "transactional", "service", "authorisation"]
"""A kind of traffic that operators price separately."""

CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)

SEGMENTS_MAX: Final = 255
"""A concatenated short message has at most this many segments (3GPP TS 23.040, 9.2.3.24.1)."""

REJECTS_MAX: Final = 0.1
"""A list with a larger share of rejected rows was probably misread."""

PSEUDONYM: Final = "pseudonym"
"""The column of pseudonyms in the files that leave and in the map."""

SEVERAL: Final = {
    "first": "cells with several numbers: {}; further numbers not taken: {}",
    "all": "cells with several numbers: {}; further numbers taken as rows: {}",
    "reject": "cells with several numbers: {}; their rows were rejected",
}
"""What to do with cells that hold several numbers, and the phrase that says what was done."""


class Reject(enum.IntEnum):
    """Why a row is rejected; the first values are those of ``InvalidReason``.

    ``meaning`` is a phrase for reports.
    """

    meaning: str

    def __new__(cls, value: int, meaning: str = "") -> Self:
        """Make a reason."""
        reason = int.__new__(cls, value)
        reason._value_ = value
        reason.meaning = meaning
        return reason

    NONE = 0
    NOT_A_NUMBER = (InvalidReason.NOT_A_NUMBER, "not a phone number")
    TOO_SHORT = (InvalidReason.TOO_SHORT, "too few digits")
    TOO_LONG = (InvalidReason.TOO_LONG, "too many digits")
    UNKNOWN_COUNTRY = (InvalidReason.UNKNOWN_COUNTRY, "unassigned country code")
    NO_DEFAULT_REGION = (
        InvalidReason.NO_DEFAULT_REGION,
        "a national format, but no default country was given",
    )
    EMPTY = (16, "the phone cell is empty")
    RAGGED_ROW = (17, "more or fewer cells than the header")
    BROKEN_QUOTES = (18, "an unclosed quote")
    SHORTENED = (19, "a spreadsheet has shortened the number (7.9E+10): its digits are lost")
    SEVERAL_NUMBERS = (20, "the cell holds several numbers")
    TOTAL_ROW = (21, "a row of totals")
    HEADER_ROW = (22, "the header again")
    DUPLICATE = (32, "the number is in an earlier row")
    SUPPRESSED = (33, "on the do-not-send list")
    UNALLOCATED = (48, "no operator holds the number")
    FOREIGN = (49, "a number of another country")
    EXCLUDED = (50, "excluded by a policy rule")
    NO_RULE = (51, "no policy rule matches")
    NO_TIME_ZONE = (52, "the route has a send window, but the region's time zone is unknown")
    NOT_COVERED = (53, "no numbering plan of the snapshot covers the number")


NOBODY: Final = (Reject.TOTAL_ROW, Reject.HEADER_ROW)
"""Reasons of rows without a person: rejecting them loses nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision about the numbers of one route.

    Attributes:
        destination: The output route's name; empty if they are rejected.
        rule: The name of the rule that decided.
        send_from: UTC time of day, ``HH:MM``, from which sending is allowed; empty = any time.
        group: The name of the output files, if they are not named for the route.
    """

    destination: str = ""
    reject: Reject = Reject.NONE
    rule: str = ""
    send_from: str = ""
    send_until: str = ""
    group: str = ""

    @property
    def files(self) -> str:
        """The name of the output files; empty if the numbers are rejected."""
        return self.group or self.destination


class Phrase(str):
    """An English phrase that keeps its parts, so that the report can translate it.

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
        """Return what copies are made from: a value may contain braces."""
        return (self.template, *self.values)
