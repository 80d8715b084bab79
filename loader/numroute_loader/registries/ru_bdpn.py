"""BDPN, the Russian database of ported numbers: what its dumps look like.

Source of every fact: ``registries.md``, section 1. The readers know none of it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from numroute.model import LineType
from numroute_loader.reading.description import (
    FileKind,
    IncrementChain,
    IncrementLayout,
    NamedLayout,
    NumberFormat,
    OperatorLayout,
    PortedLayout,
    RangeLayout,
    TextColumn,
    UnreadKind,
)
from numroute_loader.reading.diagnose import lines_with
from numroute_loader.reading.dump_file import header_of
from numroute_loader.reading.increment_file import read_increment
from numroute_loader.reading.named_dump import read_named_dump, read_named_increment
from numroute_loader.reading.operator_table import read_operator_table
from numroute_loader.reading.ported_dump import read_ported_dump
from numroute_loader.reading.range_file import read_range_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from numroute_loader.records import RouteKey

REGISTRY = "ru-bdpn"

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

_OPERATOR = TextColumn(name="OwnerId", pattern=_CODE, shape=_CODE_SHAPE)
_MNC = TextColumn(name="MNC", pattern=_TWO_DIGITS, shape="two digits")
_ROUTING_NUMBER = TextColumn(name="Route", pattern=_ROUTE, shape="a short word of ASCII")
_REGION = TextColumn(name="RegionCode", pattern=_TWO_DIGITS, shape="two digits")
_DONOR = TextColumn(name="DonorId", pattern=_CODE_OR_NONE, shape=_CODE_SHAPE)
_RANGE_HOLDER = TextColumn(name="RangeHolderId", pattern=_CODE_OR_NONE, shape=_CODE_SHAPE)


_WINDOW = timedelta(hours=2)
_WINDOWS_A_DAY = timedelta(days=1) // _WINDOW

_DAY_ZERO = datetime(2013, 11, 20, tzinfo=UTC) - MOSCOW
"""Windows are counted from here, and full dumps by days (but Port_All_Full)."""


def _usual_route(key: RouteKey) -> str:
    return f"D{key.region_code}{key.registry_mnc}"


PORT_ALL = PortedLayout(
    number="Number",
    number_format=_NUMBER,
    operator=_OPERATOR,
    mnc=_MNC,
    routing_number=_ROUTING_NUMBER,
    region=_REGION,
    ported_at="PortDate",
    row_count="RowCount",
    line_type=LineType.MOBILE,
    usual_routing_number=_usual_route,
)

PORT_ALL_FULL = PortedLayout(
    number="Number",
    number_format=_NUMBER,
    operator=_OPERATOR,
    mnc=_MNC,
    routing_number=_ROUTING_NUMBER,
    region=_REGION,
    ported_at="PortDate",
    row_count="RowCount",
    line_type=LineType.MOBILE,
    usual_routing_number=_usual_route,
    donor=_DONOR,
    range_holder=_RANGE_HOLDER,
)

PORT_ALL_NEW = NamedLayout(
    number="Number",
    number_format=_NUMBER,
    operator_name="OrgName",
    row_count="RowCount",
    line_type=LineType.MOBILE,
    encodings=_ENCODINGS,
)

PORT_INCREMENT = IncrementLayout(
    order_id="NPId",
    number="Number",
    number_format=_NUMBER,
    route_columns=(
        TextColumn(name="RecipientId", pattern=_CODE, shape=_CODE_SHAPE),
        TextColumn(name="NewMNC", pattern=_TWO_DIGITS, shape="two digits"),
        TextColumn(name="NewRoute", pattern=_ROUTE, shape="a short word of ASCII"),
        _REGION,
    ),
    donor=_DONOR,
    range_holder=_RANGE_HOLDER,
    others=(
        TextColumn(name="OldRoute", pattern=_ROUTE, shape="a short word of ASCII"),
        TextColumn(name="OldMNC", pattern=_TWO_DIGITS_OR_NONE, shape="two digits"),
    ),
    changed_at="PortDate",
    row_count="RowCount",
    line_type=LineType.MOBILE,
    usual_routing_number=_usual_route,
)

# OwnerId is the operator that loses the number; after every row it is back with its range holder.
RETURN_INCREMENT = IncrementLayout(
    order_id="NPId",
    number="Number",
    number_format=_NUMBER,
    range_holder=_RANGE_HOLDER,
    others=(
        _OPERATOR,
        TextColumn(name="RangeHolderMNC", pattern=_TWO_DIGITS_OR_NONE, shape="two digits"),
        TextColumn(name="OldRoute", pattern=_ROUTE, shape="a short word of ASCII"),
        TextColumn(name="NewRoute", pattern=_ROUTE, shape="a short word of ASCII"),
        TextColumn(name="RegionCode", pattern=_TWO_DIGITS_OR_NONE, shape="two digits"),
    ),
    changed_at="PortDate",
    row_count="RowCount",
    line_type=LineType.MOBILE,
)

NUMBERING_PLAN = RangeLayout(
    first="NumberFrom",
    last="NumberTo",
    number_format=_NUMBER,
    operator=_OPERATOR,
    region=_REGION,
    mnc=_MNC,
    row_count="RowCount",
    line_type=LineType.MOBILE,
)

OPERATORS = OperatorLayout(
    code=TextColumn(name="OrgCode", pattern=_CODE, shape=_CODE_SHAPE),
    mnc=_MNC,
    tax_number="TIN",
    tax_number_shape=_TAX_NUMBER,
    name="OrgName",
    row_count="RowCount",
    encodings=_ENCODINGS,
)


def _dated_name(kind: str) -> re.Pattern[str]:
    """Match ``<kind>_YYYYMMDDhhmm_<sequence>``; the registry itself varies the case of the kind."""
    return re.compile(
        rf"{kind}_(?P<time>[0-9]{{12}})_(?P<sequence>[0-9]{{1,9}})", re.IGNORECASE | re.ASCII
    )


def _names(columns: Collection[str], without: Collection[str] = ()) -> Callable[[bytes], bool]:
    """Tell a header that has all of these columns, in any order, and none of those."""

    def test(head: bytes) -> bool:
        found = set(header_of(head))
        return found.issuperset(columns) and found.isdisjoint(without)

    return test


def _is(columns: Sequence[str]) -> Callable[[bytes], bool]:
    """Tell a header that is exactly these columns in this order."""
    return lambda head: header_of(head) == tuple(columns)


def _find(
    *, operator: str | None = None, number: str | None = None
) -> Callable[[Path, str | int], int | None]:
    """Look a code up in the column of operators, a number in the column of numbers."""

    def find(path: Path, wanted: str | int) -> int | None:
        text = wanted if isinstance(wanted, str) else _NUMBER.written(wanted)
        column = operator if isinstance(wanted, str) else number
        lines = lines_with(path, column, text, lines_max=1) if column is not None else []
        return lines[0] if lines else None

    return find


def _columns(columns: Sequence[str]) -> str:
    return f"the columns {','.join(columns)}"


_PORT_INCREMENT = f"{REGISTRY}/port-increment"
_RETURN_INCREMENT = f"{REGISTRY}/return-increment"
_PORT_INCREMENT_NEW = f"{REGISTRY}/port-increment-new"
_RETURN_INCREMENT_NEW = f"{REGISTRY}/return-increment-new"

KINDS = (
    FileKind(
        name=f"{REGISTRY}/port-all",
        registry=REGISTRY,
        file_name=_dated_name("Port_All"),
        header=_names(PORT_ALL.columns, without=("NPId", "DonorId", "RangeHolderId")),
        expects=_columns(PORT_ALL.columns),
        read=partial(read_ported_dump, layout=PORT_ALL),
        read_tolerantly=partial(read_ported_dump, layout=PORT_ALL),
        find=_find(operator=_OPERATOR.name, number=PORT_ALL.number),
        utc_offset=MOSCOW,
        every=DAY,
    ),
    FileKind(
        name=f"{REGISTRY}/port-all-full",
        registry=REGISTRY,
        file_name=_dated_name("Port_All_Full"),
        header=_names(PORT_ALL_FULL.columns),
        expects=_columns(PORT_ALL_FULL.columns),
        read=partial(read_ported_dump, layout=PORT_ALL_FULL),
        read_tolerantly=partial(read_ported_dump, layout=PORT_ALL_FULL),
        find=_find(operator=_OPERATOR.name, number=PORT_ALL_FULL.number),
        utc_offset=MOSCOW,
        every=DAY,
    ),
    FileKind(
        name=f"{REGISTRY}/port-all-new",
        registry=REGISTRY,
        file_name=_dated_name("Port_All_New"),
        header=_is(PORT_ALL_NEW.columns),
        expects=_columns(PORT_ALL_NEW.columns),
        read=partial(read_named_dump, layout=PORT_ALL_NEW),
        find=_find(number=PORT_ALL_NEW.number),
        utc_offset=MOSCOW,
        every=DAY,
    ),
    FileKind(
        name=f"{REGISTRY}/operators",
        registry=REGISTRY,
        file_name=_dated_name("Operators"),
        header=_is(OPERATORS.columns),
        expects=_columns(OPERATORS.columns),
        read=partial(read_operator_table, layout=OPERATORS),
        utc_offset=MOSCOW,
        every=DAY,
    ),
    FileKind(
        name=f"{REGISTRY}/numbering-plan",
        registry=REGISTRY,
        file_name=_dated_name("Numbering_plan"),
        header=_names(NUMBERING_PLAN.columns),
        expects=_columns(NUMBERING_PLAN.columns),
        read=partial(read_range_file, layout=NUMBERING_PLAN),
        find=_find(operator=_OPERATOR.name),
        utc_offset=MOSCOW,
        every=DAY,
    ),
    FileKind(
        name=_PORT_INCREMENT,
        registry=REGISTRY,
        file_name=_dated_name("Port_Increment"),
        header=_names(PORT_INCREMENT.columns),
        expects=_columns(PORT_INCREMENT.columns),
        read=partial(read_increment, layout=PORT_INCREMENT),
        find=_find(operator="RecipientId", number=PORT_INCREMENT.number),
        utc_offset=MOSCOW,
    ),
    FileKind(
        name=_RETURN_INCREMENT,
        registry=REGISTRY,
        file_name=_dated_name("Return_Increment"),
        header=_names(RETURN_INCREMENT.columns, without=("RecipientId",)),
        expects=_columns(RETURN_INCREMENT.columns),
        read=partial(read_increment, layout=RETURN_INCREMENT),
        find=_find(number=RETURN_INCREMENT.number),
        utc_offset=MOSCOW,
    ),
    *(
        FileKind(
            name=name,
            registry=REGISTRY,
            file_name=_dated_name(file_name),
            header=_is(PORT_ALL_NEW.columns),
            expects=_columns(PORT_ALL_NEW.columns),
            read=partial(read_named_increment, layout=PORT_ALL_NEW, returns=returns),
            find=_find(number=PORT_ALL_NEW.number),
            utc_offset=MOSCOW,
            name_decides=True,
        )
        for name, file_name, returns in (
            (_PORT_INCREMENT_NEW, "Port_Increment_New", False),
            (_RETURN_INCREMENT_NEW, "Return_Increment_New", True),
        )
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
        name=REGISTRY,
        kinds=(_PORT_INCREMENT, _RETURN_INCREMENT),
        file_types=("Port_Increment", "Return_Increment"),
        bases={
            f"{REGISTRY}/port-all": _after_daily_dump,
            f"{REGISTRY}/port-all-full": _after_dump,
        },
        window_time=_window_time,
    ),
    IncrementChain(
        name=f"{REGISTRY}-new",
        kinds=(_PORT_INCREMENT_NEW, _RETURN_INCREMENT_NEW),
        file_types=("Port_Increment_New", "Return_Increment_New"),
        bases={f"{REGISTRY}/port-all-new": _after_daily_dump},
        window_time=_window_time,
    ),
)
"""What follows on a full dump: the increments of its tier."""

UNREAD = (
    UnreadKind(
        # The simplified tier's increments have the header of its full dump: the name must tell.
        file_name=re.compile(r"(?:Port|Return)_Increment.*", re.IGNORECASE),
        reason="named as an increment, but without the time and the sequence of one",
        hint="Give it back the name that the registry gave it, like "
        "Port_Increment_202608231400_55974.zip",
    ),
)
"""Files that are known by name and cannot be read without the rest of it."""
