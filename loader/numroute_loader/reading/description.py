"""What a registry says of itself: the kinds of file it publishes and how each is told and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from pathlib import Path

    from numroute.model import LineType
    from numroute_loader.records import ParsedFile, RouteKey

Progress = Callable[[int, int], None]
"""Called now and then with bytes of the file on disk: (done, total)."""

HEAD_BYTES = 65_536
"""How much of a file's text a header test is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Which defects of a full dump are counted and left to the gate, instead of ending the reading.

    ``rejected_rows``: how many malformed rows are skipped. ``row_count``: whether the file may hold
    other rows than it says. ``duplicates``: whether a number may stand in several rows, of which
    the one with the latest time is taken.
    """

    rejected_rows: int = 0
    row_count: bool = False
    duplicates: bool = False


STRICT = Tolerance()
"""No defect is let pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """One kind of file of a registry.

    ``name`` is ``<registry>/<kind>``, e.g. ``ru-bdpn/port-all``: what ``KIND=PATH`` names.
    ``file_name`` is matched (``fullmatch``) against the file's name without folder and without
    ``.csv`` or ``.zip``; where it has the groups ``time`` (``YYYYMMDDhhmm``, ``utc_offset`` ahead
    of UTC) and ``sequence``, they date the file.
    ``header`` is given the first ``HEAD_BYTES`` of the text, unpacked and as they are (a byte order
    mark included), and says whether they begin a file of this kind.
    ``expects`` completes the sentence "the file should begin with ...".
    ``read(path, kind, progress)`` reads the file whole, or raises ``InputError``.
    ``find(path, wanted)``, where the kind has it, returns the first line that holds an operator's
    code (text) or a whole E.164 number (integer), None when no line does.
    ``read_tolerantly``, where the kind has it, reads as ``read`` and takes a tolerance.
    ``every``: the time from one file to the next, where the sequence grows by one in it.
    ``name_decides``: other kinds have the same header, so that a file of another name is none.
    """

    name: str
    registry: str
    file_name: re.Pattern[str]
    header: Callable[[bytes], bool]
    expects: str
    read: Callable[[Path, FileKind, Progress | None], ParsedFile]
    utc_offset: timedelta = timedelta(0)
    find: Callable[[Path, str | int], int | None] | None = None
    every: timedelta | None = None
    read_tolerantly: Callable[[Path, FileKind, Progress | None, Tolerance], ParsedFile] | None = (
        None
    )
    name_decides: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadKind:
    """Files that are known by their names, are of no kind that is read, and could be taken for one.

    An increment may have the header of a full dump: only the name keeps it from being taken for
    one. ``reason`` completes the sentence "the file is ...".
    """

    file_name: re.Pattern[str]
    reason: str
    hint: str


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
        """What to add to a written number to make it a whole E.164 number."""
        return int(self.country_code + "0" * self.digits)

    def written(self, number: int) -> str:
        """Return a whole E.164 number as the registry writes it."""
        return f"{number - self.offset:0{self.digits}d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextColumn:
    """A column of codes: its name, what each cell must match in full, and that in words."""

    name: str
    pattern: re.Pattern[bytes]
    shape: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortedLayout:
    """A full dump, one number a row, with codes of operator, MNC, routing number and region.

    ``usual_routing_number`` tells what the routing number of a route looks like in every row seen;
    others are counted in a warning. With ``range_holder`` set, a row whose operator is its range
    holder is a number that went home: not ported.
    """

    number: str
    number_format: NumberFormat
    operator: TextColumn
    mnc: TextColumn
    routing_number: TextColumn
    region: TextColumn
    ported_at: str
    row_count: str
    line_type: LineType
    usual_routing_number: Callable[[RouteKey], str]
    donor: TextColumn | None = None
    range_holder: TextColumn | None = None

    @property
    def route_columns(self) -> tuple[TextColumn, ...]:
        """The columns that together say where a number is served."""
        return (self.operator, self.mnc, self.routing_number, self.region)

    @property
    def text_columns(self) -> tuple[TextColumn, ...]:
        """Every column of codes."""
        others = (self.donor, self.range_holder)
        return self.route_columns + tuple(column for column in others if column is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of every column that a file must have."""
        codes = tuple(column.name for column in self.text_columns)
        return (self.number, *codes, self.ported_at, self.row_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedLayout:
    """A full dump whose rows are a number, an operator's name in free text, and a row count.

    The name may hold the delimiter, so the three columns stand in exactly this order.
    ``encodings``: those a file may be in, tried in this order, one for the whole file.
    """

    number: str
    number_format: NumberFormat
    operator_name: str
    row_count: str
    line_type: LineType
    encodings: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return (self.number, self.operator_name, self.row_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementLayout:
    """An increment: one change a row, with codes as in a full dump.

    Without ``route_columns`` every row is a return. With them (operator, MNC, routing number and
    region, in this order) a row whose operator is its ``range_holder`` is a return, too.
    ``others`` are checked and not used.
    """

    number: str
    number_format: NumberFormat
    changed_at: str
    order_id: str
    row_count: str
    line_type: LineType
    range_holder: TextColumn
    route_columns: tuple[TextColumn, ...] = ()
    usual_routing_number: Callable[[RouteKey], str] | None = None
    donor: TextColumn | None = None
    others: tuple[TextColumn, ...] = ()

    @property
    def text_columns(self) -> tuple[TextColumn, ...]:
        """Every column of codes."""
        donor = (self.donor,) if self.donor is not None else ()
        return (*self.route_columns, *donor, self.range_holder, *self.others)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of every column that a file must have."""
        codes = tuple(column.name for column in self.text_columns)
        return (self.order_id, self.number, *codes, self.changed_at, self.row_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementChain:
    """How a registry's increments follow a full dump and one another.

    The files of one window share a sequence, and the next window has the next one.

    ``kinds``: names of the kinds that make a window, all of which it needs; ``file_types``: what
    the names of their files begin with, in the same order.
    ``bases``: by the name of a full dump's kind, what the first window on top of such a dump is: a
    function of the dump's sequence and of its time, each None where it is not known, that returns
    None where it cannot tell. ``window_time``: the time (UTC) that the names of a window state.
    """

    name: str
    kinds: tuple[str, ...]
    file_types: tuple[str, ...]
    bases: Mapping[str, Callable[[int | None, datetime | None], int | None]]
    window_time: Callable[[int], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeLayout:
    """A numbering plan: inclusive ranges of numbers with codes of operator, region and MNC."""

    first: str
    last: str
    number_format: NumberFormat
    operator: TextColumn
    region: TextColumn
    mnc: TextColumn
    row_count: str
    line_type: LineType

    @property
    def text_columns(self) -> tuple[TextColumn, ...]:
        """Every column of codes."""
        return (self.operator, self.region, self.mnc)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of every column that a file must have."""
        codes = tuple(column.name for column in self.text_columns)
        return (self.first, self.last, *codes, self.row_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorLayout:
    """An operator table: code, MNC and tax number, a name in free text, and a row count.

    The name may hold the delimiter, so the five columns stand in exactly this order.
    ``tax_number_shape`` is what a tax number looks like; cells of another shape are kept as none.
    """

    code: TextColumn
    mnc: TextColumn
    tax_number: str
    tax_number_shape: re.Pattern[str]
    name: str
    row_count: str
    encodings: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return (self.code.name, self.mnc.name, self.tax_number, self.name, self.row_count)
