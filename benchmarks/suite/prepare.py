"""What every step needs of an index of one size: files, oracle, questions and snapshots."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

from benchmarks.children import BIN, in_own_process, run_measured
from benchmarks.queries import ensure_queries
from benchmarks.registry import MANIFEST, ensure_registry, require_room
from benchmarks.suite.scale import query_count
from numroute.index import SnapshotStore

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.plans import Plans
    from benchmarks.registry import Registry
    from benchmarks.suite.scale import Scale

SNAPSHOTS_MAIN = 2
"""Snapshots of the main size: one to serve and one to change to."""


def prepare(scale: Scale, plans: Plans) -> None:
    """Make what is not there yet, for every size.

    Raises:
        SettingError: Disk or memory is too small; nothing has been made then.
    """
    require_room(scale.work, sum(scale.sizes))
    for ported in scale.sizes:
        folder = scale.folder(ported)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        registry = ensure_registry(folder, plans, ported)
        in_own_process(ensure_queries, folder, registry, query_count(ported))
        _ensure_store(folder, registry, SNAPSHOTS_MAIN if ported == scale.main else 1)


def store_of(scale: Scale, ported: int) -> Path:
    """Return the snapshot store of one size."""
    return _store(scale.folder(ported))


def _store(folder: Path) -> Path:
    return folder / "suite-store"


def _ensure_store(folder: Path, registry: Registry, snapshots: int) -> None:
    store = _store(folder)
    manifest = store / MANIFEST
    wanted = json.loads((registry.port_all.parent / MANIFEST).read_text("utf-8"))
    if manifest.is_file() and json.loads(manifest.read_text("utf-8")) == wanted:
        missing = snapshots - len(SnapshotStore(store).ids())
    else:
        shutil.rmtree(store, ignore_errors=True)
        missing = snapshots
    for _ in range(missing):
        print(f"building a snapshot of {registry.ported:,} ported numbers", file=sys.stderr)
        run_measured([BIN / "numroute-load", "build", "--store", store, *registry.paths])
    manifest.write_text(json.dumps(wanted), "utf-8")
