"""BDPN, the Russian database of ported numbers: its dumps, increments and delivery.

The readers know none of this. ``tables/ru_bdpn.toml`` describes the files.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import resources

import msgspec

from numroute.model import LineType
from numroute_loader.reading.csv_stream import header_of
from numroute_loader.reading.description import FeedLayout, FileKind, RecordLayout, Role
from numroute_loader.reading.record_files import (
    read_increment,
    read_operator_table,
    read_ported_dump,
    read_range_file,
)

REGISTRY = "ru-bdpn"

LIMITS = "ru_limits.toml"
"""The table of the gate's limits for this registry."""

_MOSCOW = timedelta(hours=3)
"""File names state Moscow time, which has been UTC+3 without a summer time since 2014."""

_READERS = {
    "ported": read_ported_dump,
    "increments": read_increment,
    "ranges": read_range_file,
    "operators": read_operator_table,
}


class _Kind(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A kind of file named ``<file_type>_YYYYMMDDhhmm_<sequence>``, in any case.

    The header must have all columns of the layout and none of ``without``.
    """

    name: str
    file_type: str
    layer: str
    layout: RecordLayout
    without: tuple[str, ...] = ()
    every: timedelta | None = None
    role: Role | None = None


_TABLE = msgspec.toml.decode(
    resources.files("numroute_loader").joinpath("registries/tables/ru_bdpn.toml").read_bytes()
)


def _kinds() -> list[_Kind]:
    """Complete the layouts of the table by what they have in common; return its kinds."""
    for kind in _TABLE["kinds"]:
        layout = kind["layout"]
        for column in layout["texts"]:
            column.update(_TABLE["texts"][column.pop("text")])
        layout["row_count"], layout["number_format"] = "RowCount", _TABLE["number_format"]
        layout["line_type"] = LineType.MOBILE if "number" in layout else LineType.UNSPECIFIED
    return msgspec.convert(_TABLE["kinds"], list[_Kind])


def _file_kind(kind: _Kind) -> FileKind:
    layout = kind.layout
    return FileKind(
        name=f"{REGISTRY}/{kind.name}",
        registry=REGISTRY,
        layer=kind.layer,
        file_name=re.compile(
            rf"{kind.file_type}_(?P<time>[0-9]{{12}})_(?P<sequence>[0-9]{{1,9}})(\.csv|\.zip)?",
            re.IGNORECASE | re.ASCII,
        ),
        header=lambda head: layout.matches(header_of(head), kind.without),
        expects=f"the columns {','.join(layout.columns)}",
        read=partial(_READERS[kind.layer], layout=layout),
        file_type=kind.file_type,
        utc_offset=_MOSCOW,
        every=kind.every,
        covers=tuple((first, last) for first, last in _TABLE["covers"]),
        number_format=layout.number_format,
    )


_KINDS = [(kind.role, _file_kind(kind)) for kind in _kinds()]

KINDS = tuple(kind for _, kind in _KINDS)
"""The kinds of file that are read."""

FEED = FeedLayout(
    registry=REGISTRY,
    root=_TABLE["root"],
    folders=tuple(_TABLE["folders"]),
    kinds={each: tuple(kind for role, kind in _KINDS if role is each) for each in Role},
    # Full dumps, operators and plan appear at every midnight, with the next sequence.
    dump_every=timedelta(days=1),
    window_every=timedelta(hours=2),
    window_zero=datetime(2013, 11, 20, tzinfo=UTC) - _MOSCOW,
    own_sequences=(f"{REGISTRY}/port-all-full",),
)

UNREAD = {
    re.compile(r"(?:Port|Return)_Increment_New.*", re.IGNORECASE): "an increment of the simplified "
    "tier, which states no times: its rows have no order",
}
"""Why files of these names are refused: their headers are those of full dumps."""
