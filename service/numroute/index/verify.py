"""Prove that a snapshot file is, byte for byte, what was written, and that it makes sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.errors import SnapshotCorruptError
from numroute.index.digest import sha256, sha256_file
from numroute.index.environment import REBUILD_HINT, open_environment, read_seal
from numroute.index.layout import META
from numroute.index.metadata import decode_metadata
from numroute.index.snapshot import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from numroute.index.content import Metadata


def verify_snapshot(path: Path) -> Metadata:
    """Read the whole file and check every digest; return the metadata.

    Raises SnapshotCorruptError naming the arrays that differ, SnapshotVersionError or
    StoreAccessError.
    """
    with Snapshot(path) as snapshot:
        metadata = snapshot.metadata
    seal = read_seal(path)
    damaged = _damaged_values(path)
    if damaged:
        raise SnapshotCorruptError(
            path, f"{', '.join(damaged)}: not what was written", hint=REBUILD_HINT
        )
    if sha256_file(path, seal.environment_bytes) != seal.environment_sha256:
        raise SnapshotCorruptError(
            path, "bytes outside the arrays are not what was written", hint=REBUILD_HINT
        )
    return metadata


def _damaged_values(path: Path) -> list[str]:
    """Return the keys whose value does not have the digest that the metadata give it."""
    environment = open_environment(path)
    try:
        _, specs = decode_metadata(bytes(environment.values[META]))
        return [
            key
            for key, spec in specs.items()
            if key not in environment.values or sha256(environment.values[key]).hex() != spec.sha256
        ]
    finally:
        environment.release()
