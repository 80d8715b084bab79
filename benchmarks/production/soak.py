"""``python -m benchmarks.production.soak``: an hour of load with a swap each minute.

A service with its worker processes is asked at 70 % of the rate that it was able to answer at the
start, by clients of three kinds; every answer is compared with the right one. What each worker
holds is sampled all the time. What was seen is written even when the run is interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.children import end_on_sigterm, free_address
from benchmarks.plans import ROOT
from benchmarks.production.askers import Asker, Task, ask_all
from benchmarks.production.protection import make_protection
from benchmarks.production.soak_report import SAMPLE_SECONDS, SHARE, Soak
from benchmarks.production.vintages import BULK, SINGLE, ensure_vintages
from benchmarks.production.workers import Used, holding, production
from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.production.vintages import Vintages
    from benchmarks.production.workers import Production

CAPACITY_SECONDS = 10.0
TRIALS_MAX = 3
UNDER_WAY_MAX = 64
"""Calls that one client has under way at most: a messaging worker's, not the internet's."""

SCRAPE_SECONDS = 5.0
SWAP_SECONDS = 60.0

RESULTS = ROOT / "benchmarks" / "results"
WORK = ROOT / ".benchmarks" / "production"


def run(vintages: Vintages, minutes: float, workers: int, results: Path) -> Soak:
    """Measure the capacity, keep up the load, and write what was seen."""
    with tempfile.TemporaryDirectory() as folder:
        protection = make_protection(Path(folder))
        metrics = free_address()
        words = [*protection.guards, *protection.tls, "--metrics", metrics]
        tasks = [
            Task(
                name=name,
                questions=vintages.questions[kind],
                stream=stream,
                under_way_max=UNDER_WAY_MAX,
                security=protection.security,
            )
            for name, kind, stream in (
                ("single numbers", SINGLE, False),
                ("batches of 1,000", BULK, False),
                ("stream of 1,000", BULK, True),
            )
        ]
        with production(vintages.store, workers, words, protection.security) as service:
            timed = _bearable(tasks, service.address)
            rates = {task.name: task.rate or 0.0 for task in timed}
            soak = Soak(minutes=minutes, workers=workers, rates=rates)
            askers = [Asker(task, service.address, minutes * 60, SAMPLE_SECONDS) for task in timed]
            try:
                for asker in askers:
                    asker.started()
                soak.begin = time.time()
                _keep_up(soak, service, vintages, askers, metrics, results)
                soak.complete = True
            finally:
                # Ctrl-C a second time must not lose what was seen.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                _finish(soak, askers)
                soak.write(results)
    return soak


def _bearable(tasks: Sequence[Task], address: str) -> list[Task]:
    """Return the tasks with the rates at which the machine is loaded as it should be.

    The capacity is what the same clients get when each asks again as soon as it is answered. It is
    measured again when a trial at the share of it cannot be kept up, the machine having had other
    things to do the first time; the smallest of all is taken.
    """
    lowest: dict[str, float] = {}
    for _ in range(TRIALS_MAX):
        print("measuring the capacity", file=sys.stderr)
        found = ask_all(tasks, address, CAPACITY_SECONDS)
        for name, report in found.items():
            assert not report.wrong, name
            rate = SHARE * report.answers / CAPACITY_SECONDS
            lowest[name] = min(rate, lowest.get(name, rate))
        timed = [dataclasses.replace(task, rate=lowest[task.name]) for task in tasks]
        print("trying the load", file=sys.stderr)
        tried = ask_all(timed, address, CAPACITY_SECONDS).values()
        if all(not (each.skipped or each.failed_calls) for each in tried):
            break
    return timed


def _keep_up(
    soak: Soak,
    service: Production,
    vintages: Vintages,
    askers: Sequence[Asker],
    metrics: str,
    results: Path,
) -> None:
    """Sample and swap until the time is over."""
    before: dict[str, int] = {}
    end = soak.begin + soak.minutes * 60
    next_swap = soak.begin + SWAP_SECONDS / 2
    used = Used([service.supervisor.pid, os.getpid(), *(asker.pid for asker in askers)])
    while (now := time.time()) < end:
        for asker in askers:
            for report in asker.reports():
                soak.note(asker.task.name, report)
        soak.seconds = now - soak.begin
        workers = service.workers()
        for pid in workers:
            held = holding(pid)
            if held is not None:
                soak.samples[pid].append(
                    (soak.seconds, held.rss, held.private, held.files, held.threads)
                )
        if (others := used.by_others(workers)) is not None:
            soak.others.append((soak.seconds, others))
        _scrape(soak, metrics, before)
        if now >= next_swap:
            vintages.swap()
            soak.swaps.append(time.time() - soak.begin)
            next_swap += SWAP_SECONDS
            soak.write(results, plot=False)
        _show(soak)
        time.sleep(max(0.0, min(SAMPLE_SECONDS, end - time.time())))
    soak.seconds = time.time() - soak.begin


def _finish(soak: Soak, askers: Sequence[Asker]) -> None:
    """Let the clients end and take in what they have not reported yet."""
    for asker in askers:
        asker.stop()
    for asker in askers:
        try:
            soak.note(asker.task.name, asker.rest())
        except ChildProcessError as error:
            soak.problems.append(f"{asker.task.name}: {error}")


def _scrape(soak: Soak, metrics: str, before: dict[str, int]) -> None:
    """Count calls by status from the metrics, as a monitoring system does.

    What the first scrape sees was before the begin.
    """
    try:
        with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=SCRAPE_SECONDS) as page:
            text = page.read().decode("utf-8")
    except OSError:
        soak.scrapes_failed += 1
        return
    counts: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "numroute_requests_total":
                counts[sample.labels["code"]] += int(sample.value)
    if not before:
        before.update(counts)
    soak.scraped = {code: count - before.get(code, 0) for code, count in counts.items()}


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
    return int(bool(soak.failed or soak.problems) or soak.memory_verdict == "grows")


if __name__ == "__main__":
    sys.exit(main())
