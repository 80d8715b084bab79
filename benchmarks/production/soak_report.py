"""What a soak has seen, and what is said of it."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.machine import facts
from benchmarks.production.askers import LATE_SECONDS_MAX
from benchmarks.production.reports import Report
from benchmarks.production.soak_plot import draw

if TYPE_CHECKING:
    from pathlib import Path

SHARE = 0.7
"""Of the capacity: the load that is kept up."""

SAMPLE_SECONDS = 10.0

WARM_SHARE = 0.25
"""The first part of the run, in which caches fill and memory is taken for the first time."""

GROWTH_SHARE_MAX = 0.02
GROWTH_BYTES_MAX = 4 * 1024 * 1024
"""Memory is flat when the line through a worker's private bytes, after the warm part, rises in an
hour by at most 2 % of their mean, or by 4 MiB where that is more."""

VERDICT_MINUTES_MIN = 20.0
"""A shorter run says nothing about memory: the line's slope is mostly noise."""


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
        others: Per sample: seconds, processors that everything else on the machine kept busy
            since the last one.
        scraped: Calls by status since the begin, as the service's own metrics count them.
        scrapes_failed: How often the metrics could not be read.
        problems: What went wrong beside the calls.
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
    others: list[tuple[float, float]] = field(default_factory=list)
    scraped: dict[str, int] = field(default_factory=dict)
    scrapes_failed: int = 0
    problems: list[str] = field(default_factory=list)
    swaps: list[float] = field(default_factory=list)
    complete: bool = False

    def note(self, name: str, report: Report) -> None:
        """Take in what a client reports."""
        now = time.time() - self.begin
        whole = self.reports.setdefault(name, Report())
        if report.answers or report.failed_calls or report.wrong or report.skipped:
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
            "service_counted": self.scraped,
            "scrapes_failed": self.scrapes_failed,
            "problems": self.problems,
            "others": {"columns": ["seconds", "processors"], "rows": self.others},
            "memory": self.memory_verdict,
            "growth_bytes_per_hour": {
                str(pid): growth for pid, (growth, _mean) in self.growths().items()
            },
            "clients": {
                name: {
                    "answers": report.answers,
                    "wrong": report.wrong,
                    "skipped": report.skipped,
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
            + ". TLS, tokens, limits and metrics are on. The clients, which ask again as the "
            "product's do, ran on the same cores.",
            "",
        ]
        if not self.complete:
            lines += [f"**Interrupted: {self.minutes:g} minutes were to be run.**", ""]
        lines += [
            f"**Failed or wrong calls: {self.failed}. Memory: {self.memory_verdict}.**",
            "",
            *(f"**{problem}.**" for problem in self.problems),
            "| client | calls/s | right | failed | wrong | left out | p50 | p99 | worst p99 |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for name, report in self.reports.items():
            rows = np.array(self.periods[name] or [(0.0,) * 5])
            lines.append(
                f"| {name} | {self.rates[name]:,.0f} | {report.answers:,} | "
                f"{report.failed_calls} | {report.wrong} | {report.skipped} | "
                f"{np.median(rows[:, 3]):.1f} ms | "
                f"{np.median(rows[:, 4]):.1f} ms | {rows[:, 4].max():.1f} ms |"
            )
            lines += [f"| | {text} |" for text in report.failures]
        lines += [
            "",
            (
                "p50 and p99 are medians over the periods of 10 s, the worst p99 is of one. "
                "Left out are calls that were "
                f"due {LATE_SECONDS_MAX:g} s ago when their turn to be sent came."
            ),
            "",
            self._around(),
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

    def _around(self) -> str:
        """Return in words what the service itself counted, and what else the machine did."""
        codes = ", ".join(f"{count:,} {code}" for code, count in sorted(self.scraped.items()))
        text = f"Calls ended by the service, as its metrics count them: {codes or 'not read'}; "
        text += f"the metrics could not be read {self.scrapes_failed} times. "
        if self.others:
            busy = np.array([row[1] for row in self.others])
            text += (
                f"Everything else on the machine kept {busy.mean():.2f} processors busy, "
                f"{busy.max():.2f} in the worst {SAMPLE_SECONDS:g} s."
            )
        return text

    def write(self, folder: Path, *, plot: bool = True) -> None:
        """Write ``soak.json``, ``soak.md`` and, with ``plot``, ``soak.svg``."""
        folder.mkdir(parents=True, exist_ok=True)
        document = self.document()
        (folder / "soak.json").write_text(json.dumps(document) + "\n", "utf-8")
        (folder / "soak.md").write_text(self.text(), "utf-8")
        if plot:
            draw(document, folder / "soak.svg")
