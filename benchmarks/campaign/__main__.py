"""Measure ``numroute route`` beside pyarrow's reading and writing of the same file.

``make bench-campaign``: ten million rows, CSV and Parquet, answers checked after every run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from benchmarks.campaign.prepare import Material, ensure
from benchmarks.campaign.running import check, digest, kill_and_resume, route, yardstick
from benchmarks.children import Finished, end_on_sigterm, in_own_process
from benchmarks.machine import CpuUse, facts

ROWS = 10_000_000
PORTED = 1_000_000
ROUNDS = 3
FORMS = ("csv", "parquet")
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
    parser.add_argument("--no-resume", action="store_true", help="leave kill and resume out")
    options = parser.parse_args(arguments)
    material = in_own_process(ensure, options.work, options.rows, options.ported)
    before = CpuUse.now()
    times: dict[str, dict[str, list[float]]] = {
        form: {"pyarrow": [], "numroute": []} for form in FORMS
    }
    memory: dict[str, int] = {}
    for turn in range(options.rounds):
        for form in FORMS:
            print(f"round {turn + 1} of {options.rounds}: {form}", file=sys.stderr)
            times[form]["pyarrow"].append(
                in_own_process(yardstick, form, material, options.work / "yardstick")
            )
            out = options.work / f"out-{form}"
            done: Finished = in_own_process(route, form, material, out)
            times[form]["numroute"].append(done.seconds)
            memory[form] = max(memory.get(form, 0), done.peak_rss_bytes)
    others = CpuUse.now().others_share(before)
    for form in FORMS:
        in_own_process(check, form, material, options.work / f"out-{form}")
    resumed = {} if options.no_resume else _resumed(material, options.work)
    results = {
        "rows": options.rows,
        "ported": options.ported,
        "machine": facts(),
        "others_share": others,
        "seconds": times,
        "peak_rss_bytes": memory,
        "resumed_seconds": resumed,
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    text = _text(results)
    options.results.with_suffix(".md").write_text(text, "utf-8")
    print(text)


def _resumed(material: Material, work: Path) -> dict[str, float]:
    """Kill and resume a run of each form; its outputs must be the uninterrupted run's."""
    seconds = {}
    for form in FORMS:
        out = work / "out-resumed"
        seconds[form] = in_own_process(kill_and_resume, form, material, out)
        assert in_own_process(digest, out) == in_own_process(digest, work / f"out-{form}")
    return seconds


def _text(results: dict) -> str:  # type: ignore[type-arg] - as JSON has it
    rows = results["rows"]
    lines = [
        f"{rows:,} rows of mixed formats with names beside, medians of "
        f"{len(results['seconds']['csv']['numroute'])} rounds; every output read again and "
        "compared with what was planted. "
        + "; ".join(f"{name} {fact}" for name, fact in results["machine"].items())
        + f". CPU time that other processes used meanwhile: {results['others_share']:.0%}.",
        "",
        "| what | time | rows a second | pyarrow reads and writes it | share | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for form, sides in results["seconds"].items():
        subject = statistics.median(sides["numroute"])
        share = statistics.median(
            pyarrow / ours
            for pyarrow, ours in zip(sides["pyarrow"], sides["numroute"], strict=True)
        )
        lines.append(
            f"| {form} to {form} | {subject:.2f} s | {rows / subject:,.0f} "
            f"| {statistics.median(sides['pyarrow']):.2f} s | {share:.2f} "
            f"| {results['peak_rss_bytes'][form] / 1e6:,.0f} MB |"
        )
    for form, seconds in results["resumed_seconds"].items():
        lines.append("")
        lines.append(
            f"Killed with SIGKILL after the first final part and resumed, {form}: {seconds:.2f} s "
            "for the rest, every output byte for byte that of an uninterrupted run."
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
