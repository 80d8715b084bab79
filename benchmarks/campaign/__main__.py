"""Measure ``numroute route`` beside pyarrow's reading and writing of the same file.

``make bench-campaign``: ten million rows, CSV and Parquet, answers checked. What memory a list of a
hundred million takes (8 GB of disk for it, 6 GB for the outputs, 10 minutes):
``python -m benchmarks.campaign --rows 100000000 --only-csv --rounds 1 --results FILE``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from benchmarks.campaign.prepare import PIECE_ROWS, ensure
from benchmarks.campaign.running import check, route, yardstick
from benchmarks.children import Finished, end_on_sigterm, in_own_process
from benchmarks.machine import CpuUse, facts

ROWS = 10_000_000
PORTED = 1_000_000
ROUNDS = 3
FORMS = ("csv", "parquet")
SHARES = {"csv": 0.35, "parquet": 1.5 * 0.35}
"""Target: the share of pyarrow's speed when it only reads and writes the same file."""

RATES = {"csv": 1_000_000, "parquet": 1_500_000}
"""Target: rows a second, on a machine of two cores."""

PEAK_BYTES_MAX = 2 * 10**9
"""Target: memory of any list of up to 100 million rows."""

RESULTS = Path(__file__).parent.parent / "results"


def main(arguments: list[str]) -> None:
    """Measure, print the table, write the results."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(prog="benchmarks.campaign", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--ported", type=int, default=PORTED)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--work", type=Path, default=Path("bench-data") / "campaign")
    parser.add_argument("--results", type=Path, default=RESULTS / "campaign")
    parser.add_argument("--only-csv", action="store_true", help="leave Parquet out")
    options = parser.parse_args(arguments)
    forms = FORMS[:1] if options.only_csv else FORMS
    if options.rows > PIECE_ROWS and options.rows % PIECE_ROWS:
        parser.error(f"--rows above {PIECE_ROWS:,} must be a multiple of it")
    # pyarrow's side holds the whole table in memory.
    has_yardstick = options.rows <= PIECE_ROWS
    material = in_own_process(ensure, options.work, options.rows, options.ported, forms)
    before = CpuUse.now()
    times: dict[str, dict[str, list[float]]] = {
        form: {"pyarrow": [], "numroute": []} for form in forms
    }
    memory: dict[str, int] = {}
    for turn in range(options.rounds):
        for form in forms:
            print(f"round {turn + 1} of {options.rounds}: {form}", file=sys.stderr)
            if has_yardstick:
                times[form]["pyarrow"].append(
                    in_own_process(yardstick, form, material, options.work / "yardstick")
                )
            out = options.work / f"out-{form}"
            done: Finished = in_own_process(route, form, material, out)
            times[form]["numroute"].append(done.seconds)
            memory[form] = max(memory.get(form, 0), done.peak_rss_bytes)
    others = CpuUse.now().others_share(before)
    for form in forms:
        in_own_process(check, material, options.work / f"out-{form}")
    results = {
        "rows": options.rows,
        "ported": options.ported,
        "machine": facts(),
        "others_share": others,
        "seconds": times,
        "peak_rss_bytes": memory,
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    text = _text(results)
    options.results.with_suffix(".md").write_text(text, "utf-8")
    print(text)


def _text(results: dict) -> str:  # type: ignore[type-arg] - as JSON has it
    rows = results["rows"]
    lines = [
        f"{rows:,} rows of mixed formats with names beside, medians of "
        f"{len(results['seconds']['csv']['numroute'])} rounds; every output read again and "
        "compared with what was planted. "
        + "; ".join(f"{name} {fact}" for name, fact in results["machine"].items())
        + f". CPU time that other processes used meanwhile: {results['others_share']:.0%}.",
        "",
        (
            "| what | time | rows a second | target | pyarrow | share of its speed | target "
            "| peak memory | target |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for form, sides in results["seconds"].items():
        subject = statistics.median(sides["numroute"])
        pyarrow = share = "not measured"
        if sides["pyarrow"]:
            pyarrow = f"{statistics.median(sides['pyarrow']):.2f} s"
            ratios = [a / b for a, b in zip(sides["pyarrow"], sides["numroute"], strict=True)]
            share = f"{statistics.median(ratios):.2f}"
        lines.append(
            f"| {form} to {form} | {subject:.2f} s | {rows / subject:,.0f} | ≥ {RATES[form]:,} "
            f"| {pyarrow} | {share} | ≥ {SHARES[form]:.3g} "
            f"| {results['peak_rss_bytes'][form] / 1e6:,.0f} MB "
            f"| ≤ {PEAK_BYTES_MAX / 1e6:,.0f} MB |"
        )
    lines += [
        "",
        (
            "pyarrow only reads the list and writes it again. "
            f"Targets are for {ROWS:,} rows and more; "
            "those of Parquet are one and a half times those of CSV."
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
