"""A store with two snapshots, and questions whose answers tell which of the two gave them."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.children import BIN, in_own_process, run_measured
from benchmarks.oracle_files import read_truth
from benchmarks.plans import Plans
from benchmarks.registry import Registry
from benchmarks.services import TIMEOUT_SECONDS, bulk_request, numroute_serve
from benchmarks.small import PLAN_NAMES
from benchmarks.suite.over_grpc import check_response
from numroute.client.codec import Values
from numroute.index import SnapshotStore, writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.oracle import Truth

DATES = ("2026-04-01", "2026-04-02")
OVERRULED = ("movement", "operator_change", "shrinkage", "plan_shrinkage", "growth", "sequence")
"""Two registries made up apart have nothing in common, which no real two days have."""

SINGLE, BULK, LARGE = "single", "bulk", "large"
SIZES: Mapping[str, int] = {SINGLE: 1, BULK: 1_000, LARGE: 65_536}
QUESTIONS: Mapping[str, int] = {SINGLE: 64, BULK: 32, LARGE: 4}


@dataclass(frozen=True, slots=True)
class Question:
    """A batch to ask, and the right answers to it.

    Attributes:
        numbers: uint64[n].
        request: The serialised ``BulkLookupRequest``.
        answers: By the snapshot's id, the serialised response that says what its files say.
    """

    numbers: NDArray[np.uint64]
    request: bytes
    answers: Mapping[str, bytes]

    def answered_by(self, response: bytes) -> str | None:
        """Return which snapshot a response is wholly of; None if of neither."""
        return next((name for name, answer in self.answers.items() if answer == response), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vintages:
    """A store, the ids of its two snapshots, and questions by kind."""

    store: Path
    ids: tuple[str, str]
    questions: Mapping[str, Sequence[Question]]

    def swap(self) -> str:
        """Make the other snapshot current, and return its id."""
        store = SnapshotStore(self.store)
        other = next(name for name in self.ids if name != store.current_id())
        with writing(store) as writer:
            writer.make_current(other)
        return other


def ensure_vintages(work: Path, ported: int) -> Vintages:
    """Return a store in the work folder; what was made before is used again.

    Each stored answer has been compared with the oracle, number by number.
    """
    manifest, store = work / "vintages.json", work / "store"
    wanted = {"ported": ported, "dates": DATES}
    if not manifest.is_file() or json.loads(manifest.read_text("utf-8")) != json.loads(
        json.dumps(wanted)
    ):
        print(f"building two snapshots of {ported:,} ported numbers", file=sys.stderr)
        shutil.rmtree(work, ignore_errors=True)
        for seed, date in enumerate(DATES, 1):
            files = work / date
            run_measured(
                [
                    *(BIN / "numroute-load", "generate", files, "--csv"),
                    *("--ported", str(ported), "--seed", str(seed), "--date", date),
                ]
            )
            words = [BIN / "numroute-load", "build", "--store", store, *_registry(files).paths]
            if seed > 1:
                words += [word for name in OVERRULED for word in ("--allow", name)]
                words += ["--reason", "two registries made up apart"]
            run_measured(words)
        manifest.write_text(json.dumps(wanted), "utf-8")
    return in_own_process(_with_answers, work)


def _with_answers(work: Path) -> Vintages:
    store = SnapshotStore(work / "store")
    first, second = store.ids()
    truths = [read_truth(_registry(work / date)) for date in DATES]
    rng = np.random.default_rng(1)
    batches = {
        kind: [_numbers(truths, rng, SIZES[kind]) for _ in range(count)]
        for kind, count in QUESTIONS.items()
    }
    answers: dict[str, dict[str, list[bytes]]] = {kind: {} for kind in batches}
    values = Values()
    for name, truth in zip((first, second), truths, strict=True):
        with writing(store) as writer:
            writer.make_current(name)
        with numroute_serve(store.path) as service:
            for kind, numbers in batches.items():
                found = [
                    service.call(bulk_request(each), timeout=TIMEOUT_SECONDS) for each in numbers
                ]
                for each, answer in zip(numbers, found, strict=True):
                    check_response(truth, values, truth.expected(each), answer)
                answers[kind][name] = found
    return Vintages(
        store=store.path,
        ids=(first, second),
        questions={
            kind: [
                Question(each, bulk_request(each), {first: one, second: other})
                for each, one, other in zip(
                    numbers, answers[kind][first], answers[kind][second], strict=True
                )
            ]
            for kind, numbers in batches.items()
        },
    )


def _numbers(truths: Sequence[Truth], rng: np.random.Generator, count: int) -> NDArray[np.uint64]:
    """Return numbers of which the first is ported in one snapshot only."""
    ported = rng.choice(truths[0].ported, max(1, count // 8))
    around = rng.integers(int(truths[0].first[0]), int(truths[0].last[-1]), count - len(ported))
    return np.concatenate((ported, around.astype(np.uint64)))


def _registry(files: Path) -> Registry:
    (port_all,) = files.glob("Port_All_*.csv")
    (operators,) = files.glob("Operators_*.csv")
    mobile, *fixed = (files / name for name in PLAN_NAMES)
    return Registry(
        port_all=port_all,
        operators=operators,
        plans=Plans(mobile=mobile, fixed=tuple(fixed)),
        ported=0,
    )
