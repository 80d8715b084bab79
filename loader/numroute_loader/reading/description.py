"""How a registry describes and delivers its files, and what every registry's files become.

These types know no country. Per-number data are numpy arrays; everything else is a frozen value.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, KeysView, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from numroute.model import LineType, Source
from numroute_loader.reading.archive import Archive

Progress = Callable[[int, int], None]
"""Called now and then with bytes of the file on disk: (done, total)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Which defects of a full dump are counted for the gate instead of ending the reading.

    ``rejected_rows``: how many malformed rows are skipped. ``row_count``: a wrong one may be
    stated. ``duplicates``: of several rows with a number, the one with the latest time is taken.
    """

    rejected_rows: int = 0
    row_count: bool = False
    duplicates: bool = False


STRICT = Tolerance()
"""No defect is tolerated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """One kind of file of a registry.

    ``name`` is ``<registry>/<kind>``, e.g. ``ru-bdpn/port-all``. ``layer``: what it brings to a
    snapshot, "ported", "increments", "ranges" or "operators".
    ``file_name`` matches the whole name, with or without a suffix; its groups ``time``
    (``YYYYMMDDhhmm``, ``utc_offset`` ahead of UTC) and ``sequence`` date the file, ``file_type``
    precedes them. ``header`` tests the beginning of a text; ``expects`` completes "The file should
    begin with ...".
    ``every``: the time from one file to the next, in which the sequence grows by one.
    ``covers``: the blocks of numbers, (first, last), that the registry describes: a plan those in
    which it has a range, gaps included; a full dump names all ported numbers in them.
    ``number_format``: how numbers are written, if in whole.
    """

    name: str
    registry: str
    layer: str
    file_name: re.Pattern[str]
    header: Callable[[bytes], bool]
    expects: str
    read: Callable[[RegistryFile, Tolerance], ParsedFile]
    file_type: str = ""
    utc_offset: timedelta = timedelta(0)
    every: timedelta | None = None
    covers: tuple[tuple[int, int], ...] = ()
    number_format: NumberFormat | None = None

    def dated(self, name: str) -> tuple[datetime, int] | None:
        """Return the time (UTC) and the sequence that a name states, None where it states neither.

        A name with a folder states neither. Raises ValueError when the time does not exist.
        """
        match = self.file_name.fullmatch(name)
        stated = match.groupdict() if match else {}
        if "time" not in stated:
            return None
        local = datetime.strptime(stated["time"], "%Y%m%d%H%M").replace(tzinfo=UTC)
        return local - self.utc_offset, int(stated["sequence"])

    def stated(self, name: str) -> tuple[datetime, int] | None:
        """Return what ``dated`` does, and None where the time does not exist."""
        try:
            return self.dated(name)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryFile:
    """An open file of a known kind; ``as_of`` (aware, UTC) and ``sequence`` are from its name.

    ``progress`` is called while it is read.
    """

    archive: Archive
    kind: FileKind
    as_of: datetime | None = None
    sequence: int | None = None
    progress: Progress | None = None

    @property
    def path(self) -> Path:
        """The file on disk."""
        return self.archive.path

    def source(self, rows: int) -> SourceFile:
        """Describe the file, which has been read to its end."""
        return SourceFile(
            path=self.path,
            name=self.path.name,
            registry=self.kind.registry,
            kind=self.kind.name,
            layer=self.kind.layer,
            sequence=self.sequence,
            as_of=self.as_of,
            rows=rows,
            sha256=self.archive.sha256(),
            member=self.archive.member,
            covers=self.kind.covers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile(Source):
    """One input file as read; ``sequence`` and ``as_of`` (aware, UTC) are from its name.

    ``member``: the name in a zip. ``covers`` is that of its kind.
    """

    path: Path
    as_of: datetime | None = None
    member: str | None = None
    covers: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteKey:
    """What a row of a dump or of a plan says about where its number is served; may be empty."""

    operator_code: str = ""
    operator_name: str = ""
    tax_number: str = ""
    registry_mnc: str = ""
    routing_number: str = ""
    region_code: str = ""
    region_name: str = ""
    line_type: LineType = LineType.UNSPECIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class PortedRecords:
    """The ported numbers of a full dump.

    ``numbers``: uint64[n], whole E.164 numbers, ascending and unique.
    ``route``: unsigned integer[n], index into ``keys``.
    ``ported_at``: uint32[n], seconds since 1970-01-01 UTC (0 = not known), or None.
    ``donor``: unsigned integer[n], index into ``donor_codes`` (operator codes), or None.
    ``returned_home``: rows that were left out because owner and range holder are the same.
    """

    numbers: NDArray[np.uint64]
    route: NDArray[np.unsignedinteger]
    keys: Sequence[RouteKey]
    ported_at: NDArray[np.uint32] | None = None
    donor: NDArray[np.unsignedinteger] | None = None
    donor_codes: Sequence[str] = ()
    returned_home: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementRows:
    """The rows of an increment, in the order of the file; a number may occur in several.

    ``numbers``: uint64[n], whole E.164 numbers.
    ``returns``: bool[n], whether the number is back with its range holder after the row.
    ``route``: uint32[n], index into ``keys``; says nothing where the row is a return.
    ``changed_at``: uint32[n], seconds since 1970-01-01 UTC (0 = not known).
    ``order_id``: uint64[n], the registry's id of the porting order.
    ``donor``: uint32[n], index into ``donor_codes``, of which an empty one is nobody's.
    """

    numbers: NDArray[np.uint64]
    returns: NDArray[np.bool_]
    route: NDArray[np.uint32]
    keys: Sequence[RouteKey]
    changed_at: NDArray[np.uint32]
    order_id: NDArray[np.uint64]
    donor: NDArray[np.uint32]
    donor_codes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """A numbering plan, or one file of it.

    ``first``, ``last``: uint64[m], whole E.164 numbers, inclusive, ascending, not overlapping.
    ``key``: uint32[m], index into ``keys``.
    """

    first: NDArray[np.uint64]
    last: NDArray[np.uint64]
    key: NDArray[np.uint32]
    keys: Sequence[RouteKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedFile:
    """A file with what was read from it; exactly one of the four contents is set.

    ``stated_rows``: what the file itself says. ``rejected_rows``: malformed rows that were skipped,
    ``rejected`` names the first. ``duplicates``: rows skipped for a later one of the same number.
    """

    source: SourceFile
    ported: PortedRecords | None = None
    ranges: Ranges | None = None
    operators: Sequence[RouteKey] | None = None
    increment: IncrementRows | None = None
    warnings: Sequence[str] = ()
    stated_rows: int | None = None
    rejected_rows: int = 0
    rejected: Sequence[str] = ()
    duplicates: int = 0


class NumberFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a registry writes a number: a fixed count of digits without the country code.

    ``lowest`` and ``highest`` bound the written number; ``shape`` says the same in words.
    """

    country_code: str
    digits: int
    lowest: int
    highest: int
    shape: str

    @property
    def offset(self) -> int:
        """What to add to a written number to get the whole E.164 number."""
        return int(self.country_code + "0" * self.digits)

    def written(self, number: int) -> str:
        """Return a whole E.164 number as the registry writes it."""
        return f"{number - self.offset:0{self.digits}d}"


class TextColumn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column of codes: what each cell must match in full, and the same in words.

    ``field`` is the field of a RouteKey that the code fills; empty where it fills none.
    """

    name: str
    pattern: str
    shape: str
    field: str = ""
    optional: bool = False

    def allows(self, cell: bytes) -> bool:
        """Return whether a cell is what the column should hold."""
        return bool(re.fullmatch(self.pattern.encode(), cell)) or (self.optional and not cell)


class RecordLayout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the rows of a file are read: codes and, except in operator tables, a number or a range.

    ``texts``: the columns of codes; those that fill a field of a RouteKey, the operator first, say
    where a number is served. In an increment without such columns every row is a return. ``donor``
    and ``range_holder`` name columns of ``texts``; a row whose operator is its range holder is a
    number that went home. ``order_id`` orders rows of one second.

    ``free_text``: a column of texts that may hold the delimiter, so the header must be exactly
    ``columns``. ``encodings`` are tried in this order; a file has one of them.
    ``tax_number_shape``: a tax number of an operator table that does not match is left empty.
    """

    row_count: str
    number_format: NumberFormat
    texts: tuple[TextColumn, ...]
    line_type: LineType = LineType.UNSPECIFIED
    number: str = ""
    last: str = ""
    donor: str = ""
    range_holder: str = ""
    time: str = ""
    order_id: str = ""
    free_text: str = ""
    encodings: tuple[str, ...] = ("ascii",)
    tax_number_shape: str = ""

    @property
    def routes(self) -> tuple[TextColumn, ...]:
        """The columns that say where a number is served."""
        return tuple(column for column in self.texts if column.field)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns that a file must have, in the order of one with free text."""
        codes = (column.name for column in self.texts)
        names = (self.order_id, self.number, self.last, *codes, self.time, self.row_count)
        return tuple(dict.fromkeys(filter(None, names)))

    def matches(self, header: Sequence[str], without: Collection[str] = ()) -> bool:
        """Return whether a header has all columns, and none of ``without``."""
        if self.free_text:
            return tuple(header) == self.columns
        return set(header).issuperset(self.columns) and set(header).isdisjoint(without)


class Role(enum.Enum):
    """What a delivered file is for."""

    DUMP = "full dump"
    COMPANION = "companion of a full dump"
    WINDOW = "increment"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLayout:
    """How one registry delivers its files, and how increments follow full dumps and one another.

    ``root`` and ``folders``: where the registry puts its files unless configuration says otherwise.
    ``kinds``: by role, the dumps with the most detailed first. A full dump needs every companion of
    its day, a window one file of each of its kinds, with one time and one sequence.

    The next window has the next sequence; ``window_zero``: the time (UTC) of that with sequence 0.
    Full dumps count from then on too, except those of the kinds with ``own_sequences``.
    """

    registry: str
    root: str
    folders: tuple[str, ...]
    kinds: Mapping[Role, tuple[FileKind, ...]]
    dump_every: timedelta
    window_every: timedelta
    window_zero: datetime
    own_sequences: tuple[str, ...] = ()

    def names(self, role: Role) -> KeysView[str]:
        """Return the names of the kinds of a role."""
        return dict.fromkeys(kind.name for kind in self.kinds[role]).keys()

    def window_time(self, sequence: int) -> datetime:
        """Return the time (UTC) that the names of a window's files state."""
        return self.window_zero + sequence * self.window_every

    def first_window(self, dump: Source, as_of: datetime) -> int:
        """Return the sequence of the first window on top of a full dump.

        ``as_of`` is the time of a dump whose name states none.
        """
        if dump.sequence is not None and dump.kind not in self.own_sequences:
            return dump.sequence * (self.dump_every // self.window_every) + 1
        (kind,) = (kind for kind in self.kinds[Role.DUMP] if kind.name == dump.kind)
        stated = kind.stated(dump.name)
        time = stated[0] if stated else as_of
        return (time - self.window_zero) // self.window_every + 1

    def parse(self, name: str) -> DeliveredFile | None:
        """Return what a name says of its file, None for a name that is not this registry's."""
        kinds = [(role, kind) for role, kinds in self.kinds.items() for kind in kinds]
        for role, kind in kinds if name.lower().endswith((".csv", ".zip")) else ():
            if stated := kind.stated(name):
                time, sequence = stated
                return DeliveredFile(
                    name=name,
                    kind=kind.name,
                    role=role,
                    time=time,
                    day=(time + kind.utc_offset).date(),
                    sequence=sequence,
                )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredFile:
    """A file as its name describes it: ``time`` in UTC, ``day`` by the registry's own clock."""

    name: str
    kind: str
    role: Role
    time: datetime
    day: date
    sequence: int
