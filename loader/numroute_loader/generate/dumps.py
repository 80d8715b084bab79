"""The files of a registry: names, row formats, and full dumps written chunk by chunk.

Names, sequences and columns: registries.md, 1.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import IO, BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from numroute.errors import SettingError
from numroute.files import create_private
from numroute_loader.generate.options import GenerateOptions, Tier
from numroute_loader.generate.plan import Market, MobileRanges, PlanRow, plan_file
from numroute_loader.generate.ports import FIRST_DAY, Ports

_PLAN_FILES = {"ABC-3xx.csv": 3, "ABC-4xx.csv": 4, "ABC-8xx.csv": 8, "DEF-9xx.csv": 9}
"""The open-data files of a plan, and the leading digit of the numbers in each."""

_DAY, WINDOW = timedelta(days=1), timedelta(hours=2)

_SEQUENCES = {
    "Operators": (date(2013, 11, 19), _DAY),
    "Numbering_plan": (date(2013, 11, 19), _DAY),
    "Port_All": (date(2013, 11, 20), _DAY),
    # A counter of its own whose beginning is not known.
    "Port_All_Full": (date(2014, 6, 1), _DAY),
    "Port_Increment": (date(2013, 11, 20), WINDOW),
    "Return_Increment": (date(2013, 11, 20), WINDOW),
}
"""Since when the files of a kind are numbered, and how often one appears."""

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
    """The files of one run, ``created`` in this order; as a context it removes them on failure."""

    def __init__(self, path: Path, options: GenerateOptions) -> None:
        """Make the folder; raises SettingError when it cannot be made."""
        self._path, self._zipped = path, options.zipped
        self.created: list[Path] = []
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _not_written(path, error) from None

    def write_plan(self, rows: Sequence[PlanRow]) -> None:
        """Write the open-data files of a plan."""
        for name, digit in _PLAN_FILES.items():
            with self._create(name) as file:
                file.write(plan_file(rows, digit))

    def write(self, kind: str, at: datetime, rows: Sequence[str]) -> None:
        """Write rows that end before their RowCount, which stands in the first row only."""
        lines = (f"{row}{'' if i else len(rows)}\r\n" for i, row in enumerate(rows))
        with self.dump(kind, at) as file:
            file.write("".join(lines).encode())

    @contextlib.contextmanager
    def dump(self, kind: str, at: datetime) -> Iterator[IO[bytes]]:
        """Create a CSV file with its header, e.g. ``Port_All_201807060000_1689.csv``, or zip it.

        A zip's bytes depend on the zlib that compresses it, its CSV does not.
        """
        since, period = _SEQUENCES[kind]
        name = f"{kind}_{at:%Y%m%d%H%M}_{(at - datetime.combine(since, time())) // period}"
        with contextlib.ExitStack() as opened:
            ending = "zip" if self._zipped else "csv"
            file: IO[bytes] = opened.enter_context(self._create(f"{name}.{ending}"))
            if self._zipped:
                entry = zipfile.ZipInfo(f"{name}.csv")
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o600 << 16
                # The fastest: a dump is written once, read once and deleted.
                archive = opened.enter_context(zipfile.ZipFile(file, "w", compresslevel=1))
                # The size is not known beforehand and may pass 4 GiB.
                file = opened.enter_context(archive.open(entry, "w", force_zip64=True))
            file.write(f"{_HEADERS[kind]}\r\n".encode())
            yield file

    def _create(self, name: str) -> BinaryIO:
        file = create_private(self._path / name)
        self.created.append(self._path / name)
        return file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        for path in self.created:
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
        tiers: Sequence[Tier | str],
    ) -> None:
        """Prepare the tables of pieces."""
        self._files, self._ports = files, ports
        self._tiers = [tier for tier in Tier if tier in tiers]
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
        at: datetime,
        changed: NDArray[np.void],
        progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    ) -> None:
        """Write a midnight's files: the first rows with those ``changed`` since, ascending."""
        for kind, rows in self._rows.items():
            self._files.write(kind, at, rows)
        count = self._ports.chunk_count
        for tier in self._tiers:
            full = tier is Tier.PORT_ALL_FULL
            rows_of_file = self._ports.rows + int(changed["new"].sum())
            if not full:
                home = int((changed["owner"] == changed["holder"]).sum())
                rows_of_file -= self._ports.returned_home + home
            row_count = str(rows_of_file)
            with self._files.dump(tier, at) as file:
                for index in range(count):
                    progress("ported numbers", index, count)
                    chunk = self._chunk(index, changed)
                    kept = chunk if full else chunk[chunk["owner"] != chunk["holder"]]
                    for start in range(0, len(kept), _ROWS_PER_PIECE):
                        piece = kept[start : start + _ROWS_PER_PIECE]
                        file.write(self._lines(tier, piece, row_count))
                        row_count = ""
            progress("ported numbers", count, count)

    def _chunk(self, index: int, changed: NDArray[np.void]) -> NDArray[np.void]:
        """Return a chunk with what has changed in its stretch of numbers."""
        chunk = self._ports.draw(index)
        stretch = self._ports.starts[index : index + 2]
        changed = changed[slice(*changed["number"].searchsorted(stretch))]
        kept = chunk[np.isin(chunk["number"], changed["number"], invert=True)]
        return np.insert(kept, kept["number"].searchsorted(changed["number"]), changed)

    def _lines(self, tier: Tier, rows: NDArray[np.void], row_count: str) -> bytes:
        """Format rows; ``row_count`` is filled for the first of the file."""
        owner, donor, region = rows["owner"], rows["donor"], rows["region"]
        full = tier is Tier.PORT_ALL_FULL
        others = "0" if full else ""
        moments = pa.array(np.datetime64(FIRST_DAY, "s") + rows["time"].astype("timedelta64[s]"))
        cells = [
            pa.array(rows["number"]).cast(pa.string()),
            self._route.take(owner * self._regions + region),
            pc.binary_join_element_wise(
                pc.replace_substring(moments.cast(pa.string()), " ", "T"), "+03:00", ""
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
