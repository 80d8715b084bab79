"""BDPN, the Russian database of ported numbers: what its dumps look like.

Source of every fact: ``registries.md``, section 1. The readers know none of it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from numroute.model import LineType
from numroute_loader.reading.description import (
    FileKind,
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
from numroute_loader.reading.named_dump import read_named_dump
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
    donor=TextColumn(name="DonorId", pattern=_CODE_OR_NONE, shape=_CODE_SHAPE),
    range_holder=TextColumn(name="RangeHolderId", pattern=_CODE_OR_NONE, shape=_CODE_SHAPE),
)

PORT_ALL_NEW = NamedLayout(
    number="Number",
    number_format=_NUMBER,
    operator_name="OrgName",
    row_count="RowCount",
    line_type=LineType.MOBILE,
    encodings=_ENCODINGS,
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


KINDS = (
    FileKind(
        name=f"{REGISTRY}/port-all",
        registry=REGISTRY,
        file_name=_dated_name("Port_All"),
        header=_names(PORT_ALL.columns, without=("NPId", "DonorId", "RangeHolderId")),
        expects=_columns(PORT_ALL.columns),
        read=partial(read_ported_dump, layout=PORT_ALL),
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
)
"""The kinds of file that are read."""

UNREAD = (
    UnreadKind(
        # The simplified tier's increments have the header of its full dump: the name must tell.
        file_name=re.compile(r"(?:Port|Return)_Increment(?:_.*)?", re.IGNORECASE),
        reason="an increment; a snapshot is built from full dumps",
        hint="Give the full dump of the day (Port_All, Port_All_Full or Port_All_New)",
    ),
)
"""Files that are known by name and are no input of a build."""
