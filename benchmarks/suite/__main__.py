"""``python -m benchmarks.suite``: measure what a plan for capacity needs to know, in one run."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.children import end_on_sigterm, in_own_process
from benchmarks.machine import CpuUse, facts
from benchmarks.plans import ROOT, find_plans
from benchmarks.suite import in_process, latency, memory, over_grpc, plots, stores
from benchmarks.suite.prepare import prepare
from benchmarks.suite.results import Results
from benchmarks.suite.scale import full, quick
from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.suite.results import Row
    from benchmarks.suite.scale import Scale

RESULTS_DEFAULT = ROOT / "benchmarks" / "results"
WORK_DEFAULT = ROOT / ".benchmarks" / "speed"

STEPS: dict[str, Callable[[Scale], list[Row]]] = {
    "in process, batch size": in_process.over_batches,
    "other stores": stores.over_batches,
    "in process, kinds of numbers": in_process.over_kinds,
    "in process, index size": in_process.over_sizes,
    "page cache": in_process.over_page_cache,
    "gRPC, batch size": over_grpc.over_batches,
    "gRPC, server processes": over_grpc.over_processes,
    "latency under load": latency.under_load,
    "change of snapshot": latency.during_change,
    "memory": memory.measure,
}
"""Each runs in a process of its own, which no other step has filled with memory or threads."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; return the exit status."""
    scale, results = _options(arguments)
    end_on_sigterm()
    try:
        run(scale, results)
    except NumrouteError as error:
        print(f"benchmarks.suite: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit):
        print(f"benchmarks.suite: interrupted; {results} has what was measured", file=sys.stderr)
        return 1
    return 0


def run(scale: Scale, folder: Path) -> Results:
    """Take every step, and write what is known after each."""
    results = Results(name=scale.name, facts=facts())
    plans = find_plans()
    begin = time.perf_counter()
    prepare(scale, plans)
    results.seconds["preparing"] = time.perf_counter() - begin
    for name, step in STEPS.items():
        print(name, file=sys.stderr)
        begin, before = time.perf_counter(), CpuUse.now()
        results.rows += in_own_process(step, scale)
        results.others[name] = CpuUse.now().others_share(before)
        results.seconds[name] = time.perf_counter() - begin
        results.complete = name == list(STEPS)[-1]
        results.write(folder)
    plots.write(results.document(), folder)
    print(results.text())
    return results


def _options(arguments: Sequence[str] | None) -> tuple[Scale, Path]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description=__doc__)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="1 and 10 million; under 3 minutes")
    size.add_argument("--full", action="store_true", help="up to 50 million; under 20 minutes")
    parser.add_argument("--with-100m", action="store_true", help="100 million too, with --full")
    parser.add_argument("--work", type=Path, default=WORK_DEFAULT, help="folder for what is made")
    parser.add_argument(
        "--results", type=Path, default=RESULTS_DEFAULT, help="folder for tables and plots"
    )
    given = parser.parse_args(arguments)
    work: Path = given.work.resolve()
    if given.with_100m and not given.full:
        parser.error("--with-100m goes with --full")
    return quick(work) if given.quick else full(work, with_100m=given.with_100m), given.results


if __name__ == "__main__":
    sys.exit(main())
