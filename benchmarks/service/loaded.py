"""The service under load that does not wait for it: latency, swaps, overload, hours."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.material import Material
from benchmarks.processes import BIN, run
from benchmarks.report import Figure, beside, rounds
from benchmarks.service.asking import Call, Questions, ask, empty_service, make_questions
from benchmarks.service.protecting import Protection, connected, make_protection
from numroute.index import SnapshotStore, writing
from numroute.plan.load import Load, Send, Service, send_calls, serving

BATCHES = (1_000, 65_536)
LOADS = (0.5, 0.9)
CAPACITY_CALLS = {1_000: 200, 65_536: 24}
IN_FLIGHT = 8
STRETCH_SECONDS_MIN = 0.5

SWAP_BATCH = 1_000
SWAP_LOAD = 0.3
SWAP_SECONDS = 0.5
"""Between two changes of snapshot."""

OVERLOADS = (1.2, 2.0)
OVERLOAD_BATCH = 65_536
SOAK_LOAD = 0.5
SOAK_SWAP_SECONDS = 60.0
FIRST, SECOND = "first", "second"
FOLLOW_SECONDS_MAX = 30.0


def latency(material: Material, seconds: float) -> Sequence[Figure]:
    """Compare latencies with those of an empty handler at the same rates."""
    figures: list[Figure] = []
    stretch = seconds / len(BATCHES) / len(LOADS) / 4
    questions = {batch: make_questions(material, batch) for batch in BATCHES}
    with serving(material.store) as service, service.bulk_lookup() as call:
        for each in questions.values():
            each.learn(call, material.truth)
        with empty_service(*questions.values()) as (empty, empty_call):
            for batch, each in questions.items():
                stored = make_questions(material, batch, count=1)
                stored.answers[0][next(iter(each.answers[0]))] = ""
                send = each.send(call)
                capacity = _capacity(service, send, batch)
                sides = {
                    "empty handler": (empty, stored.send(empty_call)),
                    "`BulkLookup`": (service, send),
                }
                for load in LOADS:
                    found: dict[str, list[Load]] = {name: [] for name in sides}
                    for round_ in rounds(stretch * 4):
                        for name, (asked, sending) in sides.items():
                            seen = _at_rate(asked, sending, load * capacity, stretch, seed=round_)
                            seen.require_answers()
                            found[name].append(seen)
                    section = f"Latency, {batch:,} numbers a call, at {load:.0%} of the capacity"
                    for quantile in (0.5, 0.99):
                        values = {
                            f"{name}, p{quantile * 100:.0f}": _quantiles(loads, quantile)
                            for name, loads in found.items()
                        }
                        figures += beside(section, values, unit="ms")
    return figures


def swap(material: Material, seconds: float) -> Sequence[Figure]:
    """Compare latencies while snapshots change with calm ones; then replace the workers."""
    calm, changing = "calm, p99", "a change every half second, p99"
    values: dict[str, list[float]] = {calm: [], changing: []}
    with _two_snapshots(material) as (store, service, call, questions):
        send = questions.send(call)
        rate = SWAP_LOAD * _capacity(service, send, SWAP_BATCH)
        stretch = max(4 * SWAP_SECONDS, seconds / 6)
        for round_ in rounds(seconds):
            for name in (calm, changing):
                with _swapping(store) if name == changing else contextlib.nullcontext():
                    seen = _at_rate(service, send, rate, stretch, seed=round_)
                seen.require_answers()
                values[name].append(1e3 * seen.quantile(0.99))
        assert questions.seen[FIRST], "no answer from the first snapshot"
        assert questions.seen[SECOND], "no answer from the second snapshot"
        os.kill(service.pid, signal.SIGHUP)
        replaced = _at_rate(service, send, rate, max(10 * STRETCH_SECONDS_MIN, stretch), seed=0)
        replaced.require_answers()
    section = f"Changes of snapshot, {SWAP_BATCH:,} numbers a call, at {SWAP_LOAD:.0%} load"
    return [
        *beside(section, values, unit="ms"),
        Figure(
            section=section,
            name="workers replaced one by one, p99",
            unit="ms",
            values=[1e3 * replaced.quantile(0.99)],
        ),
    ]


def overload(material: Material, seconds: float) -> Sequence[Figure]:
    """Send more than can be answered: how much still is, and how the rest is refused."""
    questions = make_questions(material, OVERLOAD_BATCH)
    section = f"Beyond the capacity, {OVERLOAD_BATCH:,} numbers a call"
    capacity = "capacity"
    goodputs = {factor: f"answered at {factor:g} times the capacity" for factor in OVERLOADS}
    values: dict[str, list[float]] = {capacity: [], **{name: [] for name in goodputs.values()}}
    refused: dict[str, list[float]] = {}
    with serving(material.store) as service, service.bulk_lookup() as call:
        questions.learn(call, material.truth)
        send = questions.send(call)
        for round_ in rounds(seconds):
            values[capacity].append(_capacity(service, send, OVERLOAD_BATCH))
            for factor, name in goodputs.items():
                rate = factor * values[capacity][-1]
                stretch = max(2 * STRETCH_SECONDS_MIN, seconds / 8)
                seen = _at_rate(service, send, rate, stretch, seed=round_)
                assert "wrong answer" not in seen.failures
                values[name].append(seen.answered / seen.wall_seconds)
                for status, count in seen.failures.items():
                    words = f"refused at {factor:g} times with {status}"
                    refused.setdefault(words, []).append(count / len(seen.latency_seconds))
                # It has recovered: everything is answered again.
                ask(service, send, in_flight=1, calls=4)
    return [
        *beside(section, values, unit="calls/s"),
        *(
            Figure(section=section, name=words, unit="of all", values=shares)
            for words, shares in refused.items()
        ),
    ]


def soak(material: Material, seconds: float) -> Sequence[Figure]:
    """Load a protected service for a long time, with a change of snapshot each minute."""
    stretch = min(SOAK_SWAP_SECONDS, max(2 * STRETCH_SECONDS_MIN, seconds / 4))
    section = f"{seconds / 60:.1f} minutes at {SOAK_LOAD:.0%} load, a change every {stretch:.0f} s"
    waits, memory, files = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        made = make_protection(Path(folder))
        with _two_snapshots(material, made) as (store, service, call, questions):
            send = questions.send(call)
            rate = SOAK_LOAD * _capacity(service, send, SWAP_BATCH)
            for round_ in range(max(4, round(seconds / stretch))):
                _swap(store)
                seen = _at_rate(service, send, rate, stretch, seed=round_)
                seen.require_answers()
                waits.append(1e3 * seen.quantile(0.99))
                memory.append(service.private_bytes() / 1e6)
                files.append(float(_open_files(service)))
    figures = {"p99": (waits, "ms"), "private memory": (memory, "MB"), "open files": (files, "")}
    return [
        Figure(
            section=section,
            name=name,
            unit=unit,
            values=values,
            yardstick="its first minute",
            ratios=[each / values[0] for each in values[1:]],
        )
        for name, (values, unit) in figures.items()
    ]


@contextlib.contextmanager
def _two_snapshots(
    material: Material, made: Protection | None = None
) -> Iterator[tuple[SnapshotStore, Service, Call, Questions]]:
    """Serve a store with two snapshots; questions know the right answers of both."""
    options = (*made.tls, *made.tokens, "--metrics", "127.0.0.1:0") if made else ()
    with tempfile.TemporaryDirectory(dir=material.work) as folder:
        path = Path(shutil.copytree(material.store, Path(folder) / "store"))
        questions = make_questions(material, SWAP_BATCH)
        with (
            serving(path, *options, workers=2) as service,
            connected(service, made, options) as call,
        ):
            questions.learn(call, material.truth, FIRST)
            run(BIN / "numroute-load", "apply", "--store", path, *material.window)
            end = time.monotonic() + FOLLOW_SECONDS_MAX
            while call(questions.requests[0]) in questions.answers[0]:
                assert time.monotonic() < end, "the service does not follow its store"
                time.sleep(0.1)
            questions.learn(call, material.truth.after(material.window), SECOND)
            yield SnapshotStore(path), service, call, questions


@contextlib.contextmanager
def _swapping(store: SnapshotStore) -> Iterator[None]:
    """Change the current snapshot again and again while the block runs."""
    ended = threading.Event()

    def swap_until_ended() -> None:
        while not ended.wait(SWAP_SECONDS):
            _swap(store)

    thread = threading.Thread(target=swap_until_ended)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _swap(store: SnapshotStore) -> None:
    """Make the other of two snapshots current."""
    other = next(name for name in store.ids() if name != store.current_id())
    with writing(store) as writer:
        writer.make_current(other)


def _capacity(service: Service, send: Send, batch: int) -> float:
    """Return the calls a second that are answered when the next one always waits."""
    calls = CAPACITY_CALLS[batch]
    ask(service, send, in_flight=IN_FLIGHT, calls=calls // 4)
    load = ask(service, send, in_flight=IN_FLIGHT, calls=calls)
    return load.answered / load.wall_seconds


def _at_rate(service: Service, send: Send, rate: float, seconds: float, *, seed: int) -> Load:
    return send_calls(
        send,
        rate=rate,
        seconds=max(STRETCH_SECONDS_MIN, seconds),
        cpu=service.cpu_seconds,
        seed=seed,
    )


def _quantiles(loads: Sequence[Load], quantile: float) -> list[float]:
    return [1e3 * each.quantile(quantile) for each in loads]


def _open_files(service: Service) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in service.processes())
