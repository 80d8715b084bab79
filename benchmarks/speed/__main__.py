"""``python -m benchmarks.speed``: measure all that is promised for speed and size, in one run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.children import end_on_sigterm, in_own_process
from benchmarks.machine import CpuUse, facts
from benchmarks.plans import ROOT, find_plans
from benchmarks.queries import ensure_queries
from benchmarks.registry import ensure_registry, require_room
from benchmarks.speed import building, calls, kernel, starting
from benchmarks.speed.calls import NUMBERS_PER_CALL
from benchmarks.speed.options import PORTED_DEFAULT, QUERIES_DEFAULT, Options
from benchmarks.speed.report import Report, quote
from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.figures import Figure

BENCHMARKS = ROOT / "benchmarks"
WORK_DEFAULT = ROOT / ".benchmarks" / "speed"
PORTED_MIN = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    options, results = _options(arguments)
    end_on_sigterm()
    try:
        run(options, results)
    except NumrouteError as error:
        print(f"benchmarks.speed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"benchmarks.speed: interrupted; {results} has what was measured", file=sys.stderr)
        return 1
    return 0


def run(options: Options, results: Path) -> Report:
    """Measure every step, and write what is known after each."""
    report = Report(options=options, facts=facts())
    plans = find_plans()
    require_room(options.work, options.ported)
    registry = ensure_registry(options.work, plans, options.ported)
    in_own_process(ensure_queries, options.work, registry, options.queries)
    steps: dict[str, Callable[[], list[Figure]]] = {
        "building": lambda: building.measure(options, registry),
        "starting": lambda: in_own_process(starting.measure, options),
        "looking up in process": lambda: in_own_process(kernel.measure, options),
        "looking up over gRPC": lambda: in_own_process(calls.measure, options),
    }
    for name, step in steps.items():
        print(name, file=sys.stderr)
        before = CpuUse.now()
        report.figures += step()
        report.others[name] = CpuUse.now().others_share(before)
        report.complete = name == list(steps)[-1]
        report.write(results)
    print(report.text())
    if results == BENCHMARKS / "results":
        quote(BENCHMARKS / "README.md", report.text())
    return report


def _options(arguments: Sequence[str] | None) -> tuple[Options, Path]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--ported", type=int, default=PORTED_DEFAULT)
    parser.add_argument("--queries", type=int, default=QUERIES_DEFAULT, help="numbers per set")
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of each measurement")
    parser.add_argument("--work", type=Path, default=WORK_DEFAULT, help="folder for what is made")
    parser.add_argument(
        "--results",
        type=Path,
        help="folder for speed.json and speed.md; benchmarks/results at full size, else WORK",
    )
    given = parser.parse_args(arguments)
    if given.ported < PORTED_MIN:
        parser.error(f"--ported must be at least {PORTED_MIN:,}")
    if given.queries < NUMBERS_PER_CALL:
        parser.error(f"--queries must be at least {NUMBERS_PER_CALL:,}")
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    options = Options(
        work=given.work.resolve(),
        ported=given.ported,
        queries=given.queries,
        rounds=given.rounds,
    )
    full = given.ported == PORTED_DEFAULT and given.queries == QUERIES_DEFAULT
    return options, given.results or (BENCHMARKS / "results" if full else options.work)


if __name__ == "__main__":
    sys.exit(main())
