"""The folder that a campaign's outputs are made in, and that becomes the output at the end.

It lies beside the output folder, hidden and private, so that the last step is one rename: the
output folder holds everything or does not exist. What a crash leaves is recognised by its name,
locked by nobody, and either resumed or removed by the next run for the same output.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, Final, Self

from numroute.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_STATE: Final = "state.json"
_LOCK: Final = "lock"
_OUTPUT: Final = "output"
_SPOOL: Final = "spool"


class Workspace:
    """The work folder of one output folder, held by one process.

    ::

        OUT's parent/.OUT.numroute/   0700
            lock                      held while a run is under way
            state.json                the last finished part
            output/                   becomes OUT
            spool/                    rows that wait to be written as Parquet or Arrow
    """

    def __init__(self, out: Path) -> None:
        """Name the output folder; nothing is touched yet."""
        self.out = out
        self.folder = out.absolute().parent / f".{out.absolute().name}.numroute"
        self.output = self.folder / _OUTPUT
        self.spool = self.folder / _SPOOL
        self._lock: int | None = None
        self._resumed = False

    def open(self, *, resume: bool) -> dict[str, Any] | None:
        """Take the work folder; return the state to resume from, None for a new beginning.

        Where there is no finished part to resume from, the beginning is new.

        Raises:
            InputError: The output folder is not empty or cannot be written, or another run is
                making it.
        """
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise InputError(
                self.out, "it is there and not empty", hint="Give --out a new or an empty folder"
            )
        try:
            self.out.absolute().parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InputError(
                self.out, f"it cannot be made: {error.strerror}", hint="Give another --out"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._unlock()
            raise InputError(
                self.out, "another run is making it", hint="Wait for it, or give another --out"
            ) from None
        state = self._state() if resume else None
        self._resumed = state is not None
        if state is None:
            self._clear()
        for folder in (self.output, self.spool):
            folder.mkdir(mode=0o700, exist_ok=True)
        return state

    @property
    def has_final_part(self) -> bool:
        """Whether some part is final, from which a run can go on."""
        return self._state() is not None

    def save(self, state: dict[str, Any]) -> None:
        """Make a state the one to resume from."""
        path = self.folder / f"{_STATE}.new"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 - a descriptor
            json.dump(state, file)
        path.replace(self.folder / _STATE)

    def hand_over(self, name: str, path: Path) -> None:
        """Move a file of the spool folder to a path outside, whole or not at all.

        An equal file is there already when a run was killed behind this: it stays.

        Raises:
            OSError: Another file is there, or the folder cannot be written.
        """
        if path.exists():
            if filecmp.cmp(self.spool / name, path, shallow=False):
                return
            raise FileExistsError(errno.EEXIST, f"another {path.name} is there already")
        beside = path.parent / f".{path.name}.numroute"
        try:
            shutil.copyfile(self.spool / name, _private(beside))
            _sync(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the output its name and remove everything else."""
        _sync_tree(self.output)
        with contextlib.suppress(FileNotFoundError):
            self.out.rmdir()
        self.output.rename(self.out)
        _sync(self.out.absolute().parent)
        self.remove()

    def remove(self) -> None:
        """Remove the work folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is None:
            return
        is_full = isinstance(error, OSError) and self.has_final_part
        if is_full or (self._resumed and isinstance(error, Exception)):
            # What is final need not be done again once there is room, or the mistake is mended.
            self._unlock()
        else:
            self.remove()

    def _state(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads((self.folder / _STATE).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return state

    def _clear(self) -> None:
        for each in self.folder.iterdir():
            if each.name == _LOCK:
                continue
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _private(path: Path) -> Path:
    """Return the path, at which there is now an empty file that only its owner may read."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    return path


def _sync_tree(folder: Path) -> None:
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
