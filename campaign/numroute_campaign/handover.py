"""Depersonalised hand-overs: pseudonyms, where their key and map may lie, and the act.

A pseudonym is the first 128 bits of HMAC-SHA-256 (RFC 2104) over the number's decimal digits in
ASCII, as 32 hexadecimal digits: ``printf 79161234567 | openssl dgst -sha256 -mac HMAC`` gives the
same. It hides a number only from people without the key: with it, all mobile numbers of a country
can be tried in minutes. The map gives the people away as well.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import secrets
import socket
import stat
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from numroute.errors import InputError, SettingError
from numroute.files import create_private

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute_campaign.summary import Steps, Summary

KEY_BYTES: Final = 32
KEY_BYTES_MIN: Final = 16
KEY_BYTES_MAX: Final = 64
PSEUDONYM_CHARS: Final = 32

METHOD: Final = "HMAC-SHA-256, first 128 bits, over the decimal digits of the E.164 number"

_DISTINCT_BYTES_MIN: Final = 8
_DISTINCT_STEPS_MIN: Final = 4
"""Random keys hold fewer different bytes, or steps between them, less than once in 10^9."""

_FINGERPRINT_CHARS: Final = 16


class Pseudonymizer:
    """Computes pseudonyms under one key; safe to call from several threads."""

    def __init__(self, key: bytes) -> None:
        """Hash the key's two blocks once; every number starts from copies of these states.

        Raises:
            SettingError: The key is too short or too long.
        """
        if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
            raise SettingError(
                f"the key has {len(key)} bytes", hint=f"Use {KEY_BYTES} random bytes"
            )
        padded = key.ljust(KEY_BYTES_MAX, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def texts(self, numbers: NDArray[np.uint64]) -> pa.Array:
        """Return string[n], the pseudonym of each whole number (uint64[n])."""
        inner_copy, outer_copy = self._inner.copy, self._outer.copy
        digests = []
        # The hmac module builds a Python object per number, which takes twice as long.
        for digits in map(b"%d".__mod__, numbers.tolist()):
            inner = inner_copy()
            inner.update(digits)
            outer = outer_copy()
            outer.update(inner.digest())
            digests.append(outer.digest()[: PSEUDONYM_CHARS // 2])
        offsets = np.arange(len(numbers) + 1, dtype=np.int32) * np.int32(PSEUDONYM_CHARS)
        text = b"".join(digests).hex().encode()
        return pa.Array.from_buffers(
            pa.string(), len(numbers), [None, pa.py_buffer(offsets), pa.py_buffer(text)]
        )


def fingerprint(key: bytes) -> str:
    """Return a text that identifies a key without giving it away."""
    return hashlib.sha256(b"numroute key fingerprint\0" + key).hexdigest()[:_FINGERPRINT_CHARS]


def load_key(path: Path, *, make: bool = True) -> bytes:
    """Return the key that a file holds as hexadecimal digits; create the file if it is missing.

    Without ``make`` nothing is created, and a missing file gives a key that is not kept.

    Raises:
        InputError: Another user owns the file or may read it, or it holds no key or a weak one.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return _new_key(path) if make else secrets.token_bytes(KEY_BYTES)
    except OSError as error:
        raise InputError(path, f"the key cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)  # what is checked is what is read
        if not stat.S_ISREG(status.st_mode):
            raise InputError(path, "the key is not a regular file", hint="Name another file")
        if status.st_uid not in {os.geteuid(), 0}:
            raise InputError(
                path, "the key belongs to another user", hint="Name a new file, or take it over"
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise InputError(path, "other users may read the key", hint=f"chmod 600 {path}")
        text = os.read(descriptor, 4 * KEY_BYTES_MAX)
    finally:
        os.close(descriptor)
    key = b""
    with contextlib.suppress(ValueError):
        key = bytes.fromhex(text.decode("ascii").strip())
    if not key:
        raise InputError(
            path, "it holds no key", hint="A key is 64 hexadecimal digits; name a new file"
        )
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise InputError(path, f"the key has {len(key)} bytes", hint="Name a new file")
    if _is_weak(key):
        raise InputError(
            path,
            "the key is weak: its bytes are not random",
            hint="Name a new file: a random key is written to it",
        )
    return key


def _is_weak(key: bytes) -> bool:
    """Whether a key is a pattern: few different bytes, a repeated piece, or a progression."""
    return (
        len(set(key)) < _DISTINCT_BYTES_MIN
        or key in (key + key)[1:-1]
        or len({(after - before) % 256 for before, after in pairwise(key)}) < _DISTINCT_STEPS_MIN
    )


def _new_key(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(path, f"the key cannot be written: {error.strerror}") from None
    with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor
        file.write(key.hex() + "\n")
    return key


ROLES: Final = ("list", "do-not-send list", "policy file", "price file", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """A file that went in or came out; ``role`` is one of ``ROLES``.

    ``sha256`` is empty for standard input.
    """

    role: str
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who handed what over, when and how.

    Attributes:
        run_by: The user's name, and the machine's.
        started: ISO 8601, UTC.
        finished: ISO 8601, UTC.
        program: Name and version.
        snapshots: Ids of the registry snapshots that answered.
        inputs: Lists, do-not-send lists, policy and price file.
        outputs: The files of the output folder, apart from the act itself.
        columns: Columns in the outputs.
        dropped_columns: Columns of the list that are not in the outputs.
        method: How pseudonyms are computed.
        key_fingerprint: Identifies the key; the key cannot be computed from it.
        map: Where the map of pseudonyms lies.
        steps: Rows in and out.
    """

    run_by: str
    started: str
    finished: str
    program: str
    snapshots: tuple[str, ...]
    inputs: tuple[FileDigest, ...]
    outputs: tuple[FileDigest, ...]
    columns: tuple[str, ...]
    dropped_columns: tuple[str, ...]
    method: str
    key_fingerprint: str
    map: str
    steps: Steps


def check_places(out: Path, map_path: Path, key_path: Path) -> None:
    """Make sure that the map and the key lie in folders of their own.

    Raises:
        SettingError: One lies in the output folder or beside it, or both lie together.
    """
    folder = out.resolve()
    for what, path in (("map of pseudonyms", map_path), ("key", key_path)):
        place = path.resolve().parent
        if place == folder or folder in place.parents:
            where = "in the output folder, and would leave with it"
        elif place in folder.parents:
            where = "beside the output folder or above it"
        else:
            continue
        raise SettingError(
            f"{path}: the {what} would lie {where}", hint="Give it a folder of its own"
        )
    if map_path.resolve().parent == key_path.resolve().parent:
        raise SettingError(
            f"{key_path}: the key and the map of pseudonyms would lie in one folder",
            hint="Give each a folder of its own",
        )


def write_act(
    folder: Path,
    summary: Summary,
    *,
    started: datetime,
    inputs: Sequence[tuple[str, str, Path | None]],
    columns: Sequence[str],
    key: bytes,
    map_path: Path,
    language: str,
) -> Act:
    """Write ``act.json`` and ``act.html`` about the finished files of an output folder.

    ``inputs``: role, name and path of each file that was read; no path for standard input.
    """
    from numroute_campaign.report import page_environment  # noqa: PLC0415 - slow to import

    act = Act(
        run_by=f"{getpass.getuser()}@{socket.gethostname()}",
        started=_time(started),
        finished=_time(datetime.now(UTC)),
        program=f"numroute {version('numroute')}",
        snapshots=summary.snapshots,
        inputs=tuple(_digest(role, name, path) for role, name, path in inputs),
        outputs=tuple(
            _digest(ROLES[-1], path.name, path)
            for path in sorted(folder.iterdir(), key=lambda each: each.name)
        ),
        columns=tuple(columns),
        dropped_columns=summary.dropped_columns,
        method=METHOD,
        key_fingerprint=fingerprint(key),
        map=str(map_path.absolute()),
        steps=summary.steps,
    )
    text = json.dumps(asdict(act), ensure_ascii=False, indent=2) + "\n"
    page = page_environment(language).get_template("act.html.j2").render(act=act, s=summary)
    contents: Mapping[str, str] = {"act.json": text, "act.html": page}
    for name, content in contents.items():
        with create_private(folder / name) as file:
            file.write(content.encode())
    return act


def _digest(role: str, name: str, path: Path | None) -> FileDigest:
    if path is None:
        return FileDigest(role=role, name=name, bytes=0, sha256="")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileDigest(role=role, name=name, bytes=file.tell(), sha256=digest)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
