"""Pseudonyms: keyed HMACs of numbers, a whole array at a time.

A pseudonym is the first 128 bits of HMAC-SHA-256 (RFC 2104, FIPS 180-4) over the number's decimal
digits in ASCII, as 32 hexadecimal digits: ``printf 79161234567 | openssl dgst -sha256 -mac HMAC``
gives the same. The message, padded, is one block of SHA-256, so a pseudonym is two runs of its
compression function from two states that depend on the key alone. Those runs are made for
thousands of numbers at once; one number after the other through ``hmac`` is several times slower
and holds the interpreter's lock.
"""

from __future__ import annotations

import math
import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from numroute.errors import InputError, SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Words = NDArray[np.uint32]
    _Spare = tuple[Words, Words, Words]

KEY_BYTES: Final = 32
KEY_BYTES_MIN: Final = 16
PSEUDONYM_BYTES: Final = 16
PIECE_NUMBERS: Final = 16_384
"""Numbers worked on at once: the eight words of state and sixteen of schedule fit in cache."""

_BLOCK_BYTES: Final = 64
_DIGEST_WORDS: Final = 8


def _prime_roots(power: float, count: int) -> Words:
    """Return the first 32 bits of fractions of roots of the first primes (FIPS 180-4, 4.2.2)."""
    primes: list[int] = []
    candidate = 2
    while len(primes) < count:
        if all(candidate % prime for prime in primes):
            primes.append(candidate)
        candidate += 1
    # Exact: the integer root of p * 2^(32 * n), for square (n = 2) and cube (n = 3) roots.
    return np.array([_root(prime, round(1 / power)) & 0xFFFFFFFF for prime in primes], np.uint32)


def _root(number: int, degree: int) -> int:
    """Return floor(number ** (1 / degree) * 2**32)."""
    target = number << 32 * degree
    if degree == 2:  # noqa: PLR2004 - a square root
        return math.isqrt(target)
    low, high = 0, 1 << 40
    while low + 1 < high:
        middle = (low + high) // 2
        if middle**degree <= target:
            low = middle
        else:
            high = middle
    return low


# Arrays without dimensions: a ufunc takes them in half the time that a scalar's conversion takes.
_ROUNDS: Final = [np.array(word) for word in _prime_roots(1 / 3, 64)]
_SHIFTS: Final = [np.array(count, np.uint32) for count in range(32)]
_INITIAL: Final = _prime_roots(1 / 2, 8)


class Pseudonymizer:
    """Gives pseudonyms under one key; any number of threads may use it at once."""

    def __init__(self, key: bytes) -> None:
        """Prepare the two states that depend on the key alone; at most 64 bytes of key."""
        if not KEY_BYTES_MIN <= len(key) <= _BLOCK_BYTES:
            raise SettingError(
                f"the key has {len(key)} bytes", hint=f"Take {KEY_BYTES} random bytes"
            )
        padded = np.frombuffer(key.ljust(_BLOCK_BYTES, b"\0"), np.uint8)
        self._inner = _compressed(_INITIAL[:, None], _words(padded ^ np.uint8(0x36)))
        self._outer = _compressed(_INITIAL[:, None], _words(padded ^ np.uint8(0x5C)))

    def digests(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Return uint8[n, 16], the pseudonym of each whole number (uint64[n])."""
        digests = np.empty((len(numbers), PSEUDONYM_BYTES), np.uint8)
        for begin in range(0, len(numbers), PIECE_NUMBERS):
            piece = numbers[begin : begin + PIECE_NUMBERS]
            lengths = np.searchsorted(_POWERS, piece, side="right")
            for length in np.unique(lengths).tolist():
                at = np.flatnonzero(lengths == length)
                digests[begin + at] = self._of_length(piece.take(at), max(length, 1))
        return digests

    def texts(self, numbers: NDArray[np.uint64]) -> pa.Array:
        """Return string[n], the pseudonyms as hexadecimal digits."""
        n = len(numbers)
        digits = _HEX.take(self.digests(numbers).reshape(-1))
        offsets = np.arange(n + 1, dtype=np.int32) * np.int32(2 * PSEUDONYM_BYTES)
        return pa.Array.from_buffers(
            pa.string(), n, [None, pa.py_buffer(offsets), pa.py_buffer(digits)]
        )

    def _of_length(self, numbers: NDArray[np.uint64], length: int) -> NDArray[np.uint8]:
        n = len(numbers)
        message = np.zeros((16, n), np.uint32)
        rest = numbers
        for place in range(length - 1, -1, -1):
            rest, digit = np.divmod(rest, np.uint64(10))
            message[place // 4] |= (digit.astype(np.uint32) + np.uint32(ord("0"))) << np.uint32(
                24 - 8 * (place % 4)
            )
        message[length // 4] |= np.uint32(0x80 << (24 - 8 * (length % 4)))
        message[15] = 8 * (_BLOCK_BYTES + length)
        inner = _compressed(self._inner, message)
        message[:_DIGEST_WORDS] = inner  # the first run has used its message up
        message[_DIGEST_WORDS:] = 0
        message[_DIGEST_WORDS] = 0x80000000
        message[15] = 8 * (_BLOCK_BYTES + 4 * _DIGEST_WORDS)
        outer = _compressed(self._outer, message)[: PSEUDONYM_BYTES // 4]
        return np.ascontiguousarray(outer.T).astype(">u4").view(np.uint8).reshape(n, -1)


_POWERS: Final = 10 ** np.arange(16, dtype=np.uint64)
_HEX: Final = np.frombuffer(bytes(range(256)).hex().encode(), "<u2")
"""uint16[256], the two hexadecimal digits of a byte, in the order in which they are written."""


def _words(block: NDArray[np.uint8]) -> Words:
    """Return uint32[16, 1], a block's big-endian words."""
    return block.view(">u4").astype(np.uint32)[:, None]


def _add_rotations(words: Words, counts: tuple[int, int, int], into: Words, spare: _Spare) -> None:
    """Add to ``into`` the exclusive or of three rotations to the right of some words.

    A count below zero stands for a shift.
    """
    x, y, z = spare
    for i, count in enumerate(counts):
        part = x if i == 0 else y
        np.right_shift(words, _SHIFTS[abs(count)], out=part)
        if count > 0:
            np.left_shift(words, _SHIFTS[32 - count], out=z)
            np.bitwise_or(part, z, out=part)
        if i:
            np.bitwise_xor(x, y, out=x)
    np.add(into, x, out=into)


def _compressed(state: Words, message: Words) -> Words:
    """Return uint32[8, n]: the compression function for n messages (uint32[16, n]) side by side.

    ``state``: uint32[8, 1] or uint32[8, n]. ``message`` is used up as a workspace.
    """
    n = message.shape[1]
    schedule = list(message)
    spare = (np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32))
    x, y, _ = spare
    a, b, c, d, e, f, g, h = (np.broadcast_to(word, n).copy() for word in state)
    for i in range(64):
        word = schedule[i % 16]
        if i >= 16:  # noqa: PLR2004 - behind the message's own words
            _add_rotations(schedule[(i - 15) % 16], (7, 18, -3), word, spare)
            _add_rotations(schedule[(i - 2) % 16], (17, 19, -10), word, spare)
            np.add(word, schedule[(i - 7) % 16], out=word)
        # The standard's T1, which is added to h and to d.
        _add_rotations(e, (6, 11, 25), h, spare)
        np.bitwise_xor(f, g, out=x)
        np.bitwise_and(x, e, out=x)
        np.bitwise_xor(x, g, out=x)
        np.add(h, x, out=h)
        np.add(word, _ROUNDS[i], out=x)
        np.add(h, x, out=h)
        np.add(d, h, out=d)
        # The standard's T2.
        _add_rotations(a, (2, 13, 22), h, spare)
        np.bitwise_or(a, b, out=x)
        np.bitwise_and(x, c, out=x)
        np.bitwise_and(a, b, out=y)
        np.bitwise_or(x, y, out=x)
        np.add(h, x, out=h)
        a, b, c, d, e, f, g, h = h, a, b, c, d, e, f, g
    return np.stack([a, b, c, d, e, f, g, h]) + state


def load_key(path: Path, *, make: bool = True) -> bytes:
    """Return the key that a file holds as hexadecimal digits; make the file where it is missing.

    Without ``make`` a missing file stays missing, and the key is one that nobody keeps.

    Raises:
        InputError: Others may read the file, or it holds no key.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        key = secrets.token_bytes(KEY_BYTES)
        if not make:
            return key
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise InputError(path, f"the key cannot be made: {error.strerror}") from None
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor
            file.write(key.hex() + "\n")
        return key
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise InputError(path, "others may read the key", hint=f"chmod 600 {path}")
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError):
        raise InputError(
            path, "it holds no key", hint="A key is 64 hexadecimal digits; name a new file"
        ) from None
    if not KEY_BYTES_MIN <= len(key) <= _BLOCK_BYTES:
        raise InputError(path, f"the key has {len(key)} bytes", hint="Name a new file")
    return key
