"""Why a row of a list does not leave: one small integer per reason."""

from __future__ import annotations

import enum

from numroute.model import InvalidReason


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
    DUPLICATE = 32
    SUPPRESSED = 33
    UNALLOCATED = 48
    FOREIGN = 49
    EXCLUDED = 50
    NO_RULE = 51
    NO_TIME_ZONE = 52


MEANINGS = {
    Reject.NOT_A_NUMBER: "holds no phone number",
    Reject.TOO_SHORT: "too short for a whole number",
    Reject.TOO_LONG: "too long for a number",
    Reject.UNKNOWN_COUNTRY: "its country code is not assigned",
    Reject.NO_DEFAULT_REGION: "a national format, and no default region is given",
    Reject.EMPTY: "the phone cell is empty",
    Reject.RAGGED_ROW: "more or fewer cells than the header",
    Reject.BROKEN_QUOTES: "a quote that is not closed",
    Reject.DUPLICATE: "the number stood in an earlier row",
    Reject.SUPPRESSED: "on the do-not-send list",
    Reject.UNALLOCATED: "nobody holds the number",
    Reject.FOREIGN: "of another country",
    Reject.EXCLUDED: "excluded by a rule of the policy",
    Reject.NO_RULE: "no rule of the policy matches",
    Reject.NO_TIME_ZONE: "its region's time zone is not known, and the route has a send window",
}
"""What each reason means, for people."""
