"""What the benchmark needs, made once and kept: a store, the lists, the truth."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.campaign.lists import make_list, write_list
from benchmarks.children import BIN, run_measured
from numroute.index import SnapshotStore
from numroute.model import Status

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SEED: Final = 6
STRETCHES: Final = np.array(
    [[79000000000, 79299999999], [79500000000, 79539999999], [79600000000, 79699999999]],
    np.uint64,
)
"""Where the lists' numbers lie; some of them nobody holds."""

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Paths of what was made.

    ``expected`` holds the counts that a run must give, ``numbers`` what each row's text says
    (uint64), ``is_first`` whether its number was not met before (bool).
    """

    store: Path
    csv: Path
    parquet: Path
    expected: Path
    numbers: Path
    is_first: Path


def ensure(work: Path, rows: int, ported: int) -> Material:
    """Return the material for lists of so many rows, made unless the last run made the same."""
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Material(
        store=work / "store",
        csv=work / "list.csv",
        parquet=work / "list.parquet",
        expected=work / "expected.json",
        numbers=work / "numbers.npy",
        is_first=work / "first.npy",
    )
    wanted = {"rows": rows, "ported": ported, "seed": SEED}
    manifest = work / MANIFEST
    if manifest.is_file() and json.loads(manifest.read_text("utf-8")) == wanted:
        return made
    manifest.unlink(missing_ok=True)
    if not made.store.exists():
        registry = work / "registry"
        run_measured(
            [
                *(BIN / "numroute-load", "generate", registry, "--csv"),
                *("--ported", str(ported), "--seed", str(SEED)),
            ]
        )
        run_measured([BIN / "numroute-load", "build", "--store", made.store, registry])
    planted = make_list(rows, STRETCHES, SEED)
    write_list(planted, made.csv)
    write_list(planted, made.parquet)
    np.save(made.numbers, planted.numbers)
    np.save(made.is_first, planted.is_first)
    expected = {
        "rows": rows,
        "rejects": planted.rejects,
        "duplicates": planted.duplicates,
        "routes": _routes(made.store, planted.numbers[planted.is_first]),
    }
    made.expected.write_text(json.dumps(expected), "utf-8")
    # Written last: what an interrupted run leaves is not taken for the whole.
    manifest.write_text(json.dumps(wanted), "utf-8")
    return made


def _routes(store: Path, numbers: NDArray[np.uint64]) -> dict[str, int]:
    """Return how many of the numbers each operator serves, straight from the snapshot."""
    counts: Counter[str] = Counter()
    with SnapshotStore(store).open() as snapshot:
        rows = np.bincount(snapshot.lookup(numbers).route)
        for row in np.flatnonzero(rows).tolist():
            route = snapshot.route(row)
            if route.status in {Status.PORTED, Status.NOT_PORTED}:
                operator = route.operator
                counts[operator.brand or operator.name or operator.code] += int(rows[row])
    return dict(counts)
