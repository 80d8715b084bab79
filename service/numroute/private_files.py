"""Files with secrets: read them only when nobody else can."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from numroute.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE_BYTES_MAX = 1 << 20
"""The largest file of certificates, keys or tokens that is read: thousands of entries."""


class FileState(NamedTuple):
    """What changes when a file is written or replaced, or when others are let at it."""

    inode: int
    bytes: int
    changed_ns: int
    mode: int
    owner: int


def file_state(path: Path) -> FileState | None:
    """Return a file's state, following links, or None when it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return FileState(
        status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid
    )


def read_setting_file(path: Path, what: str) -> bytes:
    """Return the content of a file that a setting names.

    Args:
        path: The file.
        what: What it is for, as an error text names it.

    Raises:
        SettingError: It is not there, cannot be read, or is no such file by its size.
    """
    try:
        with path.open("rb") as file:
            return _read(file.fileno(), path, what)
    except OSError as error:
        raise _unreadable(path, what, error) from None


def read_private_file(path: Path, what: str) -> bytes:
    """Return the content of a file that holds a secret.

    Its mode must keep everybody but its owner out. Where root owns it, as an orchestrator's mounted
    secrets are, its group may read: that is how it reaches a service that is not root.

    Raises:
        SettingError: Others can read or write it, or ``read_setting_file`` would raise it.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            _require_private(path, what, status)
            return _read(file.fileno(), path, what)
    except OSError as error:
        raise _unreadable(path, what, error) from None


def _require_private(path: Path, what: str, status: os.stat_result) -> None:
    forbidden = stat.S_IRWXO | stat.S_IRWXG
    if status.st_uid == 0:
        forbidden &= ~stat.S_IRGRP
    if status.st_mode & forbidden:
        mode = stat.S_IMODE(status.st_mode)
        raise SettingError(
            f"{path}: {what} can be read or changed by others (mode {mode:04o})",
            hint=f"Run `chmod 600 {path}`; if somebody may have read it, replace what is in it",
        )
    if status.st_uid not in {0, os.geteuid()}:
        raise SettingError(
            f"{path}: {what} belongs to another user (uid {status.st_uid})",
            hint="Make it belong to the user that runs this program",
        )


def _read(descriptor: int, path: Path, what: str) -> bytes:
    content = b""
    while block := os.read(descriptor, PRIVATE_BYTES_MAX):
        content += block
        if len(content) > PRIVATE_BYTES_MAX:
            raise SettingError(
                f"{path}: {what} is larger than {PRIVATE_BYTES_MAX:,} bytes",
                hint="Is it the right file?",
            )
    return content


def _unreadable(path: Path, what: str, error: OSError) -> SettingError:
    return SettingError(
        f"{path}: {what} cannot be read: {error.strerror}",
        hint="Check the path, and that the user that runs this program may read it",
    )
