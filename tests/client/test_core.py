"""How a question in several requests gets one answer from one snapshot, and when calls repeat."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numroute import wire
from numroute.client.core import (
    ATTEMPTS_MAX,
    BACKOFF_SECONDS,
    BACKOFF_SECONDS_MAX,
    REFUSALS_MAX,
    RESTARTS_MAX,
    Question,
    Watch,
    bulk_question,
    retry_pause,
    text_question,
)
from numroute.errors import ServiceError
from numroute.v1 import number_routing_pb2 as pb

REFUSED = ServiceError("another snapshot", code="FAILED_PRECONDITION")


def make_question(numbers: int, per_chunk: int = 1) -> Question:
    """Return a question about this many numbers."""
    array = np.arange(numbers, dtype=np.uint64)
    return bulk_question(array, per_chunk, with_range_holder=False, with_ported_at=False)


def columns(snapshot: str, codes: list[str], indexes: list[int]) -> bytes:
    """Return a response with a route per operator code; a later letter is a newer snapshot."""
    message = pb.BulkLookupResponse(route_indexes=indexes)
    message.snapshot.id = snapshot
    message.snapshot.as_of.seconds = ord(snapshot[0])
    for code in codes:
        message.routes.add(status=pb.STATUS_NOT_PORTED).operator.code = code
    return message.SerializeToString()


@dataclass
class Asked:
    """What a question took."""

    snapshot: str
    requests: int


def ask(
    chunks: int, snapshots: Iterable[str], *, at_once: int = 1, knows_ids: bool = True
) -> Asked:
    """Ask a question of replicas whose snapshots answer one request each, in this order.

    The answer is checked: each chunk's comes from the snapshot that the whole names. Replicas that
    do not know ``snapshot_id`` answer from what they have.
    """
    question, replicas, requests = make_question(chunks), iter(snapshots), 0
    under_way: deque[tuple[int, bytes]] = deque()
    while not question.done:
        while len(under_way) < at_once and (asked := question.next_request()):
            under_way.append(asked)
        chunk, request = under_way.popleft()
        requests += 1
        has, wanted = next(replicas), pb.BulkLookupRequest.FromString(request).snapshot_id
        if knows_ids and wanted not in {"", has}:
            question.refuse(chunk, REFUSED)
        else:
            question.accept(chunk, columns(has, [f"{has}{chunk}"], [0]))
    answer = question.answer()
    codes = [answer.routes[index].operator.code for index in answer.route_index]
    assert codes == [f"{answer.snapshot.id}{chunk}" for chunk in range(chunks)]
    return Asked(answer.snapshot.id, requests)


def test_routes_of_all_requests_are_joined() -> None:
    """Each response counts its own routes; the answer has each once, from one snapshot."""
    question = make_question(5, 2)
    first, second, third = (question.next_request() for _ in range(3))
    assert question.next_request() is None
    question.accept(third[0], columns("s", ["mB"], [0]))
    question.accept(first[0], columns("s", ["mC", "mB"], [0, 1]))
    question.accept(second[0], columns("s", ["mA", "mB"], [1, 0]))
    assert question.done
    answer = question.answer()
    codes = [answer.routes[i].operator.code for i in answer.route_index]
    assert codes == ["mC", "mB", "mB", "mA", "mB"]
    assert sorted(route.operator.code for route in answer.routes) == ["mA", "mB", "mC"]


def test_the_answer_to_one_request_may_be_changed() -> None:
    """Its array is the caller's own, no view of the response."""
    answer = make_question(2, 2).whole_answer(columns("s", ["mA", "mB"], [1, 0]))
    answer.route_index[0] = 0
    assert answer.route_index.tolist() == [0, 0]


def test_later_requests_name_the_first_answers_snapshot() -> None:
    """The first request takes any snapshot; once it is answered the others ask for the same."""
    for question, message in (
        (make_question(2), pb.BulkLookupRequest),
        (text_question(["x"] * 1_001, None), pb.LookupRequest),
    ):
        chunk, request = question.next_request()
        assert message.FromString(request).snapshot_id == ""
        if message is pb.LookupRequest:
            response = pb.LookupResponse(answers=[pb.LookupAnswer(status=3)] * 1_000)
            response.snapshot.id = "s"
            question.accept(chunk, response.SerializeToString())
        else:
            question.accept(chunk, columns("s", ["m"], [0]))
        _, request = question.next_request()
        assert message.FromString(request).snapshot_id == "s"


@pytest.mark.parametrize("knows_ids", [True, False])
@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("snapshots", ["a", "ab", "ba", "abc", "abb", "abcd", "abcde"])
@pytest.mark.parametrize("chunks", [1, 2, 3, 4, 7, 30])
def test_replicas_that_differ(snapshots, chunks, at_once, knows_ids) -> None:
    """Replicas with different snapshots that take turns answer a question of any size."""
    asked = ask(chunks, itertools.cycle(snapshots), at_once=at_once, knows_ids=knows_ids)
    assert chunks <= asked.requests <= len(snapshots) * chunks + at_once


@pytest.mark.parametrize("knows_ids", [True, False])
@pytest.mark.parametrize("before", range(8))
def test_a_change_for_good(before, knows_ids) -> None:
    """When a snapshot takes the place of another, after any chunk, the question is completed."""
    asked = ask(7, itertools.chain("o" * before, itertools.repeat("n")), knows_ids=knows_ids)
    assert asked.snapshot == ("o" if before == 7 else "n")
    assert asked.requests == 7 + (before + REFUSALS_MAX) * (0 < before < 7)


@given(
    chunks=st.integers(1, 6),
    first=st.text("abcdef", max_size=60),
    then=st.text("abcdef", min_size=1, max_size=3),
    at_once=st.integers(1, 4),
    knows_ids=st.booleans(),
)
def test_any_order_of_snapshots(chunks, first, then, at_once, knows_ids) -> None:
    """Snapshots that take turns complete the question, however it began."""
    ask(chunks, itertools.chain(first, itertools.cycle(then)), at_once=at_once, knows_ids=knows_ids)


def test_snapshots_that_change_all_the_time() -> None:
    """A question that no snapshot answers whole is given up after a bounded number of attempts."""
    changing = (chr(1_000 + count) for count in itertools.count())
    with pytest.raises(ServiceError, match=f"in {RESTARTS_MAX + 1} attempts") as caught:
        ask(2, changing)
    assert caught.value.code == "ABORTED"


def test_another_error_ends_the_question() -> None:
    """Only the refusal of a named snapshot is asked again; one request names none."""
    with pytest.raises(ServiceError) as caught:
        make_question(2).refuse(0, ServiceError("no", code="INVALID_ARGUMENT"))
    assert caught.value.code == "INVALID_ARGUMENT"
    with pytest.raises(ServiceError, match="another snapshot"):
        make_question(1).refuse(0, REFUSED)


def test_a_client_waits_for_a_service_that_answered_it() -> None:
    """Before its first answer a call is sent a few times, after it until its time is up."""
    for code in ("UNAVAILABLE", "CANCELLED"):
        pauses = [
            retry_pause(code, None, tries, 60.0, reached=False) for tries in range(ATTEMPTS_MAX)
        ]
        assert pauses == [BACKOFF_SECONDS, 2 * BACKOFF_SECONDS, 4 * BACKOFF_SECONDS, None]
        pauses = [retry_pause(code, (), tries, 60.0, reached=True) for tries in range(20)]
        assert pauses[:2] == [BACKOFF_SECONDS, 2 * BACKOFF_SECONDS]
        assert pauses[-1] == BACKOFF_SECONDS_MAX
        assert retry_pause(code, (), 20, 0.4, reached=True) == 0.2
        assert retry_pause(code, (), 20, BACKOFF_SECONDS / 2, reached=True) is None


@pytest.mark.parametrize(
    ("code", "trailers", "pause"),
    [
        ("INVALID_ARGUMENT", (), None),
        ("INTERNAL", (), None),
        ("RESOURCE_EXHAUSTED", (), None),
        ("RESOURCE_EXHAUSTED", ((wire.RETRY_AFTER_KEY, "1500"),), 1.5),
        ("RESOURCE_EXHAUSTED", ((wire.RETRY_AFTER_KEY, "2000"),), None),
        ("UNAVAILABLE", ((wire.RETRY_AFTER_KEY, "20"),), 0.02),
        ("UNAVAILABLE", ((wire.RETRY_AFTER_KEY, "soon"),), BACKOFF_SECONDS),
    ],
)
def test_the_service_says_when_to_come_back(code, trailers, pause) -> None:
    """What the service asks for counts, unless it outlasts the call; other errors end the call."""
    assert retry_pause(code, trailers, 0, 2.0, reached=False) == pause


def test_a_watch_announces_nothing_twice() -> None:
    """A snapshot announced again after a reconnection is passed over; an ended call goes on."""
    watch = Watch(seconds=5.0, now=100.0)

    def response(snapshot: str) -> bytes:
        message = pb.WatchSnapshotsResponse()
        message.snapshot.id = snapshot
        return message.SerializeToString()

    assert watch.pause("UNAVAILABLE", (), 104.0) == BACKOFF_SECONDS
    assert watch.news(response("a")).snapshot.id == "a"
    assert watch.news(response("a")) is None
    assert watch.pause("OK", (), 200.0) == BACKOFF_SECONDS
    assert watch.pause("UNAVAILABLE", (), 200.0) == BACKOFF_SECONDS
    assert watch.news(response("b")).snapshot.id == "b"
    assert watch.pause("PERMISSION_DENIED", (), 200.0) is None
    assert Watch(seconds=5.0, now=100.0).pause("UNAVAILABLE", (), 105.1) is None


def test_trailers_of_an_older_grpcio_are_understood() -> None:
    """As a mapping, the trailers of grpc.aio up to 1.71 have pairs for keys."""

    class Metadata(tuple[tuple[str, str], ...]):
        __slots__ = ()

        def keys(self) -> Iterable[tuple[str, str]]:
            return list(self)

    trailers = Metadata([(wire.RETRY_AFTER_KEY, "50")])
    assert retry_pause("RESOURCE_EXHAUSTED", trailers, 0, 1.0, reached=True) == 0.05


def test_a_wait_of_nothing_is_a_short_one() -> None:
    """A client that was answered before does not ask again without a pause."""
    trailers = ((wire.RETRY_AFTER_KEY, "0"),)
    assert retry_pause("UNAVAILABLE", trailers, 0, 1.0, reached=True) == 0.001
