"""A generated registry over the real mobile plan, kept in the work folder for the next run."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.children import BIN, run_measured
from benchmarks.machine import memory_bytes
from numroute.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.plans import Plans

SEED = 1
DATE = "2026-04-01"
MANIFEST = "manifest.json"

WORK_BYTES_PER_PORTED = 110
"""Disk: a row of the dump 60, the arrays of the oracle 12, a snapshot 10, with room to spare."""
WORK_BYTES = 2 * 10**9
"""Disk that every size needs: the plan's part of a snapshot, and the database of the yardstick."""
MEMORY_BYTES_PER_PORTED = 160
"""Memory of the hungriest step, which holds the whole dump as an Arrow table."""
MEMORY_BYTES = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The files that a snapshot is built from.

    ``ported`` is the number of rows of the dump ``port_all``.
    """

    port_all: Path
    operators: Path
    plans: Plans
    ported: int

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, as ``numroute-load build`` takes them."""
        return (self.port_all, self.operators, *self.plans.paths)


def require_room(work: Path, ported: int) -> None:
    """Refuse a size that does not fit, before anything is made.

    Raises:
        SettingError: Disk or memory is too small; says how much is needed.
    """
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    for what, needed, there in (
        ("disk", WORK_BYTES + ported * WORK_BYTES_PER_PORTED, _free(work) + kept),
        (
            "memory",
            MEMORY_BYTES + ported * MEMORY_BYTES_PER_PORTED,
            memory_bytes("MemAvailable"),
        ),
    ):
        if there < needed:
            raise SettingError(
                f"{ported:,} ported numbers need {needed / 1e9:.1f} GB of {what}; "
                f"{there / 1e9:.1f} GB are free",
                hint="Give a smaller --ported, or --work on a larger disk",
            )


def ensure_registry(work: Path, plans: Plans, ported: int) -> Registry:
    """Return a registry of so many ported numbers, generated unless the last one was the same."""
    folder = work / "registry"
    wanted = {"ported": ported, "seed": SEED, "date": DATE, "plans": plans.digest()}
    manifest = folder / MANIFEST
    if not manifest.is_file() or json.loads(manifest.read_text("utf-8")) != wanted:
        print(f"generating {ported:,} ported numbers", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        run_measured(
            [
                *(BIN / "numroute-load", "generate", folder, "--csv"),
                *("--ported", str(ported), "--seed", str(SEED), "--date", DATE),
                *("--plan", plans.mobile),
            ]
        )
        # Written last: what an interrupted run leaves is not taken for a whole registry.
        manifest.write_text(json.dumps(wanted), "utf-8")
    (port_all,) = folder.glob("Port_All_*.csv")
    (operators,) = folder.glob("Operators_*.csv")
    return Registry(port_all=port_all, operators=operators, plans=plans, ported=ported)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
