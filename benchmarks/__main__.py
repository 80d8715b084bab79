"""``python -m benchmarks [AREA | AREA.BENCHMARK]...``: measure, check every answer, report.

Without names everything runs except the soak, which takes as long as ``--minutes`` says.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import lists, micro, service, web, yardsticks
from benchmarks.material import Material, make_material
from benchmarks.plots import draw
from benchmarks.processes import ROOT
from benchmarks.report import SECONDS_MIN, Figure, Report
from numroute.errors import NumrouteError
from numroute.plan.table import OtherWork

WORK = ROOT / ".benchmarks"
RESULTS = ROOT / "benchmarks" / "results"
SOAK = "service.soak"
SCALES = {"quick": (1_000_000, 6.0, 6), "full": (50_000_000, 60.0, 40)}
"""Ported numbers, the seconds that each benchmark measures for, and the minutes of the whole."""

OVERHEAD = 2.5
"""How many times its seconds a benchmark takes, with the starts of its servers and its checks."""

Benchmark = Callable[[Material, float], Sequence[Figure]]
BENCHMARKS: dict[str, Benchmark] = {
    f"{area.__name__.rpartition('.')[2]}.{name}": benchmark
    for area in (micro, service, web, lists, yardsticks)
    for name, benchmark in area.BENCHMARKS.items()
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit status."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _stop)
    ported, seconds, minutes = SCALES[options.scale]
    end = time.monotonic() + 60 * minutes
    name = options.scale
    if options.ported:
        ported, name = options.ported, f"{options.ported // 10**6}m"
    try:
        material = make_material(options.work / name, ported)
        run(
            material,
            {name: options.minutes * 60 if name == SOAK else seconds for name in options.names},
            Report(scale=name, notes=[material.note]),
            options.out,
            None if SOAK in options.names else end,
        )
    except NumrouteError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmarks: interrupted; the report has what was measured", file=sys.stderr)
        return 130
    return 0


def run(
    material: Material,
    seconds: dict[str, float],
    report: Report,
    out: Path,
    end: float | None = None,
) -> Report:
    """Run benchmarks for these many seconds each, and write the report after each of them.

    On a slow or busy machine they get less, so that the last one is over by ``end`` (monotonic) or
    soon after it: each measures at least twice.
    """
    if not material.real_plan:
        print("the reference data are missing: measuring over a generated plan", file=sys.stderr)
    for place, (name, wanted) in enumerate(seconds.items()):
        print(f"{name} ...", file=sys.stderr, flush=True)
        begin, others = time.monotonic(), OtherWork()
        budget = wanted
        if end is not None:
            left = (end - begin) / (len(seconds) - place) / OVERHEAD
            budget = min(wanted, max(SECONDS_MIN, left))
        report.figures += BENCHMARKS[name](material, budget)
        report.seconds[name] = round(time.monotonic() - begin, 1)
        report.others[name] = others.share()
        report.complete = name == list(seconds)[-1]
        report.write(out, report.scale)
    draw(report.figures, out / f"{report.scale}.svg")
    print(report.text())
    return report


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="AREA", help=", ".join(BENCHMARKS))
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument(
        "--quick",
        dest="scale",
        action="store_const",
        const="quick",
        default="quick",
        help="1 million ported numbers, 6 minutes (the default)",
    )
    scale.add_argument(
        "--full",
        dest="scale",
        action="store_const",
        const="full",
        help="50 million ported numbers, 40 minutes, 12 GB of disk",
    )
    parser.add_argument("--ported", type=int, help="another number of ported numbers")
    parser.add_argument("--minutes", type=float, default=60, help="length of the soak")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for what is made and kept")
    parser.add_argument("--out", type=Path, help="folder of the report; WORK/results by default")
    parser.add_argument(
        "--commit-results",
        action="store_true",
        help="write the report to benchmarks/results, over the committed one",
    )
    given = parser.parse_args(arguments)
    given.work = given.work.resolve()
    if given.commit_results and given.out:
        parser.error("--commit-results does not go with --out")
    given.out = RESULTS if given.commit_results else (given.out or given.work / "results").resolve()
    given.names = [
        name
        for name in BENCHMARKS
        if name in given.names
        or (name.partition(".")[0] in given.names and name != SOAK)
        or (not given.names and name != SOAK)
    ]
    if not given.names:
        parser.error(f"name an area or a benchmark of: {', '.join(BENCHMARKS)}")
    return given


def _stop(*_: object) -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that its children are stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
