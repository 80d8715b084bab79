"""Pseudonyms: keyed HMACs that stand for phone numbers.

A pseudonym is the first 128 bits of HMAC-SHA-256 (RFC 2104) over the number's decimal digits in
ASCII, as 32 hexadecimal digits: ``printf 79161234567 | openssl dgst -sha256 -mac HMAC`` gives the
same.

A pseudonym hides a number only from people without the key: with it, all mobile numbers of a
country can be tried in minutes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from numroute.errors import InputError, SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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
