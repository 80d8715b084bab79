"""The temporary folder that a campaign's outputs are made in, and that becomes the output.

It lies beside the output folder, so that the last step is one rename: the output folder holds
everything or does not exist. A run that is killed leaves its temporary folder and nothing else; the
next run for the same output removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final, Self

from numroute.errors import InputError

_SUFFIX: Final = ".numroute"


class Workspace:
    """The temporary folder of one run, removed when the run ends.

    ::

        OUT's parent/.OUT.RANDOM.numroute/   0700, locked while the run lasts
            output/                          becomes OUT
            spool/                           rows waiting to be written as Parquet or Arrow
    """

    def __init__(self, out: Path) -> None:
        """Make the folder, and remove what killed runs for the same output left behind.

        Raises:
            InputError: The output folder is not empty or cannot be made, or another run is making
                it.
        """
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(
                out, "it exists and is not empty", hint="Give --out a new or an empty folder"
            )
        self.out = out.absolute()
        parent, prefix = self.out.parent, f".{self.out.name}."
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for each in parent.glob(f"{prefix}*{_SUFFIX}"):
                if each.is_dir() and not each.is_symlink():
                    _remove_leftover(each, out)
            self.folder = Path(tempfile.mkdtemp(_SUFFIX, prefix, parent))
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                out, f"it cannot be made: {error.strerror}", hint="Give another --out"
            ) from None
        self.output, self.spool = self.folder / "output", self.folder / "spool"
        self.output.mkdir(mode=0o700)
        self.spool.mkdir(mode=0o700)

    def hand_over(self, name: str, path: Path) -> None:
        """Move a file of the spool folder to a path outside, whole or not at all.

        Raises:
            OSError: A file is there already, or the folder cannot be written.
        """
        descriptor, beside = tempfile.mkstemp(_SUFFIX, f".{path.name}.", path.parent)
        try:
            with open(descriptor, "wb") as file, (self.spool / name).open("rb") as source:  # noqa: PTH123 - a descriptor
                shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, path)  # unlike a rename, fails when a file is there
        finally:
            Path(beside).unlink()

    def finish(self) -> None:
        """Give the output its name."""
        for path in (*self.output.iterdir(), self.output):
            _sync(path)
        with contextlib.suppress(FileNotFoundError):
            self.out.rmdir()
        self.output.rename(self.out)
        _sync(self.out.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def _remove_leftover(folder: Path, out: Path) -> None:
    """Remove the temporary folder of a run that is gone.

    Raises:
        InputError: The run still holds its lock.
    """
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # gone meanwhile, or another user's
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        raise InputError(
            out, "another run is making it", hint="Wait for it, or give another --out"
        ) from None
    finally:
        os.close(lock)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
