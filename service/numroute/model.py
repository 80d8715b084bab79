"""The words of an answer, shared by the index, the service and the client.

Plain frozen values without any dependency. Their field names are the wire contract's field names
and the names that ``--json`` prints.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

E164_DIGITS_MAX = 15
"""A whole E.164 number has at most 15 digits (ITU-T E.164, 6.2.1)."""

NUMBER_MAX = 10**E164_DIGITS_MAX - 1
"""The largest whole E.164 number as an integer."""


class Status(enum.IntEnum):
    """What the registry says of a number. The values are those of ``numroute.v1.Status``."""

    PORTED = 1
    NOT_PORTED = 2
    UNALLOCATED = 3
    INVALID = 4


class LineType(enum.IntEnum):
    """What kind of line a range serves. The values are those of ``numroute.v1.LineType``."""

    UNSPECIFIED = 0
    MOBILE = 1
    FIXED = 2
    TOLL_FREE = 3
    SERVICE = 4


class InvalidReason(enum.IntEnum):
    """Why a text is not a number. The values are those of ``numroute.v1.InvalidReason``."""

    UNSPECIFIED = 0
    NOT_A_NUMBER = 1
    TOO_SHORT = 2
    TOO_LONG = 3
    UNKNOWN_COUNTRY = 4
    NO_DEFAULT_REGION = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """An operator as the registry and the numbering plan name it.

    ``code`` is the registry's own code; where only the numbering plan names the operator, its tax
    number; empty where neither is known.
    """

    code: str = ""
    name: str = ""
    brand: str = ""
    tax_number: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A region: the registry's code where it gives one, and the name as the source spells it."""

    code: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a message to a number must go.

    ``mcc`` and ``mnc`` are the message router's choice from the brand table; ``registry_mnc`` is
    what the registry itself wrote (text: leading zeros are significant). ``overridden``: somebody
    set this route by hand, against or beside what the registry says; ``status`` stays the
    registry's, except that a number that nobody holds counts as ``NOT_PORTED``.
    """

    status: Status
    operator: Operator = field(default_factory=Operator)
    mcc: str = ""
    mnc: str = ""
    registry_mnc: str = ""
    routing_number: str = ""
    region: Region = field(default_factory=Region)
    line_type: LineType = LineType.UNSPECIFIED
    overridden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRef:
    """Which snapshot answered, and how old its truth is."""

    id: str
    as_of: datetime
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one text.

    ``number`` is the whole E.164 number, 0 when the status is INVALID. ``route`` is None when the
    status is UNALLOCATED or INVALID, ``ported_at`` (aware, UTC) when the number is not ported or
    the time is not known, ``range_holder`` when nobody holds the range.
    """

    input: str
    number: int
    status: Status
    snapshot: SnapshotRef
    invalid_reason: InvalidReason = InvalidReason.UNSPECIFIED
    route: Route | None = None
    ported_at: datetime | None = None
    range_holder: Operator | None = None


def mask_number(number: int | str) -> str:
    """Return a number fit for a log line: the first four digits, then one ``*`` per digit.

    Subscriber data never appears in full in a log, a metric, an error or an exception.
    """
    text = str(number)
    return text[:4] + "*" * max(0, len(text) - 4)


_DIGITS = re.compile(r"\d{7,}")
"""As many digits as a phone number may have without its area code."""


def mask_digits(text: str) -> str:
    """Return a text fit for an error: numbers that stand where none belongs are masked."""
    return _DIGITS.sub(lambda digits: mask_number(digits[0]), text)
