"""Latency under open load, at shares of the capacity, and while the snapshot changes."""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

from benchmarks.asking import turns_of
from benchmarks.queries import MOBILE_MIX, load_queries, load_truth
from benchmarks.services import TIMEOUT_SECONDS, empty_service, numroute_serve
from benchmarks.suite.open_load import (
    CLOSED_IN_FLIGHT,
    Load,
    at_rate,
    capacity,
    histogram,
    percentiles,
)
from benchmarks.suite.over_grpc import BULK, EMPTY, check_response
from benchmarks.suite.prepare import store_of
from benchmarks.suite.results import Row
from numroute.client.codec import Values
from numroute.index import SnapshotStore, writing

if TYPE_CHECKING:
    from benchmarks.asking import Batches
    from benchmarks.oracle import Truth
    from benchmarks.services import Service
    from benchmarks.suite.scale import Scale

SHARES = (0.25, 0.5, 0.75, 0.9)
SWAP_SHARE = 0.5
SWAP_BATCH = 1_000
SWAP_SECONDS = 1.0
"""How long after a new snapshot became current calls count as during the change.

The service looks every fifth of a second; then it opens the new file and touches its pages anew.
"""
REQUESTS = 32
CAPACITY_TURNS = 3


def under_load(scale: Scale) -> list[Row]:
    """Measure the capacity, and the latency at shares of it, beside an empty handler."""
    folder = scale.folder(scale.main)
    queries, truth = load_queries(folder, MOBILE_MIX), load_truth(folder)
    rows: list[Row] = []
    with numroute_serve(store_of(scale, scale.main)) as service:
        for batch in scale.load_batches:
            (batches, *_) = turns_of(queries, batch, REQUESTS)
            request = batches.requests[0]
            answer = service.call(request, timeout=TIMEOUT_SECONDS)
            with empty_service(folder / "exchanges", {request: answer}) as empty:
                rows += _under_load(scale, service, empty, batches, truth)
    return rows


def during_change(scale: Scale) -> list[Row]:
    """Measure the latency before, during and after another snapshot becomes current."""
    folder = scale.folder(scale.main)
    store = SnapshotStore(store_of(scale, scale.main))
    truth = load_truth(folder)
    (batches, *_) = turns_of(load_queries(folder, MOBILE_MIX), SWAP_BATCH, REQUESTS)
    with numroute_serve(store.path) as service:
        rate, load = capacity(service.call, batches.requests, scale.load_seconds / 2)
        _check(truth, batches, load)
        before_id = store.current_id()
        other = next(name for name in store.ids() if name != before_id)
        changed: list[float] = []

        def change() -> None:
            time.sleep(scale.load_seconds / 2)
            with writing(store) as writer:
                writer.make_current(other)
            changed.append(time.perf_counter())

        thread = threading.Thread(target=change)
        thread.start()
        load = at_rate(
            service.call,
            batches.requests,
            per_second=rate * SWAP_SHARE,
            seconds=scale.load_seconds + SWAP_SECONDS,
        )
        thread.join()
        _check(truth, batches, load)
        assert any(len(answers) > 1 for answers in load.responses), "no snapshot was taken over"
    at = changed[0] - load.begin
    parts = {
        "before": load.intended < at,
        "during": (load.intended >= at) & (load.intended < at + SWAP_SECONDS),
        "after": load.intended >= at + SWAP_SECONDS,
    }
    section = (
        f"Change of snapshot under open load, {SWAP_BATCH:,} a call, "
        f"{SWAP_SHARE:.0%} of the capacity"
    )
    rows: list[Row] = []
    base = percentiles(load.latency[parts["before"]])
    for name, part in parts.items():
        latency = load.latency[part]
        found = percentiles(latency) | {"max": float(latency.max() * 1e3)}
        rows += [
            Row(
                section=section,
                name=f"{name}: {percentile}",
                unit="ms",
                values=[value],
                against=f"before: {percentile}" if name != "before" and percentile in base else "",
                ratios=[value / base[percentile]]
                if name != "before" and percentile in base
                else (),
                where={"part": name, "percentile": percentile},
                details={"histogram": histogram(latency)} if percentile == "p50" else {},
            )
            for percentile, value in found.items()
        ]
    return rows


def _under_load(
    scale: Scale, service: Service, empty: Service, batches: Batches, truth: Truth
) -> list[Row]:
    size = batches.numbers.shape[1]
    section = f"Latency under open load, {size:,} number{'s' * (size > 1)} a call"
    turns: dict[str, list[float]] = {EMPTY: [], BULK: []}
    for _ in range(CAPACITY_TURNS):
        for name, each in ((EMPTY, empty), (BULK, service)):
            rate, load = capacity(each.call, batches.requests, scale.load_seconds / CAPACITY_TURNS)
            turns[name].append(rate)
            if each is service:
                _check(truth, batches, load)
    rows = [
        Row(
            section=section,
            name=f"capacity of {name}, {CLOSED_IN_FLIGHT} calls under way",
            unit="calls/s",
            values=rates,
            against=f"capacity of {EMPTY}, {CLOSED_IN_FLIGHT} calls under way"
            if name == BULK
            else "",
            ratios=[rate / other for rate, other in zip(rates, turns[EMPTY], strict=True)]
            if name == BULK
            else (),
            where={"subject": name, "batch": size},
        )
        for name, rates in turns.items()
    ]
    for share in SHARES:
        found: dict[str, dict[str, float]] = {}
        rate = statistics.median(turns[BULK]) * share
        for name, each in ((EMPTY, empty), (BULK, service)):
            load = at_rate(each.call, batches.requests, per_second=rate, seconds=scale.load_seconds)
            if each is service:
                _check(truth, batches, load)
            else:
                assert len({answer for answers in load.responses for answer in answers}) == 1
            found[name] = percentiles(load.latency)
            rows += _latency_rows(section, name, share, found, load, {"batch": size, "rate": rate})
    return rows


def _latency_rows(
    section: str,
    name: str,
    share: float,
    found: dict[str, dict[str, float]],
    load: Load,
    where: dict[str, float],
) -> list[Row]:
    """Return one row per percentile of one load; the empty handler's are the yardsticks."""
    stable = f"at {share:.0%} of capacity"
    return [
        Row(
            section=section,
            name=f"{name} {stable}: {percentile}",
            unit="ms",
            values=[value],
            against="" if name == EMPTY else f"{EMPTY} {stable}: {percentile}",
            ratios=() if name == EMPTY else [value / found[EMPTY][percentile]],
            where={"subject": name, "share": share, "percentile": percentile, **where},
            note=f"{load.refused_share:.1%} of the calls refused" if load.refused else "",
            details={
                "histogram": histogram(load.latency),
                "generator_late_p99_ms": percentiles(load.late)["p99"],
            }
            if percentile == "p50"
            else {},
        )
        for percentile, value in found[name].items()
    ]


def _check(truth: Truth, batches: Batches, load: Load) -> None:
    """Compare every different answer that a request got with the oracle's."""
    values: Any = Values()
    for expected, answers in zip(batches.expected, load.responses, strict=True):
        for answer in answers:
            check_response(truth, values, expected, answer)
