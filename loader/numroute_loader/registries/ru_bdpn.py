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
    NamedLayout,
    NumberFormat,
    OperatorLayout,
    ParsedFile,
    RecordLayout,
    Role,
    TextColumn,
    UnreadKind,
)
from numroute_loader.reading.operator_table import read_operator_table
from numroute_loader.reading.record_files import (
    read_increment,
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

# Codes are compared as they are: mTELE2 and MTELE2 would be two operators.
_CODE = re.compile(rb"m[A-Za-z0-9]{1,50}")
_CODE_OR_NONE = re.compile(rb"(?:m[A-Za-z0-9]{1,50})?")
_TWO_DIGITS = re.compile(rb"[0-9]{2}")
_TWO_DIGITS_OR_NONE = re.compile(rb"(?:[0-9]{2})?")
# Any short word is let through: a route of another shape than D + region + MNC is worth a warning.
_ROUTE = re.compile(rb"[!-~]{0,32}")
_CODE_SHAPE = "m followed by 1 to 50 letters and digits"

# The tax number (ИНН) has ten digits for a company and twelve for a person.
_TAX_NUMBER = re.compile(r"[0-9]{10}(?:[0-9]{2})?")

# One reader of 2017 met windows-1251 in the simplified tier.
_ENCODINGS = ("utf-8", "cp1251")

_DAY_ZERO = datetime(2013, 11, 20, tzinfo=UTC) - MOSCOW
"""Windows are counted from here, and full dumps by days (Port_All_Full has its own counter)."""

_WINDOW = timedelta(hours=2)
_WINDOWS_A_DAY = DAY // _WINDOW


def _code(name: str, field: str = "", *, optional: bool = False) -> TextColumn:
    pattern = _CODE_OR_NONE if optional else _CODE
    return TextColumn(name=name, pattern=pattern, shape=_CODE_SHAPE, field=field)


def _two_digits(name: str, field: str = "", *, optional: bool = False) -> TextColumn:
    pattern = _TWO_DIGITS_OR_NONE if optional else _TWO_DIGITS
    return TextColumn(name=name, pattern=pattern, shape="two digits", field=field)


def _route(name: str, field: str = "") -> TextColumn:
    return TextColumn(name=name, pattern=_ROUTE, shape="a short word of ASCII", field=field)


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

PORT_ALL = _layout(
    number="Number",
    routes=_ROUTE_OF_DUMP,
    time="PortDate",
)

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

PORT_ALL_NEW = NamedLayout(
    number="Number",
    number_format=_NUMBER,
    operator_name="OrgName",
    row_count="RowCount",
    line_type=LineType.MOBILE,
    encodings=_ENCODINGS,
)

OPERATORS = OperatorLayout(
    code=_code("OrgCode"),
    mnc=_two_digits("MNC"),
    tax_number="TIN",
    tax_number_shape=_TAX_NUMBER,
    name="OrgName",
    row_count="RowCount",
    encodings=_ENCODINGS,
)


def _kind(
    name: str,
    file_type: str,
    layout: RecordLayout | NamedLayout | OperatorLayout,
    read: Callable[..., ParsedFile],
    *,
    without: Sequence[str] = (),
    daily: bool = True,
) -> FileKind:
    """Describe the files ``<file_type>_YYYYMMDDhhmm_<sequence>``, in any case.

    The header must have all columns of the layout in any order, and none of ``without``; where
    names are free text it must be exactly these columns.
    """
    columns = layout.columns

    def header(head: bytes) -> bool:
        found = header_of(head)
        if not isinstance(layout, RecordLayout):
            return found == columns
        return set(found).issuperset(columns) and set(found).isdisjoint(without)

    return FileKind(
        name=f"{REGISTRY}/{name}",
        registry=REGISTRY,
        file_name=re.compile(
            rf"{file_type}_(?P<time>[0-9]{{12}})_(?P<sequence>[0-9]{{1,9}})",
            re.IGNORECASE | re.ASCII,
        ),
        header=header,
        expects=f"the columns {','.join(columns)}",
        read=partial(read, layout=layout),
        utc_offset=MOSCOW,
        every=DAY if daily else None,
        covers=_COVERS,
        number_format=_NUMBER,
    )


_increment = partial(_kind, daily=False)

KINDS = (
    _kind(
        "port-all",
        "Port_All",
        PORT_ALL,
        read_ported_dump,
        without=("NPId", "DonorId", "RangeHolderId"),
    ),
    _kind(
        "port-all-full",
        "Port_All_Full",
        PORT_ALL_FULL,
        read_ported_dump,
    ),
    _kind("port-all-new", "Port_All_New", PORT_ALL_NEW, read_ported_dump),
    _kind("operators", "Operators", OPERATORS, read_operator_table),
    _kind("numbering-plan", "Numbering_plan", NUMBERING_PLAN, read_range_file),
    _increment("port-increment", "Port_Increment", PORT_INCREMENT, read_increment),
    _increment(
        "return-increment",
        "Return_Increment",
        RETURN_INCREMENT,
        read_increment,
        without=("RecipientId",),
    ),
)
"""The kinds of file that are read."""


def _after_daily_dump(sequence: int | None, time: datetime | None) -> int | None:
    """Return the first window after a dump whose sequence counts days."""
    return _after_dump(None, time) if sequence is None else _WINDOWS_A_DAY * sequence + 1


def _after_dump(_: int | None, time: datetime | None) -> int | None:
    """Return the first window after a dump of this time."""
    return None if time is None else (time - _DAY_ZERO) // _WINDOW + 1


def _window_time(sequence: int) -> datetime:
    return _DAY_ZERO + sequence * _WINDOW


CHAINS = (
    IncrementChain(
        kinds=(f"{REGISTRY}/port-increment", f"{REGISTRY}/return-increment"),
        file_types=("Port_Increment", "Return_Increment"),
        bases={
            f"{REGISTRY}/port-all": _after_daily_dump,
            f"{REGISTRY}/port-all-full": _after_dump,
        },
        window_time=_window_time,
    ),
)
"""How increments follow on full dumps; those of the simplified tier are not read."""

UNREAD = (
    UnreadKind(
        file_name=re.compile(r"(?:Port|Return)_Increment_New.*", re.IGNORECASE),
        reason="an increment of the simplified tier, which states no times: its rows have no order",
        hint="Build the next full dump, or apply Port_Increment and Return_Increment",
    ),
    UnreadKind(
        file_name=re.compile(r"(?:Port|Return)_Increment.*", re.IGNORECASE),
        reason="named as an increment, but without the time and the sequence of one",
        hint="Restore the name that the registry gave it, like "
        "Port_Increment_202608231400_55974.zip",
    ),
)
"""Files that the beginning of their name identifies, and that cannot be read."""


def _named(*names: str) -> tuple[FileKind, ...]:
    return tuple(kind for name in names for kind in KINDS if kind.name == f"{REGISTRY}/{name}")


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
        Role.DUMP: _named("port-all-full", "port-all"),
        Role.COMPANION: _named("operators", "numbering-plan"),
        Role.WINDOW: _named("port-increment", "return-increment"),
    },
    dump_every=timedelta(days=1),
    window_every=timedelta(hours=2),
)
"""The simplified tier is left out: it has no increments that can be applied."""
