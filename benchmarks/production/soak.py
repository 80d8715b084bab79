"""``python -m benchmarks.production.soak``: an hour of load with a swap each minute.

A service with its worker processes is asked at 70 % of the rate that it was able to answer at the
start, by clients of three kinds; every answer is compared with the right one. What each worker
holds is sampled all the time. What was seen is written even when the run is interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.children import end_on_sigterm
from benchmarks.machine import facts
from benchmarks.plans import ROOT
from benchmarks.production.askers import Asker, Report, Task, ask_all
from benchmarks.production.soak_plot import draw
from benchmarks.production.vintages import BULK, SINGLE, ensure_vintages
from benchmarks.production.workers import holding, production
from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.production.vintages import Vintages
    from benchmarks.production.workers import Production

SHARE = 0.7
"""Of the capacity: the load that is kept up."""

CAPACITY_SECONDS = 10.0
SAMPLE_SECONDS = 10.0
SWAP_SECONDS = 60.0

WARM_SHARE = 0.25
"""The first part of the run, in which caches fill and memory is taken for the first time."""

GROWTH_SHARE_MAX = 0.02
GROWTH_BYTES_MAX = 4 * 1024 * 1024
"""Memory is flat when the line through a worker's private bytes, after the warm part, rises in an
hour by at most 2 % of their mean, or by 4 MiB where that is more."""

VERDICT_MINUTES_MIN = 20.0
"""A shorter run says nothing about memory: the line's slope is mostly noise."""

RESULTS = ROOT / "benchmarks" / "results"
WORK = ROOT / ".benchmarks" / "production"


@dataclass(slots=True, kw_only=True)
class Soak:
    """What a run has seen so far.

    Attributes:
        minutes: How long it is to last.
        workers: How many worker processes there are.
        rates: Calls a second, by client.
        machine: The machine's facts.
        begin: When the load began, on ``time.time``'s clock.
        seconds: How long it has lasted.
        reports: All that each client has seen; latencies are in ``periods`` only.
        periods: Per client and period of SAMPLE_SECONDS: seconds, answers, failed, p50, p99.
        samples: Per process id: seconds, rss, private, files, threads.
        swaps: When another snapshot became current, seconds.
        complete: Whether it lasted as long as it was to.
    """

    minutes: float
    workers: int
    rates: dict[str, float]
    machine: dict[str, str] = field(default_factory=facts)
    begin: float = field(default_factory=time.time)
    seconds: float = 0.0
    reports: dict[str, Report] = field(default_factory=dict)
    periods: dict[str, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))
    samples: dict[int, list[tuple[float, ...]]] = field(default_factory=lambda: defaultdict(list))
    swaps: list[float] = field(default_factory=list)
    complete: bool = False

    def note(self, name: str, report: Report) -> None:
        """Take in what a client reports."""
        now = time.time() - self.begin
        whole = self.reports.setdefault(name, Report())
        if report.answers or report.failed_calls or report.wrong:
            self.periods[name].append(
                (
                    now,
                    report.answers,
                    report.failed_calls,
                    report.percentile_ms(50),
                    report.percentile_ms(99),
                )
            )
        report.due.clear()
        # The latencies of an hour would fill the memory of this process.
        report.latency.clear()
        whole.add(report)

    def growths(self) -> dict[int, tuple[float, float]]:
        """Return per worker how its private bytes rise in an hour, and their mean, once warm.

        Workers that were not there for the whole of that part are left out.
        """
        found = {}
        warm = self.seconds * WARM_SHARE
        for pid, samples in self.samples.items():
            rows = np.array([(row[0], row[2]) for row in samples if row[0] >= warm])
            if len(rows) < 3 or rows[-1, 0] - rows[0, 0] < 0.9 * (self.seconds - warm):
                continue
            slope = np.polyfit(rows[:, 0], rows[:, 1], 1)[0]
            found[pid] = (float(slope) * 3600, float(rows[:, 1].mean()))
        return found

    @property
    def memory_verdict(self) -> str:
        """``flat``, ``grows``, or why neither can be said."""
        if self.seconds < VERDICT_MINUTES_MIN * 60:
            return f"not judged: shorter than {VERDICT_MINUTES_MIN:g} minutes"
        growths = self.growths()
        if len(growths) < self.workers:
            return "not judged: a worker did not live for the whole run"
        flat = all(
            growth <= max(GROWTH_SHARE_MAX * mean, GROWTH_BYTES_MAX)
            for growth, mean in growths.values()
        )
        return "flat" if flat else "grows"

    @property
    def failed(self) -> int:
        """How many calls failed or were answered wrongly."""
        return sum(report.failed_calls + report.wrong for report in self.reports.values())

    def document(self) -> dict[str, Any]:
        """Return all of it as JSON knows it."""
        return {
            "minutes_wanted": self.minutes,
            "seconds": self.seconds,
            "complete": self.complete,
            "workers": self.workers,
            "machine": self.machine,
            "share_of_capacity": SHARE,
            "calls_per_second": self.rates,
            "swaps": self.swaps,
            "failed_or_wrong": self.failed,
            "memory": self.memory_verdict,
            "growth_bytes_per_hour": {
                str(pid): growth for pid, (growth, _mean) in self.growths().items()
            },
            "clients": {
                name: {
                    "answers": report.answers,
                    "wrong": report.wrong,
                    "failed": dict(report.failed),
                    "failures": report.failures,
                    "by_snapshot": dict(report.by_snapshot),
                }
                for name, report in self.reports.items()
            },
            "periods": {
                "columns": ["seconds", "answers", "failed", "p50_ms", "p99_ms"],
                "rows": self.periods,
            },
            "samples": {
                "columns": ["seconds", "rss", "private", "files", "threads"],
                "rows": {str(pid): rows for pid, rows in self.samples.items()},
            },
        }

    def text(self) -> str:
        """Return the report as Markdown."""
        lines = [
            f"# Soak: {self.seconds / 60:.1f} minutes at {SHARE:.0%} of the capacity",
            "",
            f"{self.workers} workers, {len(self.swaps)} changes of snapshot. "
            + "; ".join(f"{name} {fact}" for name, fact in self.machine.items())
            + ". The clients ran on the same cores.",
            "",
        ]
        if not self.complete:
            lines += [f"**Interrupted: {self.minutes:g} minutes were to be run.**", ""]
        lines += [
            f"**Failed or wrong calls: {self.failed}. Memory: {self.memory_verdict}.**",
            "",
            "| client | calls/s | right answers | failed | wrong | p50 | p99 | worst 10 s p99 |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, report in self.reports.items():
            rows = np.array(self.periods[name] or [(0.0,) * 5])
            lines.append(
                f"| {name} | {self.rates[name]:,.0f} | {report.answers:,} | "
                f"{report.failed_calls} | {report.wrong} | {np.median(rows[:, 3]):.1f} ms | "
                f"{np.median(rows[:, 4]):.1f} ms | {rows[:, 4].max():.1f} ms |"
            )
            lines += [f"| | {text} |" for text in report.failures]
        lines += [
            "",
            "p50 and p99 are medians over the periods of 10 s.",
            "",
            "| process | private bytes, begin | end | rise an hour | RSS, end | files | threads |",
            "|---|---|---|---|---|---|---|",
        ]
        growths = self.growths()
        for place, (pid, rows_of) in enumerate(self.samples.items(), 1):
            first, last = rows_of[0], rows_of[-1]
            growth = f"{growths[pid][0] / 1e6:+.1f} MB" if pid in growths else ""
            lines.append(
                f"| worker {place} | {first[2] / 1e6:.1f} MB | {last[2] / 1e6:.1f} MB | {growth} | "
                f"{last[1] / 1e6:.0f} MB | {first[3]:.0f} … {max(row[3] for row in rows_of):.0f} | "
                f"{first[4]:.0f} … {max(row[4] for row in rows_of):.0f} |"
            )
        lines += [
            "",
            (
                "Memory is called flat when the line through a worker's private bytes, after the "
                f"first {WARM_SHARE:.0%} of the time, rises in an hour by at most "
                f"{GROWTH_SHARE_MAX:.0%} of their mean, or 4 MiB where that is more."
            ),
            "",
            "![private bytes and latency over time](soak.svg)",
        ]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Write ``soak.json``, ``soak.md`` and ``soak.svg``."""
        folder.mkdir(parents=True, exist_ok=True)
        document = self.document()
        (folder / "soak.json").write_text(json.dumps(document) + "\n", "utf-8")
        (folder / "soak.md").write_text(self.text(), "utf-8")
        draw(document, folder / "soak.svg")


def run(vintages: Vintages, minutes: float, workers: int, results: Path) -> Soak:
    """Measure the capacity, keep up the load, and write what was seen."""
    tasks = [
        Task(name="single numbers", questions=vintages.questions[SINGLE]),
        Task(name="batches of 1,000", questions=vintages.questions[BULK]),
        Task(name="stream of 1,000", questions=vintages.questions[BULK], stream=True),
    ]
    with production(vintages.store, workers) as service:
        print("measuring the capacity", file=sys.stderr)
        found = ask_all(tasks, service.address, CAPACITY_SECONDS)
        for name, report in found.items():
            assert not report.failed_calls, (name, report.failures)
            assert not report.wrong, name
        rates = {name: SHARE * report.answers / CAPACITY_SECONDS for name, report in found.items()}
        soak = Soak(minutes=minutes, workers=workers, rates=rates)
        timed = [
            Task(
                name=task.name, questions=task.questions, stream=task.stream, rate=rates[task.name]
            )
            for task in tasks
        ]
        askers = [Asker(task, service.address, minutes * 60, SAMPLE_SECONDS) for task in timed]
        try:
            for asker in askers:
                asker.started()
            soak.begin = time.time()
            _keep_up(soak, service, vintages, askers)
            soak.complete = True
        finally:
            # Ctrl-C a second time must not lose what was seen.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for asker in askers:
                asker.stop()
            for asker in askers:
                soak.note(asker.task.name, asker.rest())
            soak.write(results)
    return soak


def _keep_up(soak: Soak, service: Production, vintages: Vintages, askers: Sequence[Asker]) -> None:
    """Sample and swap until the time is over."""
    end = soak.begin + soak.minutes * 60
    next_swap = soak.begin + SWAP_SECONDS / 2
    while (now := time.time()) < end:
        for asker in askers:
            for report in asker.reports():
                soak.note(asker.task.name, report)
        soak.seconds = now - soak.begin
        for pid in service.workers():
            held = holding(pid)
            if held is not None:
                soak.samples[pid].append(
                    (soak.seconds, held.rss, held.private, held.files, held.threads)
                )
        if now >= next_swap:
            vintages.swap()
            soak.swaps.append(time.time() - soak.begin)
            next_swap += SWAP_SECONDS
        _show(soak)
        time.sleep(max(0.0, min(SAMPLE_SECONDS, end - time.time())))
    soak.seconds = time.time() - soak.begin


def _show(soak: Soak) -> None:
    if sys.stderr.isatty():
        answers = sum(report.answers for report in soak.reports.values())
        print(
            f"\r{soak.seconds / 60:5.1f} of {soak.minutes:g} minutes, {answers:,} answers, "
            f"{soak.failed} failed",
            end="",
            file=sys.stderr,
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; 0 when no call failed and memory does not grow."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.production.soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--ported", type=int, default=1_000_000, help="ported numbers")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for what is made")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the report")
    given = parser.parse_args(arguments)
    end_on_sigterm()
    try:
        vintages = ensure_vintages(given.work.resolve() / str(given.ported), given.ported)
        soak = run(vintages, given.minutes, given.workers, given.results)
    except NumrouteError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit):
        print(f"soak: interrupted; {given.results} has what was seen", file=sys.stderr)
        return 1
    print(soak.text())
    return int(bool(soak.failed) or soak.memory_verdict == "grows")


if __name__ == "__main__":
    sys.exit(main())
