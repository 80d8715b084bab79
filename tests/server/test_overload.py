"""More work than can be done: refused at once, shared fairly, and not done for nobody."""

from __future__ import annotations

import queue as queues
import threading
from concurrent.futures import CancelledError
from unittest.mock import Mock

import grpc
import numpy as np
import pytest
from support.oracle import FIRST

from numroute import wire
from numroute.errors import DeadlinePassedError, OverloadedError
from numroute.server.batches import (
    NUMBERS_UNDER_WAY_HARD_MAX,
    NUMBERS_UNDER_WAY_MAX,
    Batches,
)
from numroute.server.limits import NUMBERS_PER_BULK_MAX
from numroute.server.view import PIECE_NUMBERS, AnswerCounts, View
from numroute.v1 import number_routing_pb2 as pb

HUGE = pb.BulkLookupRequest(numbers=[FIRST] * NUMBERS_PER_BULK_MAX).SerializeToString()
SMALL = pb.LookupRequest(numbers=[f"+{FIRST}"]).SerializeToString()
PATH = "/numroute.v1.NumberRouting/BulkLookup"
SMALL_PATH = "/numroute.v1.NumberRouting/Lookup"
ROOM = NUMBERS_UNDER_WAY_MAX // NUMBERS_PER_BULK_MAX


def channel(target: str) -> grpc.Channel:
    """Return a connection of its own, without retries: to the service, another client."""
    return grpc.insecure_channel(
        target, options=(("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
    )


@pytest.fixture
def queue():
    """Return a queue with one thread, which is busy until the event is set."""
    batches, free, busy = Batches(1), threading.Event(), threading.Event()

    def hold() -> None:
        busy.set()
        free.wait()

    batches.submit("holder", 1, hold)
    busy.wait()
    yield batches, free
    free.set()
    batches.close()


def test_what_exceeds_the_room_is_refused_at_once(run_server, store, gate) -> None:
    """A client's batches beyond the room are refused with a hint; others are answered."""
    server = run_server(store.path, before=gate.code)
    gate.shut()
    with channel(server.target) as greedy, channel(server.target) as other:
        ask = greedy.unary_unary(PATH)
        ended: queues.SimpleQueue[grpc.Future] = queues.SimpleQueue()
        calls = [ask.future(HUGE, timeout=600) for _ in range(ROOM + 1)]
        for call in calls:
            call.add_done_callback(ended.put)
        gate.wait_for_a_call()
        # No batch can end before the gate opens: what ends was refused.
        refused = ended.get()
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers = dict(refused.trailing_metadata())
        assert trailers[wire.ERROR_KEY] == "OverloadedError"
        assert int(trailers[wire.PUSHBACK_KEY]) >= 50

        # The same client's small calls, and another's large ones, still have room.
        assert greedy.unary_unary(SMALL_PATH)(SMALL, timeout=600)
        assert other.unary_unary(SMALL_PATH)(SMALL, timeout=600)
        fair = other.unary_unary(PATH).future(HUGE, timeout=600)
        gate.open()
        for call in (*(call for call in calls if call is not refused), fair):
            message = pb.BulkLookupResponse.FromString(call.result())
            assert len(message.route_indexes) == NUMBERS_PER_BULK_MAX
        assert ask(HUGE, timeout=600)


def test_one_client_takes_all_room_but_not_all_turns(queue) -> None:
    """A client with one batch waits for one of the greedy client's, not for all of them."""
    batches, free = queue
    order: list[str] = []
    greedy = [
        batches.submit("greedy", 100_000, lambda place=place: order.append(f"greedy {place}"))
        for place in range(10)
    ]
    modest = batches.submit("modest", 5_000, lambda: order.append("modest"))
    free.set()
    for future in (*greedy, modest):
        future.result()
    assert order.index("modest") <= 1
    assert [name for name in order if name != "modest"] == [f"greedy {i}" for i in range(10)]


def test_turns_are_weighed_by_numbers(queue) -> None:
    """A client with huge batches is given no more numbers than one with many smaller ones."""
    batches, free = queue
    order: list[str] = []
    futures = [
        batches.submit(client, numbers, lambda client=client: order.append(client))
        for client, numbers, count in (("huge", 500_000, 3), ("smaller", 20_000, 20))
        for _ in range(count)
    ]
    free.set()
    for future in futures:
        future.result()
    assert order == ["huge", *["smaller"] * 20, "huge", "huge"]


def test_room_is_shared_equally(queue) -> None:
    """With two clients each may have half of the room; a newcomer has room for one batch."""
    batches, _ = queue
    half = NUMBERS_UNDER_WAY_MAX // 3
    batches.submit("a", half - 1, lambda: None)
    with pytest.raises(OverloadedError):
        batches.submit("a", half, lambda: None)
    batches.submit("b", NUMBERS_UNDER_WAY_MAX, lambda: None)
    admitted: list[int] = []
    with pytest.raises(OverloadedError):
        batches.submit("b", 1, lambda: None, admitted.append)
    assert admitted == []
    with pytest.raises(OverloadedError, match="numbers are being looked up"):
        batches.submit("c", NUMBERS_UNDER_WAY_HARD_MAX, lambda: None)


def test_room_comes_back(queue) -> None:
    """What was looked up, failed or was given up leaves its room to others."""
    batches, free = queue

    def fail() -> None:
        raise ValueError("no answer")

    given_up = batches.submit("a", NUMBERS_UNDER_WAY_MAX // 4, lambda: None)
    failed = batches.submit("a", NUMBERS_UNDER_WAY_MAX // 4, fail)
    assert given_up.cancel()
    free.set()
    with pytest.raises(ValueError, match="no answer"):
        failed.result()
    # The thread gives the room back when it turns to the next batch.
    batches.submit("b", 1, lambda: None).result()
    batches.submit("a", NUMBERS_UNDER_WAY_MAX, lambda: None).result()
    with pytest.raises(CancelledError):
        given_up.result()


def test_a_batch_without_a_thread_costs_nothing(monkeypatch) -> None:
    """Where the system starts no thread, nothing is counted; later batches are looked up."""
    batches, admitted = Batches(1), []
    with monkeypatch.context() as system:
        system.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("no thread")))
        with pytest.raises(RuntimeError, match="no thread"):
            batches.submit("a", 10, lambda: None, admitted.append)
    assert admitted == []
    assert batches.submit("a", NUMBERS_UNDER_WAY_MAX, lambda: "answer").result() == "answer"
    batches.close()


def test_a_batch_given_up_is_not_looked_up(queue) -> None:
    """A batch whose call was cancelled while it waited is never begun."""
    batches, free = queue
    begun: list[str] = []
    admitted: list[int] = []
    given_up = batches.submit("a", 10, lambda: begun.append("given up"), admitted.append)
    assert admitted == [10]
    wanted = batches.submit("a", 10, lambda: begun.append("wanted"))
    given_up.cancel()
    free.set()
    wanted.result()
    assert begun == ["wanted"]


def test_a_stream_waits_for_room(run_server, store, gate) -> None:
    """A stream's batches are never refused for want of room: the stream is read more slowly."""
    server = run_server(store.path, before=gate.code)
    gate.shut()
    with channel(server.target) as one:
        ask = one.unary_unary(PATH)
        calls = [ask.future(HUGE, timeout=600) for _ in range(ROOM)]
        gate.wait_for_a_call()
        stream = one.stream_stream("/numroute.v1.NumberRouting/StreamLookup")
        answers = stream(iter([HUGE] * 6), timeout=600)
        assert one.unary_unary(SMALL_PATH)(SMALL, timeout=600)
        gate.open()
        assert sum(1 for _ in answers) == 6
        for call in calls:
            # Where the stream's batches came first, one of these was refused.
            assert call.code() in {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_a_batch_given_up_meanwhile_is_not_looked_up_to_its_end(store) -> None:
    """A large batch ends between two pieces when its deadline passes."""
    numbers = np.full(3 * PIECE_NUMBERS, FIRST, np.uint64)
    asked = []

    def require_wanted() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise DeadlinePassedError("the call's deadline passed")

    with store.open() as snapshot:
        served = View(snapshot, max_age=None, answers=AnswerCounts())
        with pytest.raises(DeadlinePassedError):
            served.bulk_answer(
                numbers,
                with_range_holder=True,
                with_ported_at=True,
                require_wanted=require_wanted,
            )
    assert len(asked) == 2


@pytest.mark.parametrize("more", [False, True])
def test_pieces_make_the_same_answer(store, monkeypatch, more) -> None:
    """A batch that is looked up in pieces is answered as in one."""
    rng = np.random.default_rng(1)
    numbers = rng.integers(FIRST, FIRST + 100_000, 1_000).astype(np.uint64)
    with store.open() as snapshot:
        served = View(snapshot, max_age=None, answers=AnswerCounts())
        wanted = {"with_range_holder": more, "with_ported_at": more}
        whole = served.bulk_answer(numbers, **wanted)
        monkeypatch.setattr("numroute.server.view.PIECE_NUMBERS", 7)
        assert served.bulk_answer(numbers, **wanted) == whole
