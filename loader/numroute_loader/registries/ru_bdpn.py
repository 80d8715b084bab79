"""BDPN, the Russian database of ported numbers: its dumps, increments and delivery.

The readers know none of this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from numroute.model import LineType
from numroute_loader.reading.csv_stream import header_of
from numroute_loader.reading.description import (
    FeedLayout,
    FileKind,
    IncrementChain,
    NumberFormat,
    ParsedFile,
    RecordLayout,
    Role,
    TextColumn,
)
from numroute_loader.reading.record_files import (
    read_increment,
    read_operator_table,
    read_ported_dump,
    read_range_file,
)

REGISTRY = "ru-bdpn"

LIMITS = "ru_limits.toml"
"""The table of the gate's limits for this registry."""

DAY = timedelta(days=1)
"""Full dumps, operators and plan appear at every midnight, with the next sequence."""

MOSCOW = timedelta(hours=3)
"""File names state Moscow time, which has been UTC+3 without a summer time since 2014."""

_NUMBER = NumberFormat(
    country_code="7",
    digits=10,
    lowest=9_000_000_000,
    highest=9_999_999_999,
    shape="ten digits, the first of them 9",
)

# Only mobile numbers are ported: no dump will name one of Russia's other blocks.
_COVERS = tuple((block * 10**9, (block + 1) * 10**9 - 1) for block in (73, 74, 78, 79))

_DAY_ZERO = datetime(2013, 11, 20, tzinfo=UTC) - MOSCOW
"""Windows are counted from here, and full dumps by days (Port_All_Full has its own counter)."""

_WINDOW = timedelta(hours=2)


# Codes are compared as they are: mTELE2 and MTELE2 would be two operators.
_code = partial(
    TextColumn,
    pattern=re.compile(rb"m[A-Za-z0-9]{1,50}"),
    shape="m followed by 1 to 50 letters and digits",
)
_two_digits = partial(TextColumn, pattern=re.compile(rb"[0-9]{2}"), shape="two digits")
# Any short word is let through: a route of another shape than D + region + MNC is worth a warning.
_route = partial(TextColumn, pattern=re.compile(rb"[!-~]{0,32}"), shape="a short word of ASCII")
_text = partial(TextColumn, pattern=re.compile(rb".*", re.DOTALL), shape="a text")
_COUNT = TextColumn("RowCount", pattern=re.compile(rb"[0-9]*"), shape="a whole number")

_layout = partial(
    RecordLayout, number_format=_NUMBER, row_count="RowCount", line_type=LineType.MOBILE
)
_REGION = _two_digits("RegionCode", "region_code")
_RANGE_HOLDER = _code("RangeHolderId", optional=True)
_DONOR = _code("DonorId", optional=True)
_ROUTE_OF_DUMP = (
    _code("OwnerId", "operator_code"),
    _two_digits("MNC", "registry_mnc"),
    _route("Route", "routing_number"),
    _REGION,
)

PORT_ALL = _layout(number="Number", routes=_ROUTE_OF_DUMP, time="PortDate")
PORT_ALL_FULL = replace(PORT_ALL, donor=_DONOR, range_holder=_RANGE_HOLDER)

PORT_INCREMENT = _layout(
    order_id="NPId",
    number="Number",
    routes=(
        _code("RecipientId", "operator_code"),
        _two_digits("NewMNC", "registry_mnc"),
        _route("NewRoute", "routing_number"),
        _REGION,
    ),
    donor=_DONOR,
    range_holder=_RANGE_HOLDER,
    others=(_route("OldRoute"), _two_digits("OldMNC", optional=True)),
    time="PortDate",
)

# OwnerId is the operator that loses the number; after every row it is back with its range holder.
RETURN_INCREMENT = _layout(
    order_id="NPId",
    number="Number",
    range_holder=_RANGE_HOLDER,
    others=(
        _code("OwnerId"),
        _two_digits("RangeHolderMNC", optional=True),
        _route("OldRoute"),
        _route("NewRoute"),
        _two_digits("RegionCode", optional=True),
    ),
    time="PortDate",
)

NUMBERING_PLAN = _layout(
    number="NumberFrom",
    last="NumberTo",
    routes=(_code("OwnerId", "operator_code"), _REGION, _two_digits("MNC", "registry_mnc")),
)

# One reader of 2017 met windows-1251 in the simplified tier.
_ENCODINGS = ("utf-8", "cp1251")

PORT_ALL_NEW = _layout(
    number="Number",
    routes=(
        TextColumn(
            "OrgName",
            "operator_name",
            pattern=re.compile(rb" *[^\x00-\x20][^\x00-\x1f]*"),
            shape="a name without control characters",
        ),
    ),
    others=(_COUNT,),
    free_text="OrgName",
    encodings=_ENCODINGS,
)

OPERATORS = RecordLayout(
    routes=(
        _code("OrgCode", "operator_code"),
        _two_digits("MNC", "registry_mnc"),
        _text("TIN", "tax_number"),
        _text("OrgName", "operator_name"),
    ),
    others=(_COUNT,),
    row_count="RowCount",
    free_text="OrgName",
    encodings=_ENCODINGS,
    # The tax number (ИНН) has ten digits for a company and twelve for a person.
    tax_number_shape="[0-9]{10}(?:[0-9]{2})?",
)


def _kind(
    name: str,
    file_type: str,
    layout: RecordLayout,
    read: Callable[..., ParsedFile],
    *,
    without: Sequence[str] = (),
    every: timedelta | None = DAY,
) -> FileKind:
    """Describe the files ``<file_type>_YYYYMMDDhhmm_<sequence>``, in any case.

    The header must have all columns of the layout and none of ``without``.
    """
    return FileKind(
        name=f"{REGISTRY}/{name}",
        registry=REGISTRY,
        file_name=re.compile(
            rf"{file_type}_(?P<time>[0-9]{{12}})_(?P<sequence>[0-9]{{1,9}})",
            re.IGNORECASE | re.ASCII,
        ),
        header=lambda head: layout.matches(header_of(head), without),
        expects=f"the columns {','.join(layout.columns)}",
        read=partial(read, layout=layout),
        utc_offset=MOSCOW,
        every=every,
        covers=_COVERS,
        number_format=_NUMBER,
    )


_PORT_ALL = _kind(
    "port-all",
    "Port_All",
    PORT_ALL,
    read_ported_dump,
    without=("NPId", "DonorId", "RangeHolderId"),
)
_PORT_ALL_FULL = _kind("port-all-full", "Port_All_Full", PORT_ALL_FULL, read_ported_dump)
_OPERATORS = _kind("operators", "Operators", OPERATORS, read_operator_table)
_PLAN = _kind("numbering-plan", "Numbering_plan", NUMBERING_PLAN, read_range_file)
_INCREMENTS = (
    _kind("port-increment", "Port_Increment", PORT_INCREMENT, read_increment, every=None),
    _kind(
        "return-increment",
        "Return_Increment",
        RETURN_INCREMENT,
        read_increment,
        without=("RecipientId",),
        every=None,
    ),
)

KINDS = (
    _PORT_ALL,
    _PORT_ALL_FULL,
    _kind("port-all-new", "Port_All_New", PORT_ALL_NEW, read_ported_dump),
    _OPERATORS,
    _PLAN,
    *_INCREMENTS,
)
"""The kinds of file that are read."""


def _after_daily_dump(sequence: int | None, time: datetime | None) -> int | None:
    """Return the first window after a dump whose sequence counts days."""
    return _after_dump(None, time) if sequence is None else (DAY // _WINDOW) * sequence + 1


def _after_dump(_: int | None, time: datetime | None) -> int | None:
    """Return the first window after a dump of this time."""
    return None if time is None else (time - _DAY_ZERO) // _WINDOW + 1


CHAINS = (
    IncrementChain(
        kinds=tuple(kind.name for kind in _INCREMENTS),
        file_types=("Port_Increment", "Return_Increment"),
        bases={
            _PORT_ALL.name: _after_daily_dump,
            _PORT_ALL_FULL.name: _after_dump,
        },
        window_time=lambda sequence: _DAY_ZERO + sequence * _WINDOW,
    ),
)
"""How increments follow on full dumps; those of the simplified tier are not read."""

UNREAD = {
    re.compile(r"(?:Port|Return)_Increment_New.*", re.IGNORECASE): "an increment of the simplified "
    "tier, which states no times: its rows have no order",
}
"""Why files of these names are refused: their headers are those of full dumps."""

FEED = FeedLayout(
    registry=REGISTRY,
    root="/numlex",
    folders=(
        "Port_All_Full",
        "Port_All",
        "Operators",
        "Numbering_Plan",
        "Port_Increment",
        "Return_Increment",
    ),
    kinds={
        Role.DUMP: (_PORT_ALL_FULL, _PORT_ALL),
        Role.COMPANION: (_OPERATORS, _PLAN),
        Role.WINDOW: _INCREMENTS,
    },
    dump_every=DAY,
    window_every=_WINDOW,
)
"""The simplified tier is left out: it has no increments that can be applied."""
