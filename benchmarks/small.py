"""A small generated registry with its oracle and its snapshot, for one layer at a time.

Everything is made up, the plan too: no reference data are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.children import BIN, run_measured
from benchmarks.oracle_files import read_truth
from benchmarks.plans import Plans
from benchmarks.queries import Queries
from benchmarks.registry import DATE, SEED, Registry
from numroute.index import SnapshotStore

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.oracle import Truth
    from numroute.index import Snapshot
    from numroute.model import Route

PORTED = 20_000
BATCH = 65_536
PLAN_NAMES = ("DEF-9xx.csv", "ABC-3xx.csv", "ABC-4xx.csv", "ABC-8xx.csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """Files, what they say, a store with their snapshot, and numbers to ask for.

    ``queries`` holds ``BATCH`` numbers: a quarter ported, the others anywhere around the plan.
    """

    registry: Registry
    truth: Truth
    store: SnapshotStore
    queries: Queries

    def part(self, count: int) -> Queries:
        """Return the first ``count`` of the queries."""
        return Queries(numbers=self.queries.numbers[:count], expected=self.queries.expected[:count])


def make_small(folder: Path) -> Small:
    """Generate, read with the oracle, and build."""
    files, store = folder / "registry", folder / "store"
    run_measured(
        [
            *(BIN / "numroute-load", "generate", files, "--csv"),
            *("--ported", str(PORTED), "--seed", str(SEED), "--date", DATE),
        ]
    )
    (port_all,) = files.glob("Port_All_*.csv")
    (operators,) = files.glob("Operators_*.csv")
    mobile, *fixed = (files / name for name in PLAN_NAMES)
    registry = Registry(
        port_all=port_all,
        operators=operators,
        plans=Plans(mobile=mobile, fixed=tuple(fixed)),
        ported=PORTED,
    )
    run_measured([BIN / "numroute-load", "build", "--store", store, *registry.paths])
    truth = read_truth(registry)
    return Small(
        registry=registry, truth=truth, store=SnapshotStore(store), queries=_queries(truth)
    )


def all_routes(snapshot: Snapshot) -> list[Route]:
    """Return the route table of a snapshot."""
    return [snapshot.route(row) for row in range(snapshot.route_count)]


def _queries(truth: Truth) -> Queries:
    rng = np.random.default_rng(SEED)
    ported = rng.choice(truth.ported, BATCH // 4)
    around = rng.integers(int(truth.first[0]), int(truth.last[-1]), BATCH - len(ported))
    numbers = np.concatenate((ported, around.astype(np.uint64)))
    rng.shuffle(numbers)
    return Queries(numbers=numbers, expected=truth.expected(numbers))
