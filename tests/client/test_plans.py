"""How a question in several requests gets one answer of one snapshot, whoever answers each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numroute.client import plans
from numroute.client.codec import Values
from numroute.client.plans import ROUNDS_MAX, SNAPSHOTS_KEPT, BulkPlan, TextPlan, rounds
from numroute.errors import ServiceError
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable


def make_plan(numbers: int, per_chunk: int = 1) -> BulkPlan:
    """Return a plan for so many numbers."""
    return BulkPlan(
        np.arange(numbers, dtype=np.uint64),
        Values(),
        with_range_holder=False,
        with_ported_at=False,
        numbers_per_chunk=per_chunk,
    )


def columns(snapshot: str, codes: list[str], indexes: list[int]) -> bytes:
    """Return a response with a route per operator code; a later letter is a newer snapshot."""
    message = pb.BulkLookupResponse(route_indexes=indexes)
    message.snapshot.id = snapshot
    message.snapshot.as_of.seconds = ord(snapshot[0])
    for code in codes:
        message.routes.add(status=pb.STATUS_NOT_PORTED).operator.code = code
    return message.SerializeToString()


def response(snapshot: str, chunk: int) -> bytes:
    """Return what a snapshot answers to a chunk: a route that names both."""
    return columns(snapshot, [f"{snapshot}{chunk}"], [0])


@dataclass
class Asked:
    """What a question took."""

    snapshot: str
    requests: int


def ask(chunks: int, snapshots: Iterable[str], seconds: float = 60.0) -> Asked:
    """Carry a plan out against snapshots that answer one request each, in this order.

    The answer is checked: each chunk's is that of the snapshot that the whole names.
    """
    plan, each, requests = make_plan(chunks), iter(snapshots), 0
    for open_chunks in rounds(plan, seconds):
        for chunk in open_chunks:
            plan.accept(chunk, response(next(each), chunk))
            requests += 1
    answer = plan.answer()
    codes = [answer.routes[index].operator.code for index in answer.route_index]
    assert codes == [f"{answer.snapshot.id}{chunk}" for chunk in range(chunks)]
    return Asked(answer.snapshot.id, requests)


def test_routes_of_all_requests_are_joined() -> None:
    """Each request counts routes of its own; the answer has each once, from one snapshot."""
    plan = make_plan(5, 2)
    asking = rounds(plan, 60.0)
    assert next(asking) == [0, 1, 2]
    plan.accept(0, columns("old", ["mOld"], [0, 0]))
    plan.accept(1, columns("new", ["mA", "mB"], [1, 0]))
    plan.accept(2, columns("new", ["mB"], [0]))
    assert next(asking) == [0]
    plan.accept(0, columns("new", ["mC", "mB"], [0, 1]))
    assert list(asking) == []
    answer = plan.answer()
    assert answer.snapshot.id == "new"
    codes = [answer.routes[i].operator.code for i in answer.route_index]
    assert codes == ["mC", "mB", "mB", "mA", "mB"]
    assert sorted(route.operator.code for route in answer.routes) == ["mA", "mB", "mC"]


@pytest.mark.parametrize("snapshots", ["a", "ab", "ba", "abc", "abb", "abcd", "abcde"])
@pytest.mark.parametrize("chunks", [1, 2, 3, 4, 7, 30])
def test_replicas_that_differ(snapshots, chunks) -> None:
    """Replicas with different snapshots that take turns answer a question of any size."""
    asked = ask(chunks, itertools.cycle(snapshots))
    if len(snapshots) <= 2:
        # Half of what is lacking comes with each round.
        assert chunks <= asked.requests <= len(snapshots) * chunks + 1


@pytest.mark.parametrize("before", range(8))
def test_a_change_for_good(before) -> None:
    """When a snapshot takes the place of another, after any chunk, the question is completed."""
    asked = ask(7, itertools.chain("o" * before, itertools.repeat("n")))
    assert asked.snapshot == ("o" if before == 7 else "n")
    # Nothing that the new one has said is asked again, but to hear whether the old one is gone.
    assert asked.requests <= 7 + before + 4


@given(
    chunks=st.integers(1, 6),
    first=st.text("abcdef", max_size=60),
    then=st.text("abcdef", min_size=1, max_size=3),
)
def test_any_order_of_snapshots(chunks, first, then) -> None:
    """Whatever answered before, snapshots that go on by turns complete the question."""
    ask(chunks, itertools.chain(first, itertools.cycle(then)))


def test_few_snapshots_are_kept() -> None:
    """Of many snapshots few are kept, and the one with the most parts is among them."""
    plan = make_plan(10)
    for chunk, snapshot in enumerate("aaabc"):
        plan.accept(chunk, response(snapshot, chunk))
    for snapshot in "def":
        plan.accept(9, response(snapshot, 9))
        assert len(plan._partials) == SNAPSHOTS_KEPT
        assert "a" in plan._partials
    # Heard of no more, it is forgotten too.
    plan.accept(9, response("g", 9))
    assert "a" not in plan._partials


def test_snapshots_that_change_all_the_time() -> None:
    """A question that no snapshot answers whole is given up after a bounded number of rounds."""
    changing = (chr(1_000 + count) for count in itertools.count())
    with pytest.raises(ServiceError, match=f"within {ROUNDS_MAX} attempts") as caught:
        ask(2, changing)
    assert caught.value.code == "ABORTED"


def test_asking_again_has_an_end(monkeypatch) -> None:
    """Chunks are asked again for the call's time and as long as asking all of them took."""
    times = iter([0.0, 2.0, 8.9, 9.0])
    monkeypatch.setattr(plans, "time", SimpleNamespace(monotonic=lambda: next(times)))
    changing = (chr(1_000 + count) for count in itertools.count())
    with pytest.raises(ServiceError, match="within 2 attempts") as caught:
        ask(2, changing, seconds=5.0)
    assert caught.value.code == "ABORTED"


def test_an_open_plan_has_no_answer() -> None:
    """A plan without responses refuses to be an answer."""
    with pytest.raises(ValueError, match="every chunk"):
        TextPlan(["x"], None).answer()
