"""SHA-256 of bytes in memory and of files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_READ_BYTES = 1 << 20


def sha256(data: bytes | memoryview) -> bytes:
    """Return the digest of bytes in memory, 32 bytes."""
    return hashlib.sha256(data).digest()


def sha256_file(path: Path, length: int) -> bytes:
    """Return the digest of the first ``length`` bytes of a file, 32 bytes."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_READ_BYTES))
    with path.open("rb", buffering=0) as file:
        while length and (count := file.readinto(buffer[: min(length, _READ_BYTES)])):
            digest.update(buffer[:count])
            length -= count
    return digest.digest()
