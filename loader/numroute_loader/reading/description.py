"""How a registry describes and delivers its files: kinds, layouts, folders and names."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from numroute.model import LineType
from numroute_loader.reading.archive import Archive
from numroute_loader.records import IncrementRows, PortedRecords, Ranges, RouteKey

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

    ``name`` is ``<registry>/<kind>``, e.g. ``ru-bdpn/port-all``.
    ``file_name`` matches the whole name without folder and suffix; its groups ``time``
    (``YYYYMMDDhhmm``, ``utc_offset`` ahead of UTC) and ``sequence`` date the file. ``header`` tests
    the beginning of a text; ``expects`` completes "The file should begin with ...".
    ``every``: the time from one file to the next, in which the sequence grows by one.
    ``covers``: the blocks of numbers, (first, last), that the registry describes: a plan those in
    which it has a range, gaps included; a full dump names all ported numbers in them.
    ``number_format``: how numbers are written, if in whole.
    """

    name: str
    registry: str
    file_name: re.Pattern[str]
    header: Callable[[bytes], bool]
    expects: str
    read: Callable[[RegistryFile, Progress | None, Tolerance], ParsedFile]
    utc_offset: timedelta = timedelta(0)
    every: timedelta | None = None
    covers: tuple[tuple[int, int], ...] = ()
    number_format: NumberFormat | None = None

    def dated(self, stem: str) -> tuple[datetime, int] | None:
        """Return the time (UTC) and the sequence that a name states, None where it states neither.

        Raises ValueError when the time does not exist.
        """
        match = self.file_name.fullmatch(stem)
        stated = match.groupdict() if match else {}
        if "time" not in stated:
            return None
        local = datetime.strptime(stated["time"], "%Y%m%d%H%M").replace(tzinfo=UTC)
        return local - self.utc_offset, int(stated["sequence"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryFile:
    """An open file of a known kind; ``as_of`` (aware, UTC) and ``sequence`` are from its name."""

    archive: Archive
    kind: FileKind
    as_of: datetime | None = None
    sequence: int | None = None

    @property
    def path(self) -> Path:
        """The file on disk."""
        return self.archive.path

    def source(self, rows: int) -> SourceFile:
        """Describe the file, which has been read to its end."""
        return SourceFile(
            path=self.path,
            registry=self.kind.registry,
            kind=self.kind.name,
            sequence=self.sequence,
            as_of=self.as_of,
            rows=rows,
            sha256=self.archive.sha256(),
            member=self.archive.member,
            covers=self.kind.covers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One input file as read; ``sha256`` is the digest of the file on disk, zip or not.

    ``sequence`` and ``as_of`` (aware, UTC) are from its name. ``member``: the name in a zip.
    """

    path: Path
    registry: str
    kind: str
    sequence: int | None = None
    as_of: datetime | None = None
    rows: int = 0
    sha256: str = ""
    member: str | None = None
    covers: tuple[tuple[int, int], ...] = ()


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

    @property
    def layer(self) -> str:
        """Which layer of a snapshot the file brings."""
        if self.increment is not None:
            return "increments"
        if self.ported is not None:
            return "ported"
        return "ranges" if self.ranges is not None else "operators"


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFormat:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TextColumn:
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


_NO_NUMBERS = NumberFormat(country_code="", digits=0, lowest=0, highest=0, shape="")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLayout:
    """Rows of codes, of a number or a range (``last``) too: every kind of file.

    ``routes``: the columns that say where a number is served, the operator first; in an increment
    without them every row is a return. A row whose operator is its ``range_holder`` is a number
    that went home. ``others`` are checked and not used. ``order_id`` orders rows of one second.

    ``free_text``: a column of texts that may hold the delimiter, so the header must be exactly
    ``columns``. ``encodings`` are tried in this order; a file has one of them.
    ``tax_number_shape``: a tax number of an operator table that does not match is left empty.
    """

    row_count: str
    line_type: LineType = LineType.UNSPECIFIED
    number: str = ""
    number_format: NumberFormat = _NO_NUMBERS
    last: str = ""
    routes: tuple[TextColumn, ...] = ()
    donor: TextColumn | None = None
    range_holder: TextColumn | None = None
    others: tuple[TextColumn, ...] = ()
    time: str = ""
    order_id: str = ""
    free_text: str = ""
    encodings: tuple[str, ...] = ("ascii",)
    tax_number_shape: str = ""

    @property
    def texts(self) -> tuple[TextColumn, ...]:
        """Every column of codes."""
        optional = (self.donor, self.range_holder)
        return (*self.routes, *(column for column in optional if column is not None), *self.others)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementChain:
    """How a registry's increments follow a full dump and one another.

    The files of one window share a sequence, and the next window has the next one. ``kinds``: the
    names of the kinds that make up a window, ``file_types``: the beginnings of their files' names.
    ``bases``: by kind of full dump, the first window on top of a dump of a sequence and a time.
    ``window_time``: the time (UTC) that the file names of a window state.
    """

    kinds: tuple[str, ...]
    file_types: tuple[str, ...]
    bases: Mapping[str, Callable[[int | None, datetime | None], int | None]]
    window_time: Callable[[int], datetime]


class Role(enum.Enum):
    """What a delivered file is for."""

    DUMP = "full dump"
    COMPANION = "companion of a full dump"
    WINDOW = "increment"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLayout:
    """How one registry delivers its files.

    ``root`` and ``folders``: where the registry puts its files unless configuration says otherwise.
    ``kinds``: by role, the dumps with the most detailed first. A full dump needs every companion of
    its day, a window one file of each of its kinds, with one time.
    """

    registry: str
    root: str
    folders: tuple[str, ...]
    kinds: Mapping[Role, tuple[FileKind, ...]]
    dump_every: timedelta
    window_every: timedelta

    def names(self, role: Role) -> frozenset[str]:
        """Return the names of the kinds of a role."""
        return frozenset(kind.name for kind in self.kinds[role])

    def parse(self, name: str) -> DeliveredFile | None:
        """Return what a name says of its file, None for a name that is not this registry's."""
        stem, _, suffix = name.rpartition(".")
        kinds = [(role, kind) for role, kinds in self.kinds.items() for kind in kinds]
        for role, kind in kinds if suffix.lower() in ("csv", "zip") else ():
            try:
                dated = kind.dated(stem)
            except ValueError:
                return None
            if dated is not None:
                time, sequence = dated
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
