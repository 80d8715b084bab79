"""The files of a registry: names, row formats, and full dumps written chunk by chunk.

Names, sequences and columns: registries.md, 1.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import IO, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.errors import SettingError
from numroute.files import create_private
from numroute_loader.generate.market import Market
from numroute_loader.generate.options import GenerateOptions, Tier
from numroute_loader.generate.plan import FILES, MobileRanges, PlanRow, plan_file
from numroute_loader.generate.ports import SECONDS_PER_DAY, Ports

_COMPRESS_LEVEL = 1
"""The fastest: a dump is written once, read once and deleted."""
_UNIX = 3
"""The zip format's number for the system whose file modes an entry carries."""

_DAILY_SINCE = {
    "Operators": date(2013, 11, 19),
    "Numbering_plan": date(2013, 11, 19),
    "Port_All": date(2013, 11, 20),
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
    "Port_Increment": "NPId,Number,RecipientId,DonorId,RangeHolderId,OldRoute,NewRoute,OldMNC,"
    "NewMNC,RegionCode,PortDate,RowCount",
    "Return_Increment": "NPId,Number,OwnerId,RangeHolderId,RangeHolderMNC,OldRoute,NewRoute,"
    "RegionCode,PortDate,RowCount",
}

_ROWS_PER_PIECE = 1 << 18
"""Rows that are put together at once: limits the memory for a chunk of any size."""
_OFFSET = "+03:00"
"""The registry writes Moscow time."""


class Folder:
    """The files of one run; as a context it removes them when the run fails."""

    def __init__(self, path: Path, options: GenerateOptions) -> None:
        """Make the folder; raises SettingError when it cannot be made."""
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

    def daily(self, kind: str, day: date) -> Path:
        """Return the path of a daily dump, e.g. ``Port_All_201807060000_1689.zip``."""
        return self._named(kind, f"{day:%Y%m%d}0000", (day - _DAILY_SINCE[kind]).days)

    def write_daily(self, kind: str, day: date, rows: Sequence[str]) -> Path:
        """Write a small daily dump and return its path."""
        return self._write(self.daily(kind, day), kind, rows)

    def write_window(self, kind: str, ends: datetime, rows: Sequence[str]) -> Path:
        """Write a window's file, e.g. ``Port_Increment_201806281400_20179.zip``."""
        return self._write(
            self._named(kind, f"{ends:%Y%m%d%H%M}", window_sequence(ends)), kind, rows
        )

    def write_plan(self, rows: Sequence[PlanRow]) -> list[Path]:
        """Write the open-data files of a plan and return their paths."""
        paths = [self._path / name for name, _ in FILES]
        for path, (_, digit) in zip(paths, FILES, strict=True):
            with self.open(path) as file:
                file.write(plan_file(rows, digit))
        return paths

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[IO[bytes]]:
        """Create a CSV file, or a zip with one CSV of the same stem.

        A zip's bytes depend on the zlib that compresses it, its CSV does not.
        """
        with create_private(path) as file:
            self._created.append(path)
            if path.suffix != ".zip":
                yield file
                return
            entry = zipfile.ZipInfo(f"{path.stem}.csv")
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _UNIX
            entry.external_attr = 0o600 << 16
            with (
                zipfile.ZipFile(file, "w", compresslevel=_COMPRESS_LEVEL) as archive,
                # The size is not known beforehand and may pass 4 GiB.
                archive.open(entry, "w", force_zip64=True) as member,
            ):
                yield member

    def _named(self, kind: str, stamp: str, sequence: int) -> Path:
        return self._path / f"{kind}_{stamp}_{sequence}{self._suffix}"

    def _write(self, path: Path, kind: str, rows: Sequence[str]) -> Path:
        """Write rows that end before their RowCount: it stands in the first row only."""
        lines = [_HEADERS[kind], *(f"{row}{'' if i else len(rows)}" for i, row in enumerate(rows))]
        with self.open(path) as dump:
            dump.write("".join(f"{line}\r\n" for line in lines).encode())
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        for path in self._created:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise SettingError(
                f"{error.filename} exists already",
                hint="Choose an empty folder, or delete the file first",
            ) from None
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

    def __init__(self, ports: Ports, market: Market, days: Sequence[date]) -> None:
        """Prepare the tables of pieces."""
        self._ports = ports
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
        self._code = pa.array(operator.code for operator in market.operators)
        self._process_type = pa.array(["ShortTimePort", "LongTimePort"])

    def write(
        self,
        files: Mapping[Tier, IO[bytes]],
        rows_of: Mapping[Tier, int],
        progress: Callable[[str, int, int], None],
        overlay: NDArray[np.void] | None = None,
    ) -> None:
        """Write every kind of full dump in one pass over the chunks.

        ``rows_of``: how many rows each has. ``overlay``: the numbers that have changed since the
        base registry.
        """
        count = self._ports.chunk_count
        written = dict.fromkeys(files, 0)
        for tier, dump in files.items():
            dump.write(f"{_HEADERS[tier]}\r\n".encode())
        for index in range(count):
            progress("ported numbers", index, count)
            chunk = self._ports.draw(index)
            if overlay is not None:
                chunk = self._laid_over(index, chunk, overlay)
            for tier, dump in files.items():
                kept = chunk if tier is Tier.PORT_ALL_FULL else chunk[~chunk["home"]]
                for start in range(0, len(kept), _ROWS_PER_PIECE):
                    piece = kept[start : start + _ROWS_PER_PIECE]
                    dump.write(self._lines(tier, piece, written[tier], rows_of[tier]))
                    written[tier] += len(piece)
        progress("ported numbers", count, count)
        if written != rows_of:
            raise AssertionError("fewer or more rows were written than were counted")

    def _laid_over(
        self, index: int, chunk: NDArray[np.void], overlay: NDArray[np.void]
    ) -> NDArray[np.void]:
        """Return the chunk with the overlay's rows of its stretch of numbers."""
        stretch = [self._ports.first_number(index), self._ports.first_number(index + 1)]
        begin, end = overlay["number"].searchsorted(stretch)
        changed = overlay[begin:end]
        kept = chunk[np.isin(chunk["number"], changed["number"], invert=True)]
        return np.insert(kept, kept["number"].searchsorted(changed["number"]), changed)

    def _lines(self, tier: Tier, rows: NDArray[np.void], written: int, row_count: int) -> bytes:
        """Format rows; the first of the file states ``row_count``."""
        owner, donor, region = rows["owner"], rows["donor"], rows["region"]
        others = "0" if tier is Tier.PORT_ALL_FULL else ""
        stated = pc.if_else(pa.array(np.arange(len(rows)) + written == 0), str(row_count), others)
        time = pc.binary_join_element_wise(
            self._day.take(rows["day"]), self._second.take(rows["second"]), _OFFSET, ""
        )
        cells = [
            pa.array(rows["number"]).cast(pa.string()),
            self._route.take(owner * self._regions + region),
            time,
            stated,
        ]
        if tier is Tier.PORT_ALL_FULL:
            # The old route is written where it does not follow from the range holder.
            old = np.where(donor == rows["holder"], 0, 1 + donor * self._regions + region)
            cells += [
                pa.array(rows["npid"]).cast(pa.string()),
                self._code.take(donor),
                self._code.take(rows["holder"]),
                self._old_route.take(old),
                self._process_type.take(rows["corporate"].astype(np.int8)),
            ]
        lines = pc.binary_join_element_wise(*cells, ",")
        text: bytes = pc.binary_join_element_wise(lines, "\r\n", "").buffers()[2].to_pybytes()
        return text
