"""What the benchmarks measure with, made once and kept: a registry, a store, the oracle.

The plan is the real one where the reference data are, and a generated one elsewhere.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle import Truth, read_truth
from benchmarks.processes import BIN, ROOT, run
from numroute.errors import SettingError
from numroute.index import SnapshotStore
from numroute.plan.table import memory_bytes

VARIABLE = "NUMROUTE_REFERENCE_DATA"
MOBILE_PLAN = "numbering_plan/2026-04/DEF-9xx.csv"
FIXED_PLANS = tuple(f"numbering_plan/2021-04/Kody_ABC-{part}kh.csv" for part in (3, 4, 8))

SEED = 1
DATE = "2026-04-02"
CHANGES = 2_000
"""Rows of one window of increments; fewer where fewer numbers are ported."""

PORTED_SHARE = 0.07
"""Share of ported numbers in the real mix: 50 million of 0.7 thousand million mobile numbers."""

DISK_BYTES, DISK_BYTES_PER_PORTED = 2 * 10**9, 110
MEMORY_BYTES, MEMORY_BYTES_PER_PORTED = 10**9, 160
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A registry with a store that holds its snapshot, and what the files say.

    ``window``: the files of the increments that follow the dump, of one window. ``real_plan``:
    whether the numbering plan is the real one. ``work``: a folder for what a benchmark makes.
    """

    work: Path
    dump: Path
    operators: Path
    plans: Sequence[Path]
    window: Sequence[Path]
    store: Path
    truth: Truth
    real_plan: bool

    @property
    def registry(self) -> tuple[Path, ...]:
        """All files, as ``numroute-load build`` takes them."""
        return (self.dump, self.operators, *self.plans)

    @property
    def snapshot(self) -> Path:
        """The file of the store's current snapshot."""
        store = SnapshotStore(self.store)
        return store.snapshot_path(store.current_id())

    @property
    def note(self) -> str:
        """What the registry is, for the report."""
        plan = "the real numbering plan" if self.real_plan else "a generated numbering plan"
        return f"{len(self.truth.ported):,} generated ported numbers over {plan}"

    def draw(
        self, count: int, *, share: float = PORTED_SHARE, seed: int = 0, fixed: bool = False
    ) -> NDArray[np.uint64]:
        """Return numbers in no order: this share of them ported, the others of the plan."""
        rng = np.random.default_rng(seed)
        ported = rng.choice(self.truth.ported, round(count * share))
        of_plan = (self.truth.first < 79 * 10**9) == fixed
        first, last = self.truth.first[of_plan], self.truth.last[of_plan]
        ends = np.cumsum((last - first + np.uint64(1)).astype(np.int64))
        places = rng.integers(0, ends[-1], count - len(ported))
        piece = np.searchsorted(ends, places, side="right")
        others = last[piece] - (ends[piece] - 1 - places).astype(np.uint64)
        numbers = np.concatenate((ported, others))
        rng.shuffle(numbers)
        return numbers


def make_material(work: Path, ported: int) -> Material:
    """Return the material in this folder, made unless the last run made the same.

    Raises SettingError when disk or memory do not suffice.
    """
    real = _real_plans()
    changes = min(CHANGES, ported // 10)
    wanted = {"ported": ported, "seed": SEED, "date": DATE, "changes": changes, "real": bool(real)}
    manifest = work / _MANIFEST
    files, store = work / "registry", work / "store"
    if not manifest.is_file() or json.loads(manifest.read_text("utf-8")) != wanted:
        _require_room(work, ported)
        print(f"making a registry of {ported:,} ported numbers", file=sys.stderr)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700, parents=True)
        words = ["--ported", str(ported), "--seed", str(SEED), "--date", DATE, "--csv"]
        words += ["--days", "1", "--first-dump-only", "--changes-per-window", str(changes)]
        for plan in real[:1]:
            words += ["--plan", str(plan)]
        run(BIN / "numroute-load", "generate", files, *words)
    (dump,), (operators,) = files.glob("Port_All_*.csv"), files.glob("Operators_*.csv")
    plans = real or sorted((*files.glob("DEF-*.csv"), *files.glob("ABC-*.csv")))
    if not manifest.is_file():
        run(BIN / "numroute-load", "build", "--store", store, dump, operators, *plans)
        # Written last: what an interrupted run leaves is not mistaken for the whole.
        manifest.write_text(json.dumps(wanted), "utf-8")
    truth = read_truth(dump, plans)
    # What is here to stay need not be looked at again by each garbage collection.
    gc.collect()
    gc.freeze()
    ports = sorted(files.glob("Port_Increment_*.csv"))
    return Material(
        work=work,
        dump=dump,
        operators=operators,
        plans=plans,
        window=(ports[0], ports[0].with_name(ports[0].name.replace("Port", "Return", 1))),
        store=store,
        truth=truth,
        real_plan=bool(real),
    )


def _real_plans() -> list[Path]:
    """Return the real plan's files, the mobile one first; nothing where they are not all there."""
    folder = Path(os.environ.get(VARIABLE, ROOT.parent / "shared" / "data"))
    paths = [folder / name for name in (MOBILE_PLAN, *FIXED_PLANS)]
    return paths if all(path.is_file() for path in paths) else []


def _require_room(work: Path, ported: int) -> None:
    parent = next(path for path in (work, *work.parents) if path.exists())
    for what, needed, free in (
        ("disk", DISK_BYTES + ported * DISK_BYTES_PER_PORTED, shutil.disk_usage(parent).free),
        (
            "memory",
            MEMORY_BYTES + ported * MEMORY_BYTES_PER_PORTED,
            memory_bytes("MemAvailable"),
        ),
    ):
        if free < needed:
            raise SettingError(
                f"{ported:,} ported numbers need {needed / 1e9:.1f} GB of {what}; "
                f"{free / 1e9:.1f} GB are free",
                hint="Run --quick, or give --work on a larger disk",
            )
