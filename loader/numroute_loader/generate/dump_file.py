"""Dump files as the registry sends them: named by day and sequence, zipped, readable by the owner.

Names and sequences: registries.md, 1.
"""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from datetime import date
from typing import IO, TYPE_CHECKING, Self

from numroute import files
from numroute.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

FILE_MODE = 0o600
COMPRESS_LEVEL = 1
"""The fastest: a dump is written once, read once and deleted."""

_COUNTED_SINCE = {
    "Operators": date(2013, 11, 19),
    "Numbering_plan": date(2013, 11, 19),
    "Port_All": date(2013, 11, 20),
    "Port_All_New": date(2013, 11, 20),
    # A counter of its own whose beginning is not known.
    "Port_All_Full": date(2014, 6, 1),
}

_UNIX = 3
"""The zip format's number for the system whose file modes an entry carries."""


def dump_name(kind: str, day: date, *, zipped: bool) -> str:
    """Return the file name of a daily dump, e.g. ``Port_All_201807060000_1689.zip``."""
    sequence = (day - _COUNTED_SINCE[kind]).days
    return f"{kind}_{day:%Y%m%d}0000_{sequence}{'.zip' if zipped else '.csv'}"


def counted_since(kind: str) -> date:
    """Return the day of a kind's sequence 0."""
    return _COUNTED_SINCE[kind]


def create_private(path: Path) -> IO[bytes]:
    """Create a file that only its owner can read.

    Raises:
        SettingError: The file exists, or the folder cannot be written.
    """
    try:
        return files.create_private(path)
    except FileExistsError:
        raise already_there(path) from None
    except OSError as error:
        raise SettingError(
            f"{path} cannot be created: {error.strerror}",
            hint="Choose a folder that can be written",
        ) from None


def already_there(path: Path) -> SettingError:
    """Return the error for a file that would have to be replaced."""
    return SettingError(
        f"{path} exists already", hint="Choose an empty folder, or delete the file first"
    )


class DumpFile:
    """One dump being written; a zip holds a single CSV of the same stem.

    A zip's bytes depend on the zlib that compresses it, its CSV does not.
    """

    def __init__(self, path: Path, day: date) -> None:
        """Create the file; ``path`` ends in .zip or .csv."""
        self._stack = ExitStack()
        file = self._stack.enter_context(create_private(path))
        if path.suffix != ".zip":
            self._out: IO[bytes] = file
            return
        archive = self._stack.enter_context(
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESS_LEVEL)
        )
        entry = zipfile.ZipInfo(f"{path.stem}.csv", (day.year, day.month, day.day, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.create_system = _UNIX
        entry.external_attr = FILE_MODE << 16
        # The size is not known beforehand and may pass 4 GiB.
        self._out = self._stack.enter_context(archive.open(entry, "w", force_zip64=True))

    def write(self, data: bytes) -> None:
        """Append to the CSV."""
        self._out.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
