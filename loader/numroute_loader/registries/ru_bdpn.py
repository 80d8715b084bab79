"""BDPN, the Russian database of ported numbers: its dumps, increments and delivery.

The readers know none of this. ``tables/ru_bdpn.toml`` describes the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import resources
from typing import Any

import msgspec

from numroute.model import LineType
from numroute_loader.reading.csv_stream import header_of
from numroute_loader.reading.description import (
    FeedLayout,
    FileKind,
    IncrementChain,
    NumberFormat,
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

_DAY, _WINDOW = timedelta(days=1), timedelta(hours=2)
"""Full dumps, operators and plan appear at every midnight, with the next sequence."""

_MOSCOW = timedelta(hours=3)
"""File names state Moscow time, which has been UTC+3 without a summer time since 2014."""

_DAY_ZERO = datetime(2013, 11, 20, tzinfo=UTC) - _MOSCOW
"""Windows are counted from here, and full dumps by days (Port_All_Full has its own counter)."""

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
    holds: str
    layout: dict[str, Any]
    without: tuple[str, ...] = ()
    every: timedelta | None = None
    role: Role | None = None


class _Description(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    root: str
    folders: tuple[str, ...]
    covers: tuple[tuple[int, int], ...]
    number_format: NumberFormat
    texts: dict[str, dict[str, Any]]
    kinds: tuple[_Kind, ...]

    def file_kind(self, kind: _Kind) -> FileKind:
        """Return a kind with its reader."""
        columns = self._with_texts(kind.layout)
        layout = RecordLayout(
            row_count="RowCount",
            line_type=LineType.MOBILE if "number" in columns else LineType.UNSPECIFIED,
            number_format=self.number_format,
            **columns,
        )
        return FileKind(
            name=f"{REGISTRY}/{kind.name}",
            registry=REGISTRY,
            file_name=re.compile(
                rf"{kind.file_type}_(?P<time>[0-9]{{12}})_(?P<sequence>[0-9]{{1,9}})",
                re.IGNORECASE | re.ASCII,
            ),
            header=lambda head: layout.matches(header_of(head), kind.without),
            expects=f"the columns {','.join(layout.columns)}",
            read=partial(_READERS[kind.holds], layout=layout),
            utc_offset=_MOSCOW,
            every=kind.every,
            covers=self.covers,
            number_format=self.number_format,
        )

    def _with_texts(self, node: Any) -> Any:  # noqa: ANN401 - a node of a TOML document
        """Return a layout with its columns, each with the pattern that it names."""
        if isinstance(node, list):
            return tuple(self._with_texts(each) for each in node)
        if not isinstance(node, Mapping):
            return node
        fields = {name: self._with_texts(each) for name, each in node.items()}
        text = fields.pop("text", None)
        return fields if text is None else TextColumn(**self.texts[text], **fields)


_DESCRIPTION = msgspec.toml.decode(
    resources.files("numroute_loader").joinpath("registries/tables/ru_bdpn.toml").read_bytes(),
    type=_Description,
)
_KINDS = [(kind, _DESCRIPTION.file_kind(kind)) for kind in _DESCRIPTION.kinds]

KINDS = tuple(kind for _, kind in _KINDS)
"""The kinds of file that are read."""

FEED = FeedLayout(
    registry=REGISTRY,
    root=_DESCRIPTION.root,
    folders=_DESCRIPTION.folders,
    kinds={
        role: tuple(kind for described, kind in _KINDS if described.role is role) for role in Role
    },
    dump_every=_DAY,
    window_every=_WINDOW,
)


def _after_daily_dump(sequence: int | None, time: datetime | None) -> int | None:
    """Return the first window after a dump whose sequence counts days."""
    return _after_dump(None, time) if sequence is None else (_DAY // _WINDOW) * sequence + 1


def _after_dump(_: int | None, time: datetime | None) -> int | None:
    """Return the first window after a dump of this time."""
    return None if time is None else (time - _DAY_ZERO) // _WINDOW + 1


CHAINS = (
    IncrementChain(
        kinds=tuple(kind.name for kind in FEED.kinds[Role.WINDOW]),
        file_types=("Port_Increment", "Return_Increment"),
        bases={
            f"{REGISTRY}/port-all": _after_daily_dump,
            f"{REGISTRY}/port-all-full": _after_dump,
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
