"""The words of an answer, shared by the index, the service and the client.

Plain frozen values without any dependency. Their field names are the wire contract's field names
and the names that ``--json`` prints.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

E164_DIGITS_MAX = 15
"""A whole E.164 number has at most 15 digits (ITU-T E.164, 6.2.1)."""

NUMBER_MAX = 10**E164_DIGITS_MAX - 1
"""The largest whole E.164 number as an integer."""


class _Named(enum.IntEnum):
    """An integer on the wire, printed by its name."""

    def __str__(self) -> str:
        return self.name


class Status(_Named):
    """What the registry says of a number. The values are those of ``numroute.v1.Status``."""

    PORTED = 1
    NOT_PORTED = 2
    UNALLOCATED = 3
    INVALID = 4
    NOT_COVERED = 5
    RANGE_ONLY = 6

    @property
    def has_route(self) -> bool:
        """Whether an answer with this status has a route."""
        return self in {Status.PORTED, Status.NOT_PORTED, Status.RANGE_ONLY}


class LineType(_Named):
    """What kind of line a range serves. The values are those of ``numroute.v1.LineType``."""

    UNSPECIFIED = 0
    MOBILE = 1
    FIXED = 2
    TOLL_FREE = 3
    SERVICE = 4


class InvalidReason(_Named):
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
    status has none (``Status.has_route``), ``ported_at`` (aware, UTC) when the number is not
    ported or the time is not known, ``range_holder`` when nobody holds the range.
    """

    input: str
    number: int
    status: Status
    snapshot: SnapshotRef
    invalid_reason: InvalidReason = InvalidReason.UNSPECIFIED
    route: Route | None = None
    ported_at: datetime | None = None
    range_holder: Operator | None = None


class NumberAnswer(NamedTuple):
    """The answer to one whole E.164 number; a tuple, because thousands are made at once.

    ``route`` is None when the status has none. ``ported_at`` (aware, UTC) is None
    when the number is not ported or the time is not known, ``range_holder`` when nobody holds the
    range; both also when they were not asked for.
    """

    number: int
    status: Status
    route: Route | None
    snapshot: SnapshotRef
    ported_at: datetime | None = None
    range_holder: Operator | None = None


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Coverage:
    """The numbers from ``first`` to ``last``, which a snapshot's numbering plans describe.

    ``ported``: whether a ported-number registry covers them too.
    """

    first: int
    last: int
    ported: bool

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The beginnings that all of these numbers and no others of their length have."""
        found = []
        number, end = self.first, self.last + 1
        while number < end:
            size = 1
            while number % (size * 10) == 0 and number + size * 10 <= end:
                size *= 10
            found.append(f"+{number // size}")
            number += size
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that a snapshot was built from.

    ``name`` is the file's name without its folder, ``layer`` what it contributed ("ported",
    "increments", "ranges" or "operators"), ``rows`` its data rows, ``sha256`` the digest of
    the file on disk.
    """

    name: str
    registry: str
    kind: str
    layer: str
    sequence: int | None = None
    rows: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How many ported records differ between a snapshot and the one whose id is ``against``.

    ``ported``: records that the other lacks. ``returned``: records that only the other has.
    ``moved``: of another operator. ``updated``: of the same operator with another route.
    """

    against: str
    ported: int = 0
    returned: int = 0
    moved: int = 0
    updated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    """What a service reports about the snapshot that it answers from.

    ``age_seconds`` runs from ``snapshot.as_of`` to the time of the report. ``changes`` is None when
    the snapshot does not record what it changed. Calls of ``BulkLookup`` with more numbers than
    ``preferred_numbers_per_call`` gain nothing.
    """

    snapshot: SnapshotRef
    built_at: datetime
    age_seconds: float
    format_version: int
    sources: tuple[Source, ...]
    counts: Mapping[str, int]
    changes: Changes | None = None
    preferred_numbers_per_call: int = 0
    coverage: tuple[Coverage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotNews:
    """A snapshot that answers from now on.

    ``changes`` is None when the snapshot does not record what it changed. When ``changes.against``
    is not the snapshot of the previous news, others came between, or an older one is current again.
    """

    snapshot: SnapshotRef
    built_at: datetime
    counts: Mapping[str, int]
    changes: Changes | None = None


class Network(NamedTuple):
    """A mobile network as a message router names it."""

    mcc: str
    mnc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorInfo:
    """An operator under one of its brands.

    ``networks`` are those in its routes, in order. It ``serves_ported_numbers``
    if a ported number has one of its routes, and ``holds_ranges`` if it holds one.
    """

    operator: Operator
    networks: tuple[Network, ...]
    serves_ported_numbers: bool
    holds_ranges: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one layer of a snapshot says about a number; ``route`` is None when it says nothing.

    ``name`` is "override", "ported record" or "range". ``sources`` are the files that the layer was
    built from. ``first`` and ``last`` bound the range; ``last`` is None when it has no end.
    ``ported_at`` and ``donor`` belong to a ported record; ``reason``, ``author`` and ``expires``
    (None: never) to an override, which decides unless it has expired.
    """

    name: str
    decides: bool
    route: Route | None = None
    sources: tuple[Source, ...] = ()
    first: int | None = None
    last: int | None = None
    ported_at: datetime | None = None
    donor: Operator | None = None
    reason: str = ""
    author: str = ""
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a number is answered as it is: which layer decided, and what each layer says.

    ``decided_by`` is the name of the deciding layer, "nothing" when no layer knows the number.
    ``layers`` are in the order in which they are consulted. ``input`` is the text that was
    explained, ``snapshot`` what it was explained from; the index itself leaves both empty.
    """

    number: int
    status: Status
    decided_by: str
    route: Route | None = None
    layers: tuple[Layer, ...] = ()
    input: str = ""
    invalid_reason: InvalidReason = InvalidReason.UNSPECIFIED
    snapshot: SnapshotRef | None = None


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
