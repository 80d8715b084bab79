"""Prove that a snapshot file is, byte for byte, what was written, and that it makes sense."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from numroute.errors import SnapshotCorruptError
from numroute.index.digest import sha256, sha256_file
from numroute.index.environment import REBUILD_HINT, open_environment, read_seal
from numroute.index.snapshot import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from numroute.index.content import Metadata


def verify_snapshot(path: Path) -> Metadata:
    """Read the whole file and check every digest; return the metadata.

    Raises SnapshotCorruptError naming the arrays that differ, SnapshotVersionError or
    StoreAccessError.
    """
    # The values and the whole file are two looks at every byte: side by side.
    with Snapshot(path) as snapshot, ThreadPoolExecutor(1) as pool:
        # From the disk: an environment that others had open already knows only its own seal.
        seal = read_seal(path)
        whole = pool.submit(sha256_file, path, seal.environment_bytes)
        environment = open_environment(path)
        try:
            damaged = [
                key
                for key, spec in snapshot.value_specs.items()
                if key not in environment.values
                or sha256(environment.values[key]).hex() != spec.sha256
            ]
        finally:
            environment.release()
    if damaged:
        raise SnapshotCorruptError(
            path, f"{', '.join(damaged)}: not what was written", hint=REBUILD_HINT
        )
    if whole.result() != seal.environment_sha256:
        raise SnapshotCorruptError(
            path, "bytes outside the arrays are not what was written", hint=REBUILD_HINT
        )
    return snapshot.metadata
