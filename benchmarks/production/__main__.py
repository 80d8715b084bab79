"""``python -m benchmarks.production``: scaling, overload, changes of snapshot, in one run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.children import end_on_sigterm
from benchmarks.figures import Figure, markdown
from benchmarks.machine import facts
from benchmarks.production import h2load, overload, scaling, swaps
from benchmarks.production.soak import RESULTS, WORK
from benchmarks.production.vintages import ensure_vintages
from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CORES_MIN = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write what is known after each step."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.production")
    parser.add_argument("--ported", type=int, default=1_000_000, help="ported numbers")
    parser.add_argument("--swaps", type=int, default=swaps.SWAPS)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", choices=("scaling", "overload", "swaps"), help="one step")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    cores = len(os.sched_getaffinity(0))
    end_on_sigterm()
    work = given.work.resolve() / str(given.ported)
    figures: list[Figure] = []
    try:
        vintages = ensure_vintages(work, given.ported)
        steps: dict[str, Callable[[], list[Figure]]] = {
            "scaling": lambda: scaling.measure(vintages, work),
            "overload": lambda: overload.measure(vintages, work),
            "swaps": lambda: swaps.measure(vintages, given.workers, given.swaps),
        }
        for name, step in steps.items():
            if given.only not in {None, name}:
                continue
            if name != "swaps" and (not h2load.available() or cores < CORES_MIN):
                print(
                    f"{name} left out: it takes {CORES_MIN} cores and h2load (nghttp2-client)",
                    file=sys.stderr,
                )
                continue
            print(name, file=sys.stderr)
            figures += step()
            _write(figures, given.ported, given.results)
    except NumrouteError as error:
        print(f"benchmarks.production: {error}", file=sys.stderr)
        return 1
    return 0


def _write(figures: Sequence[Figure], ported: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    machine = facts()
    document = {
        "ported": ported,
        "machine": machine,
        "figures": [figure.document() for figure in figures],
    }
    (folder / "service.json").write_text(
        json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8"
    )
    text = (
        f"# The service in production\n\n{ported:,} ported numbers. "
        + "; ".join(f"{name} {fact}" for name, fact in machine.items())
        + ". The clients ran on the same cores, and took a good part of them.\n\n"
        + markdown(figures)
    )
    (folder / "service.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
