"""The files of a registry: names, row formats, and full dumps written chunk by chunk.

Names, sequences and columns: registries.md, 1.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
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
from numroute_loader.generate.plan import MobileRanges, PlanRow, plan_file
from numroute_loader.generate.ports import PORTED_ROW, SECONDS_PER_DAY, Ports

_PLAN_FILES = {"ABC-3xx.csv": 3, "ABC-4xx.csv": 4, "ABC-8xx.csv": 8, "DEF-9xx.csv": 9}
"""The open-data files of a plan, and the leading digit of the numbers in each."""

_DAILY_SINCE = {
    "Operators": date(2013, 11, 19),
    "Numbering_plan": date(2013, 11, 19),
    "Port_All": date(2013, 11, 20),
    # A counter of its own whose beginning is not known.
    "Port_All_Full": date(2014, 6, 1),
}
_WINDOWS_SINCE = datetime.combine(_DAILY_SINCE["Port_All"], time())
WINDOW = timedelta(hours=2)

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
            raise _not_written(path, error) from None

    def daily(self, kind: str, day: date) -> Path:
        """Return the path of a daily dump, e.g. ``Port_All_201807060000_1689.zip``."""
        sequence = (day - _DAILY_SINCE[kind]).days
        return self._path / f"{kind}_{day:%Y%m%d}0000_{sequence}{self._suffix}"

    def write_window(self, kind: str, ends: datetime, rows: Sequence[str]) -> Path:
        """Write a window's file, e.g. ``Port_Increment_201806281400_20179.zip``."""
        sequence = (ends - _WINDOWS_SINCE) // WINDOW
        path = self._path / f"{kind}_{ends:%Y%m%d%H%M}_{sequence}{self._suffix}"
        return self.write(path, kind, rows)

    def write(self, path: Path, kind: str, rows: Sequence[str]) -> Path:
        """Write rows that end before their RowCount, which stands in the first row only."""
        lines = [_HEADERS[kind], *(f"{row}{'' if i else len(rows)}" for i, row in enumerate(rows))]
        with self.open(path) as dump:
            dump.write("".join(f"{line}\r\n" for line in lines).encode())
        return path

    def write_plan(self, rows: Sequence[PlanRow]) -> list[Path]:
        """Write the open-data files of a plan and return their paths."""
        for name, digit in _PLAN_FILES.items():
            with self.open(self._path / name) as file:
                file.write(plan_file(rows, digit))
        return [self._path / name for name in _PLAN_FILES]

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
            entry.external_attr = 0o600 << 16
            with (
                # The fastest: a dump is written once, read once and deleted.
                zipfile.ZipFile(file, "w", compresslevel=1) as archive,
                # The size is not known beforehand and may pass 4 GiB.
                archive.open(entry, "w", force_zip64=True) as member,
            ):
                yield member

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        for path in self._created:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _not_written(Path(error.filename or self._path), error) from None


def _not_written(path: Path, error: OSError) -> SettingError:
    reason = f"{path} cannot be written: {error.strerror or error}"
    return SettingError(reason, hint="Choose an empty folder with room that can be written")


class Midnights:
    """Writes the operators, the plan and the full dumps of one midnight after another."""

    def __init__(
        self,
        files: Folder,
        market: Market,
        ranges: MobileRanges,
        ports: Ports,
        options: GenerateOptions,
    ) -> None:
        """Prepare the tables of pieces."""
        self._files, self._ports, self._options = files, ports, options
        operators, regions = market.operators, market.regions
        self._rows = {
            "Operators": sorted(
                f"{operator.code},{mnc},{operator.tax_number},{operator.name},"
                for operator in operators
                for mnc in operator.mncs
            ),
            "Numbering_plan": [
                f"{first},{last},{operators[holder].code},{regions[region].code},"
                f"{operators[holder].mnc_in(region)},"
                for first, last, holder, region in zip(*(c.tolist() for c in ranges), strict=True)
            ],
        }
        later = (options.first_date + timedelta(days=i) for i in range(options.days))
        self._day = pa.array([f"{day.isoformat()}T" for day in (*ports.days, *later)])
        self._second = pa.array(
            f"{i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d}" for i in range(SECONDS_PER_DAY)
        )
        served = [
            (operator.code, operator.mnc_in(index), region.code)
            for operator in operators
            for index, region in enumerate(regions)
        ]
        self._regions = len(regions)
        self._route = pa.array(f"{code},{mnc},D{reg}{mnc},{reg}" for code, mnc, reg in served)
        self._old_route = pa.array([",", *(f"D{reg}{mnc},{mnc}" for _, mnc, reg in served)])
        self._code = pa.array(operator.code for operator in operators)
        self._process_type = pa.array(["ShortTimePort", "LongTimePort"])

    def write(
        self,
        day: date,
        changed: NDArray[np.void] = np.zeros(0, PORTED_ROW),  # noqa: B008 - never written to
        progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    ) -> list[Path]:
        """Write a midnight's files: the first rows with those ``changed`` since, ascending."""
        paths = [
            self._files.write(self._files.daily(kind, day), kind, rows)
            for kind, rows in self._rows.items()
        ]
        count = self._ports.chunk_count
        for tier in (tier for tier in Tier if tier in self._options.tiers):
            full = tier is Tier.PORT_ALL_FULL
            rows_of_file = self._ports.rows + int(changed["new"].sum())
            if not full:
                rows_of_file -= self._ports.returned_home + int(changed["home"].sum())
            paths.append(self._files.daily(tier, day))
            with self._files.open(paths[-1]) as file:
                file.write(f"{_HEADERS[tier]}\r\n".encode())
                row_count = str(rows_of_file)
                for index in range(count):
                    progress("ported numbers", index, count)
                    chunk = self._chunk(index, changed)
                    kept = chunk if full else chunk[~chunk["home"]]
                    for start in range(0, len(kept), _ROWS_PER_PIECE):
                        piece = kept[start : start + _ROWS_PER_PIECE]
                        file.write(self._lines(tier, piece, row_count))
                        row_count = ""
            progress("ported numbers", count, count)
        return paths

    def _chunk(self, index: int, changed: NDArray[np.void]) -> NDArray[np.void]:
        """Return a chunk with what has changed in its stretch of numbers."""
        chunk = self._ports.draw(index)
        stretch = [self._ports.first_number(index), self._ports.first_number(index + 1)]
        changed = changed[slice(*changed["number"].searchsorted(stretch))]
        kept = chunk[np.isin(chunk["number"], changed["number"], invert=True)]
        return np.insert(kept, kept["number"].searchsorted(changed["number"]), changed)

    def _lines(self, tier: Tier, rows: NDArray[np.void], row_count: str) -> bytes:
        """Format rows; ``row_count`` is filled for the first of the file."""
        owner, donor, region = rows["owner"], rows["donor"], rows["region"]
        full = tier is Tier.PORT_ALL_FULL
        others = "0" if full else ""
        cells = [
            pa.array(rows["number"]).cast(pa.string()),
            self._route.take(owner * self._regions + region),
            pc.binary_join_element_wise(
                self._day.take(rows["day"]), self._second.take(rows["second"]), "+03:00", ""
            ),
            pa.array([row_count or others, *[others] * (len(rows) - 1)]),
        ]
        if full:
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
