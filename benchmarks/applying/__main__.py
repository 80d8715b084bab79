"""``python -m benchmarks.applying``: apply one window to a large snapshot, beside a full build."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.applying.measuring import CHANGES, measure
from benchmarks.children import end_on_sigterm
from benchmarks.figures import Figure, markdown
from benchmarks.machine import CpuUse, facts
from benchmarks.plans import ROOT, find_plans
from benchmarks.registry import ensure_registry, require_room
from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Sequence


PORTED_DEFAULT = 50_000_000
OTHERS_SHARE_MAX = 0.05
"""As in ``benchmarks.speed``: more CPU time than this of other work disturbs the figures."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.applying", description=__doc__)
    parser.add_argument("--ported", type=int, default=PORTED_DEFAULT)
    parser.add_argument("--builds", type=int, default=3, help="repetitions of the build")
    parser.add_argument("--rounds", type=int, default=7, help="repetitions of the application")
    parser.add_argument("--work", type=Path, default=ROOT / ".benchmarks" / "speed")
    parser.add_argument("--results", type=Path, help="folder for apply.json and apply.md")
    given = parser.parse_args(arguments)
    end_on_sigterm()
    full = given.ported == PORTED_DEFAULT
    results = given.results or (ROOT / "benchmarks" / "results" if full else given.work)
    try:
        run(given.work.resolve(), given.ported, given.builds, given.rounds, results)
    except NumrouteError as error:
        print(f"benchmarks.applying: {error}", file=sys.stderr)
        return 1
    return 0


def run(work: Path, ported: int, builds: int, rounds: int, results: Path) -> list[Figure]:
    """Build, apply, check the answers, and write the results."""
    require_room(work, ported)
    registry = ensure_registry(work, find_plans(), ported)
    before = CpuUse.now()
    store, applied = work / "apply-base", work / "apply-store"
    figures = measure(registry, store, applied, work / "apply-window", builds, rounds)
    others = CpuUse.now().others_share(before)
    for folder in (store, applied):
        shutil.rmtree(folder, ignore_errors=True)
    results.mkdir(parents=True, exist_ok=True)
    text = _text(figures, ported, builds, rounds, others)
    document = {
        "ported": ported,
        "changes": CHANGES,
        "machine": facts(),
        "others_cpu_share": others,
        "figures": [figure.document() for figure in figures],
    }
    (results / "apply.json").write_text(
        json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8"
    )
    (results / "apply.md").write_text(text, "utf-8")
    print(text)
    return figures


def _text(figures: Sequence[Figure], ported: int, builds: int, rounds: int, others: float) -> str:
    lines = [
        f"One window of {CHANGES:,} changes applied to {ported:,} ported numbers with times; "
        f"medians of {builds} builds and {rounds} applications. "
        + "; ".join(f"{name} {fact}" for name, fact in facts().items())
        + f". CPU time that other processes used meanwhile: {others:.0%}.",
    ]
    if others > OTHERS_SHARE_MAX:
        lines.append("**Other work was running: these figures are not clean.**")
    return "\n\n".join(lines) + "\n\n" + markdown(figures)


if __name__ == "__main__":
    sys.exit(main())
