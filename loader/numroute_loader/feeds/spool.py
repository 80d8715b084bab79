"""Local copies of delivered files, from their arrival until a snapshot is built from them.

A file in the spool under its own name is whole: it was fetched under another path, read to its end,
and only then renamed. Its modification time is that of the delivered file, which tells one delivery
from the next. The spool keeps no other state, so a crash cannot leave a contradiction.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from numroute.errors import InputError, StoreAccessError
from numroute_loader.reading.archive import Archive
from numroute_loader.registries import recognise

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numroute_loader.feeds.sources import RemoteFile

INCOMING = ".incoming"
QUARANTINE = ".quarantine"

QUARANTINE_FILES_MAX = 20
"""How many unusable files are kept for inspection; the oldest go first."""

_READ_BYTES = 1 << 20


class Spool:
    """The folder of local copies (0700, files 0600)."""

    def __init__(self, path: Path) -> None:
        """Create the folders that are missing; raises StoreAccessError."""
        self.path = path
        self._incoming = path / INCOMING
        self._quarantine = path / QUARANTINE
        try:
            for folder in (path, self._incoming, self._quarantine):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreAccessError(
                path, f"the spool cannot be created: {error.strerror}", hint="Check owner and mount"
            ) from None

    def names(self) -> list[str]:
        """Return the names of the files that are whole."""
        return sorted(each.name for each in self.path.iterdir() if each.is_file())

    def holds(self, file: RemoteFile) -> bool:
        """Return whether this very delivery is in the spool."""
        try:
            status = (self.path / file.name).stat()
        except FileNotFoundError:
            return False
        return (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns)

    def incoming(self, file: RemoteFile) -> Path:
        """Return the path to fetch a delivery to, in a folder named for its size and time."""
        folder = self._incoming / file.identity
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / file.name

    def accept(self, file: RemoteFile) -> None:
        """Check that a fetched file is whole and of its kind, and give it its own name.

        Raises InputError when it is not.
        """
        path = self.incoming(file)
        size = path.stat().st_size
        if size != file.size:
            raise InputError(
                path, f"{size} bytes came of {file.size}", hint="The file will be fetched again"
            )
        recognise(path)
        _read_whole_zip(path)
        os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
        with path.open("rb") as written:
            os.fsync(written.fileno())
        path.rename(self.path / file.name)
        with contextlib.suppress(OSError):
            # Two deliveries may share size and time, and with them the folder.
            path.parent.rmdir()

    def quarantine(self, path: Path) -> None:
        """Move an unusable file aside, if it still exists."""
        if path.exists():
            path.rename(self._quarantine / path.name)
        kept = sorted(self._quarantine.iterdir(), key=lambda each: each.stat().st_ctime_ns)
        for each in kept[:-QUARANTINE_FILES_MAX]:
            each.unlink()

    def remove(self, names: Collection[str]) -> None:
        """Remove whole files that are no longer needed, and quarantined ones of their names."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)
            (self._quarantine / name).unlink(missing_ok=True)

    def keep_incoming(self, files: Collection[RemoteFile]) -> None:
        """Remove partial downloads, except those of these deliveries, which may continue."""
        kept = {file.identity for file in files}
        for folder in self._incoming.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder)


def _read_whole_zip(path: Path) -> None:
    """Read a zip to its end, which checks its checksum; a plain file has only its row count."""
    with Archive(path) as source:
        if source.member is not None:
            buffer = memoryview(bytearray(_READ_BYTES))
            while source.readinto(buffer) == len(buffer):
                pass
