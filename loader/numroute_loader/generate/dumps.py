"""The files of a registry: names, row formats, and full dumps written chunk by chunk.

Names, sequences and columns: registries.md, 1.
"""

from __future__ import annotations

import dataclasses
import zipfile
from contextlib import ExitStack
from datetime import date, datetime, time
from typing import IO, TYPE_CHECKING, BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from numroute.errors import SettingError
from numroute.files import create_private
from numroute_loader.generate.options import Tier
from numroute_loader.generate.plan import FILES, plan_file
from numroute_loader.generate.ports import SECONDS_PER_DAY, PortedChunk
from numroute_loader.generate.randomness import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute_loader.generate.market import Market
    from numroute_loader.generate.options import GenerateOptions
    from numroute_loader.generate.plan import MobileRanges, PlanRow
    from numroute_loader.generate.ports import Ports


_COMPRESS_LEVEL = 1
"""The fastest: a dump is written once, read once and deleted."""
_UNIX = 3
"""The zip format's number for the system whose file modes an entry carries."""

_DAILY_SINCE = {
    "Operators": date(2013, 11, 19),
    "Numbering_plan": date(2013, 11, 19),
    "Port_All": date(2013, 11, 20),
    "Port_All_New": date(2013, 11, 20),
    # A counter of its own whose beginning is not known.
    "Port_All_Full": date(2014, 6, 1),
}
_WINDOWS_SINCE = datetime.combine(_DAILY_SINCE["Port_All"], time())
_WINDOW_SECONDS = 7200

_HEADERS = {
    "Operators": "OrgCode,MNC,TIN,OrgName,RowCount",
    "Numbering_plan": "NumberFrom,NumberTo,OwnerId,RegionCode,MNC,RowCount",
    "Port_All": "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount",
    "Port_All_Full": "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount,NPId,DonorId,"
    "RangeHolderId,OldRoute,OldMNC,ProcessType",
    "Port_All_New": "Number,OrgName,RowCount",
    "Port_Increment": "NPId,Number,RecipientId,DonorId,RangeHolderId,OldRoute,NewRoute,OldMNC,"
    "NewMNC,RegionCode,PortDate,RowCount",
    "Return_Increment": "NPId,Number,OwnerId,RangeHolderId,RangeHolderMNC,OldRoute,NewRoute,"
    "RegionCode,PortDate,RowCount",
}

_ROWS_PER_PIECE = 1 << 18
"""Rows that are put together at once: limits the memory for a chunk of any size."""
_OFFSET = "+03:00"
"""The registry writes Moscow time."""


class DumpFile:
    """One CSV being written, alone or in a zip of the same stem.

    A zip's bytes depend on the zlib that compresses it, its CSV does not.
    """

    def __init__(self, path: Path, day: date) -> None:
        """Create the file; ``path`` ends in .zip or .csv."""
        self._stack = ExitStack()
        file = self._stack.enter_context(_created(path))
        self._out: IO[bytes] = file
        if path.suffix == ".zip":
            archive = self._stack.enter_context(
                zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESS_LEVEL)
            )
            entry = zipfile.ZipInfo(f"{path.stem}.csv", (day.year, day.month, day.day, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _UNIX
            entry.external_attr = 0o600 << 16
            # The size is not known beforehand and may pass 4 GiB.
            self._out = self._stack.enter_context(archive.open(entry, "w", force_zip64=True))

    def write(self, data: bytes) -> None:
        """Append to the CSV."""
        self._out.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type] # what a with statement gives


class Folder:
    """The files of one run; as a context it removes them when the run fails."""

    def __init__(self, path: Path, options: GenerateOptions) -> None:
        """Make the folder, and refuse early what would be refused after minutes of work.

        Raises:
            SettingError: The folder cannot be made, or a file of a wanted name exists.
        """
        self._path = path
        self._suffix = ".zip" if options.zipped else ".csv"
        self._created: list[Path] = []
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(
                f"{path} cannot be made: {error.strerror}",
                hint="Choose a folder that can be written",
            ) from None
        day = options.first_date
        wanted = [self.daily(kind, day) for kind in ("Operators", "Numbering_plan", *options.tiers)]
        if options.plan is None:
            wanted += [path / name for name, _ in FILES]
        for file in wanted:
            if file.exists():
                raise _already_there(file)

    def daily(self, kind: str, day: date) -> Path:
        """Return the path of a daily dump, e.g. ``Port_All_201807060000_1689.zip``."""
        return self._named(kind, f"{day:%Y%m%d}0000", (day - _DAILY_SINCE[kind]).days)

    def write_daily(self, kind: str, day: date, rows: Sequence[str]) -> Path:
        """Write a small daily dump and return its path."""
        return self._write(self.daily(kind, day), day, kind, rows)

    def write_window(self, kind: str, ends: datetime, rows: Sequence[str]) -> Path:
        """Write a window's file, e.g. ``Port_Increment_201806281400_20179.zip``."""
        path = self._named(kind, f"{ends:%Y%m%d%H%M}", window_sequence(ends))
        return self._write(path, ends.date(), kind, rows)

    def write_plan(self, rows: Sequence[PlanRow]) -> list[Path]:
        """Write the open-data files of a plan and return their paths."""
        for name, digit in FILES:
            path = self._path / name
            with _created(path) as file:
                self._created.append(path)
                file.write(plan_file(rows, digit))
        return [self._path / name for name, _ in FILES]

    def open(self, path: Path, day: date) -> DumpFile:
        """Create a dump file."""
        dump = DumpFile(path, day)
        self._created.append(path)
        return dump

    def _named(self, kind: str, stamp: str, sequence: int) -> Path:
        return self._path / f"{kind}_{stamp}_{sequence}{self._suffix}"

    def _write(self, path: Path, day: date, kind: str, rows: Sequence[str]) -> Path:
        """Write rows that end before their RowCount: it stands in the first row only."""
        lines = [_HEADERS[kind], *(f"{row}{'' if i else len(rows)}" for i, row in enumerate(rows))]
        with self.open(path, day) as dump:
            dump.write("".join(f"{line}\r\n" for line in lines).encode())
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        for path in self._created:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise SettingError(
                f"{self._path} could not be written: {error.strerror or error}",
                hint="Check the space and the permissions; nothing was left behind",
            ) from None


def window_sequence(ends: datetime) -> int:
    """Return the sequence of the window that ends at a time (Moscow time, naive)."""
    return int((ends - _WINDOWS_SINCE).total_seconds()) // _WINDOW_SECONDS


def operator_rows(market: Market) -> list[str]:
    """Return the rows of Operators: one for each operator and MNC, ordered by code."""
    return sorted(
        f"{operator.code},{mnc},{operator.tax_number},{operator.name},"
        for operator in market.operators
        for mnc in operator.mncs
    )


def numbering_plan_rows(market: Market, ranges: MobileRanges) -> list[str]:
    """Return the rows of the registry's own Numbering_plan: the mobile ranges."""
    columns = (ranges.first, ranges.last, ranges.operator, ranges.region)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    operators, regions = market.operators, market.regions
    return [
        f"{first},{last},{operators[holder].code},{regions[region].code},"
        f"{operators[holder].mnc_in(region)},"
        for first, last, holder, region in rows
    ]


class FullDumps:
    """Writes the full dumps of one midnight after another."""

    def __init__(
        self, ports: Ports, market: Market, days: Sequence[date], *, in_order: bool, seed: int
    ) -> None:
        """Prepare the tables of pieces; rows come ``in_order`` of their numbers or shuffled."""
        self._ports, self._in_order, self._seed = ports, in_order, seed
        self._regions = len(market.regions)
        self._day = pa.array([f"{day.isoformat()}T" for day in days], pa.string())
        self._second = pa.array(
            f"{i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d}" for i in range(SECONDS_PER_DAY)
        )
        served = [
            (operator.code, operator.mnc_in(index), region.code)
            for operator in market.operators
            for index, region in enumerate(market.regions)
        ]
        self._route = pa.array(f"{code},{mnc},D{reg}{mnc},{reg}" for code, mnc, reg in served)
        self._old_route = pa.array([",", *(f"D{reg}{mnc},{mnc}" for _, mnc, reg in served)])
        self._org_name = pa.array(operator.name for operator in market.operators)
        self._code = pa.array(operator.code for operator in market.operators)
        self._process_type = pa.array(["ShortTimePort", "LongTimePort"])

    def write(
        self,
        files: Mapping[Tier, DumpFile],
        rows_of: Mapping[Tier, int],
        progress: Callable[[str, int, int], None],
        overlay: PortedChunk | None = None,
    ) -> None:
        """Write every kind of full dump in one pass over the chunks.

        Args:
            files: The open file of each kind.
            rows_of: How many rows each kind has.
            progress: Called with the stage's name, the chunks done and the chunks in all.
            overlay: Numbers that have changed since the base registry.
        """
        count = self._ports.chunk_count
        shuffle = None if self._in_order else Stream(self._seed, "order")
        chunks = shuffle.order(count).tolist() if shuffle else range(count)
        left = dict(rows_of)
        for tier, dump in files.items():
            dump.write(f"{_HEADERS[tier]}\r\n".encode())
        for done, index in enumerate(chunks):
            progress("ported numbers", done, count)
            chunk = self._ports.draw(index)
            if overlay is not None:
                chunk = self._laid_over(index, chunk, overlay)
            order = shuffle.order(len(chunk.number)) if shuffle else np.arange(len(chunk.number))
            for tier, dump in files.items():
                kept = order if tier is Tier.PORT_ALL_FULL else order[~chunk.home[order]]
                for start in range(0, len(kept), _ROWS_PER_PIECE):
                    piece = kept[start : start + _ROWS_PER_PIECE]
                    rows = self._rows(tier, chunk, piece)
                    first = left[tier] == rows_of[tier]
                    dump.write(_with_row_count(rows, tier, rows_of[tier]) if first else rows)
                    left[tier] -= len(piece)
        progress("ported numbers", count, count)
        if any(left.values()):
            raise AssertionError("fewer or more rows were written than were counted")

    def _laid_over(self, index: int, chunk: PortedChunk, overlay: PortedChunk) -> PortedChunk:
        """Return the chunk with the overlay's rows of its stretch of numbers."""
        stretch = [self._ports.first_number(index), self._ports.first_number(index + 1)]
        begin, end = overlay.number.searchsorted(stretch)
        changed = overlay.number[begin:end]
        kept = np.isin(chunk.number, changed, assume_unique=True, invert=True)
        at = chunk.number[kept].searchsorted(changed)
        return PortedChunk(
            **{
                field.name: np.insert(
                    getattr(chunk, field.name)[kept], at, getattr(overlay, field.name)[begin:end]
                )
                for field in dataclasses.fields(PortedChunk)
            }
        )

    def _rows(self, tier: Tier, chunk: PortedChunk, order: NDArray[np.int64]) -> bytes:
        """Format rows of a chunk, given by place: lines with CRLF, their RowCount not filled in."""
        owner, region = chunk.owner[order], chunk.region[order]
        number = pa.array(chunk.number[order]).cast(pa.string())
        if tier is Tier.PORT_ALL_NEW:
            cells = [number, self._org_name.take(owner), ""]
        else:
            time = pc.binary_join_element_wise(
                self._day.take(chunk.day[order]),
                self._second.take(chunk.second[order]),
                _OFFSET,
                "",
            )
            cells = [number, self._route.take(owner * self._regions + region), time, ""]
        if tier is Tier.PORT_ALL_FULL:
            donor, holder = chunk.donor[order], chunk.holder[order]
            # The old route is written where it does not follow from the range holder.
            old = np.where(donor == holder, 0, 1 + donor * self._regions + region)
            cells[-1:] = [
                "0",
                pa.array(chunk.npid[order]).cast(pa.string()),
                self._code.take(donor),
                self._code.take(holder),
                self._old_route.take(old),
                self._process_type.take(chunk.corporate[order].astype(np.int8)),
            ]
        lines = pc.binary_join_element_wise(*cells, ",")
        text: bytes = pc.binary_join_element_wise(lines, "\r\n", "").buffers()[2].to_pybytes()
        return text


def _with_row_count(rows: bytes, tier: Tier, row_count: int) -> bytes:
    """Write the row count into the first of these rows, which begin the file."""
    first, rest = rows.split(b"\r\n", 1)
    if tier is Tier.PORT_ALL_FULL:
        first = first.replace(b"+03:00,0,", b"+03:00,%d," % row_count)
    else:
        first += b"%d" % row_count
    return first + b"\r\n" + rest


def _created(path: Path) -> BinaryIO:
    try:
        return create_private(path)
    except FileExistsError:
        raise _already_there(path) from None
    except OSError as error:
        raise SettingError(
            f"{path} cannot be created: {error.strerror}",
            hint="Choose a folder that can be written",
        ) from None


def _already_there(path: Path) -> SettingError:
    return SettingError(
        f"{path} exists already", hint="Choose an empty folder, or delete the file first"
    )
