"""The calls that stay open: questions over one connection, and announcements of snapshots."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import grpc
import pytest
from support.oracle import FIRST, make_registry, publish

from numroute import wire
from numroute.errors import LimitExceededError, StoppingError
from numroute.index import SnapshotStore
from numroute.logs import make_logger
from numroute.server.guard import Call
from numroute.server.limits import STREAM_QUESTIONS_IN_WORK_MAX
from numroute.server.servicer import NumberRouting
from numroute.v1 import number_routing_pb2 as pb


def stream(server, requests, timeout=60.0):
    """Begin a StreamLookup with raw bytes."""
    return server.channel.stream_stream(wire.method_path("StreamLookup"))(
        iter(requests), timeout=timeout
    )


def watch(server, request=b"", timeout=60.0):
    """Begin a WatchSnapshots with raw bytes."""
    call = server.channel.unary_stream(wire.method_path("WatchSnapshots"))
    return call(request, timeout=timeout)


def question(numbers, **options) -> bytes:
    """Return a question of a stream."""
    return pb.BulkLookupRequest(numbers=numbers, **options).SerializeToString()


def codes(response: bytes) -> list[str]:
    """Return the operator's code for each number of an answer."""
    message = pb.BulkLookupResponse.FromString(response)
    return [message.routes[index].operator.code for index in message.route_indexes]


def test_answers_come_in_order(server, registry) -> None:
    """Large questions, which go to threads, and small ones are answered in the order asked."""
    ported = sorted(registry.ported)
    asked = [ported[i : i + 1] * (6_000 if i % 3 else 5) for i in range(40)]
    answers = list(stream(server, [question(numbers) for numbers in asked]))
    assert [codes(answer) for answer in answers] == [
        [registry.answer(number)[0].operator.code for number in numbers] for numbers in asked
    ]


def test_an_answer_does_not_wait_for_the_next_question(server) -> None:
    """A client that waits for each answer before it asks again gets it."""
    answered = threading.Semaphore(1)

    def questions():
        for count in range(5):
            answered.acquire()
            yield question([FIRST] * count)

    for count, answer in enumerate(stream(server, questions())):
        assert len(codes(answer)) == count
        answered.release()


def test_no_question_no_answer(server) -> None:
    """A stream without a question ends without an answer and without an error."""
    assert list(stream(server, [])) == []


@pytest.mark.parametrize(
    ("wrong", "status", "text"),
    [
        (b"\xff" * 20, grpc.StatusCode.INVALID_ARGUMENT, "BulkLookupRequest"),
        (question([FIRST] * 500_001), grpc.StatusCode.INVALID_ARGUMENT, "limit is 500000"),
        (bytes(4 * 1024 * 1024 + 1), grpc.StatusCode.RESOURCE_EXHAUSTED, "4194304"),
    ],
    ids=["malformed", "too_many", "too_large"],
)
def test_a_wrong_question_ends_the_stream(server, wrong, status, text) -> None:
    """The questions before the wrong one are answered, then the stream ends with its status."""
    good = question([FIRST] * 5_000)
    call = stream(server, [good, good, wrong, good])
    answers = []
    with pytest.raises(grpc.RpcError) as caught:
        answers.extend(len(codes(answer)) for answer in call)
    assert caught.value.code() is status
    assert text in caught.value.details()
    if status is grpc.StatusCode.INVALID_ARGUMENT:
        # A message that is too large is refused by gRPC itself, before it becomes a question.
        assert answers == [5_000, 5_000]


def test_a_client_that_does_not_read_is_not_read(run_server, store) -> None:
    """While answers are not taken, sending stalls once the transports' windows are full."""
    server = run_server(store.path)
    large = question([FIRST] * 400_000)
    sent = 0

    def questions():
        nonlocal sent
        while True:
            sent += 1
            yield large

    call = stream(server, questions())
    seen = -1
    while sent != seen:
        seen = sent
        time.sleep(0.5)
    # What the two sides' transports hold, a few windows of 3.2 MB messages, comes on top of what
    # the service has in work.
    assert STREAM_QUESTIONS_IN_WORK_MAX <= sent < 40
    for _ in range(20):
        assert len(pb.BulkLookupResponse.FromString(next(call)).route_indexes) == 400_000
    call.cancel()
    server.call("GetSnapshot", b"")


def test_drain_ends_idle_streams(run_server, store) -> None:
    """A stop ends streams that wait for a question with UNAVAILABLE, and does not wait for them."""
    server = run_server(store.path, drain_seconds=100_000.0)
    go_on = threading.Event()

    def questions():
        yield question([FIRST])
        go_on.wait()

    call, watching = stream(server, questions()), watch(server)
    assert len(codes(next(call))) == 1
    next(watching)
    assert server.stop() == 0
    for ended in (call, watching):
        with pytest.raises(grpc.RpcError) as caught:
            next(ended)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    go_on.set()


def test_a_stream_that_begins_during_the_drain_ends_at_once() -> None:
    """A call that grpc had accepted in the moment of the stop does not hold it up."""

    async def questions() -> AsyncIterator[bytes]:
        yield b""

    async def never(*_: object) -> bytes:
        raise AssertionError

    streams = NumberRouting(None, make_logger(io.StringIO()))  # type: ignore[arg-type]
    streams.drain()

    async def begin() -> None:
        async with asyncio.timeout(30):
            await streams.stream_lookup(
                questions(), Call("StreamLookup", SimpleNamespace(write=never))
            )  # type: ignore[arg-type]

    with pytest.raises(StoppingError):
        asyncio.run(begin())


async def test_nothing_behind_a_refused_question_is_asked(monkeypatch) -> None:
    """What stands behind a question that ends the stream gets no answer, and counts for nothing."""
    asked: list[bytes] = []
    written: list[bytes] = []

    async def questions() -> AsyncIterator[bytes]:
        for each in (b"a", b"refused", b"c", b"d"):
            await asyncio.sleep(0)
            yield each

    async def answer(each: bytes, _call: object) -> bytes:
        asked.append(each)
        if each == b"refused":
            raise LimitExceededError("numbers", actual=2, limit=1)
        return each

    async def write(response: bytes) -> None:
        # A client that takes its time.
        for _ in range(20):
            await asyncio.sleep(0)
        written.append(response)

    streams = NumberRouting(None, make_logger(io.StringIO()))  # type: ignore[arg-type]
    monkeypatch.setattr(streams, "bulk_lookup", answer)
    with pytest.raises(LimitExceededError):
        await streams.stream_lookup(questions(), Call("StreamLookup", SimpleNamespace(write=write)))
    assert asked == [b"a", b"refused"]
    assert written == [b"a"]


def test_what_was_read_is_answered_before_the_stop(run_server, store, gate) -> None:
    """A question that was read before the stop signal is answered, then the stream ends."""
    server = run_server(store.path, before=gate.code, drain_seconds=100_000.0)
    gate.shut()
    go_on = threading.Event()

    def questions():
        yield question([FIRST] * 5_000)
        go_on.wait()

    call = stream(server, questions())
    gate.wait_for_a_call()
    server.process.send_signal(15)
    server.wait_for_log("draining")
    gate.open()
    assert len(codes(next(call))) == 5_000
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert server.process.wait(60) == 0
    go_on.set()


@pytest.fixture
def own_store(tmp_path) -> SnapshotStore:
    """Return an empty store of the test's own."""
    return SnapshotStore(tmp_path / "store", create=True)


def test_snapshots_are_announced(own_store, run_server) -> None:
    """A watch waits for the first snapshot, then tells of each that takes its place."""
    server = run_server(own_store.path)
    call = watch(server)
    for generation in range(3):
        snapshot_id = publish(own_store, make_registry(generation))
        message = pb.WatchSnapshotsResponse.FromString(next(call))
        assert message.snapshot.id == snapshot_id
        assert message.counts["ported"] == 500
        assert message.built_at.seconds > message.snapshot.as_of.seconds > 0
    late = watch(server)
    assert pb.WatchSnapshotsResponse.FromString(next(late)).snapshot.id == snapshot_id


def test_each_answer_of_a_stream_is_of_one_snapshot(own_store, run_server) -> None:
    """A stream over a change of snapshot goes on with answers from the new one."""
    old = publish(own_store, make_registry(0))
    server = run_server(own_store.path)
    numbers = sorted(make_registry(0).ported)[:50]
    published = threading.Event()

    def questions():
        yield question(numbers)
        published.wait()
        yield question(numbers)

    call = stream(server, questions())
    before = next(call)
    new = publish(own_store, make_registry(1))
    server.wait_for_log("snapshot in service", 2)
    published.set()
    after = next(call)
    for answer, snapshot_id, generation in ((before, old, 0), (after, new, 1)):
        assert pb.BulkLookupResponse.FromString(answer).snapshot.id == snapshot_id
        found = make_registry(generation)
        assert codes(answer) == [found.answer(number)[0].operator.code for number in numbers]


@pytest.mark.parametrize("request_bytes", [b"\xff" * 50, b"\x0a"])
def test_a_watch_with_a_malformed_request(server, request_bytes) -> None:
    """Bytes that are no message are refused as an invalid argument."""
    with pytest.raises(grpc.RpcError) as caught:
        next(watch(server, request_bytes))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "WatchSnapshotsRequest" in caught.value.details()
