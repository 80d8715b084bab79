"""Every way to ask gives what a plain dict says: rows, columns, both clients."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.oracle import FIRST, LAST

import numroute
from numroute import wire
from numroute.model import NUMBER_MAX, Operator, Route, Status
from numroute.v1 import number_routing_pb2 as pb

FEW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
Row = tuple[Route, int, Operator]


def ask_columns(server, numbers: list[int]) -> list[Row]:
    """Ask BulkLookup with the generated messages."""
    request = pb.BulkLookupRequest(numbers=numbers, with_range_holder=True, with_ported_at=True)
    message = pb.BulkLookupResponse.FromString(
        server.call("BulkLookup", request.SerializeToString())
    )
    routes = [wire.route_value(route) for route in message.routes]
    holders = [wire.operator_value(operator) for operator in message.range_holders]
    assert len(set(routes)) == len(routes)
    assert len(set(holders)) == len(holders)
    assert set(message.route_indexes) == set(range(len(routes)))
    assert set(message.range_holder_indexes) == set(range(len(holders)))
    return [
        (routes[route], time, holders[holder])
        for route, time, holder in zip(
            message.route_indexes, message.ported_at, message.range_holder_indexes, strict=True
        )
    ]


def bulk_rows(answer: numroute.client.BulkAnswer) -> list[Row]:
    """Return a client's bulk answer as rows."""
    assert answer.route_index.dtype == answer.range_holder_index.dtype == np.uint32
    return [
        (answer.routes[route], time, answer.range_holders[holder])
        for route, time, holder in zip(
            answer.route_index.tolist(),
            answer.ported_at.tolist(),
            answer.range_holder_index.tolist(),
            strict=True,
        )
    ]


def ask_client(server, numbers: list[int]) -> list[Row]:
    """Ask with the client, in chunks of three numbers."""
    with numroute.Client(server.target, numbers_per_chunk=3) as client:
        return bulk_rows(
            client.lookup(np.array(numbers, np.uint64), with_range_holder=True, with_ported_at=True)
        )


def ask_async_client(server, numbers: list[int]) -> list[Row]:
    """Ask with the asyncio client, in chunks of three numbers."""

    async def ask() -> list[Row]:
        async with numroute.AsyncClient(server.target, numbers_per_chunk=3) as client:
            return bulk_rows(
                await client.lookup(
                    np.array(numbers, np.uint64), with_range_holder=True, with_ported_at=True
                )
            )

    return asyncio.run(ask())


def ask_one_column(server, numbers: list[int]) -> list[Row]:
    """Ask with the client for each optional column alone, and for none."""
    with numroute.Client(server.target) as client:
        plain = client.lookup(numbers)
        timed = client.lookup(numbers, with_ported_at=True)
        held = client.lookup(numbers, with_range_holder=True)
    assert plain.ported_at is None
    assert plain.range_holder_index is None
    assert held.ported_at is None
    assert timed.range_holder_index is None
    assert plain.routes == timed.routes == held.routes
    return [
        (plain.routes[route], time, held.range_holders[holder])
        for route, time, holder in zip(
            plain.route_index.tolist(),
            timed.ported_at.tolist(),
            held.range_holder_index.tolist(),
            strict=True,
        )
    ]


def row_of(message: pb.LookupAnswer) -> Row:
    """Return a row answer's message as a row; its statuses are checked against each other."""
    status = Status(message.status)
    assert message.route.status == pb.STATUS_UNSPECIFIED
    assert message.HasField("route") == (status in {Status.PORTED, Status.NOT_PORTED})
    return (
        wire.route_value(message.route, status=status),
        message.ported_at.seconds,
        wire.operator_value(message.range_holder),
    )


@pytest.fixture(scope="module")
def numbers_of(registry) -> st.SearchStrategy[list[int]]:
    """Return lists of numbers: ported, at the ends of ranges, within, outside, and no numbers."""
    borders = sorted({start + step for start in registry.starts[1:] for step in (-1, 0, 1)})
    return st.lists(
        st.sampled_from(sorted(registry.ported))
        | st.sampled_from(borders)
        | st.integers(FIRST - 10, LAST + 10)
        | st.integers(0, 2**64 - 1)
        | st.sampled_from([0, 1, NUMBER_MAX, NUMBER_MAX + 1, 2**63, 2**64 - 1]),
        max_size=40,
    )


@pytest.mark.parametrize(
    "ask", [ask_columns, ask_client, ask_async_client, ask_one_column], ids=lambda ask: ask.__name__
)
@given(data=st.data())
@FEW
def test_columns_equal_the_oracle(ask, server, registry, numbers_of, data) -> None:
    """A batch is answered as the dict answers, number for number, whichever way it is asked."""
    numbers = data.draw(numbers_of)
    assert ask(server, numbers) == [registry.answer(number) for number in numbers]


@pytest.mark.parametrize("text_of", ["+{}".format, "{}".format, "8 {0}".format])
@given(data=st.data())
@FEW
def test_rows_equal_the_oracle(text_of, server, registry, data) -> None:
    """Texts are answered as the dict answers the numbers that they mean."""
    numbers = data.draw(
        st.lists(st.sampled_from(sorted(registry.ported)) | st.integers(FIRST, LAST), max_size=20)
    )
    # A Russian national format has 8 in the place of the country code 7.
    texts = [
        text_of(str(number)[1:] if text_of(1).startswith("8") else number) for number in numbers
    ]
    request = pb.LookupRequest(numbers=texts, default_region="RU")
    message = pb.LookupResponse.FromString(server.call("Lookup", request.SerializeToString()))
    assert [answer.input for answer in message.answers] == texts
    assert [answer.number for answer in message.answers] == numbers
    assert [row_of(answer) for answer in message.answers] == [
        registry.answer(number) for number in numbers
    ]


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_clients_answer_texts_in_order(kind, server, registry) -> None:
    """Both clients answer 2,500 texts, three requests, in the order of the question."""
    numbers = [FIRST + i * 399 for i in range(2_499)]
    texts = [f"+{number}" for number in numbers] + ["no number"]
    if kind == "sync":
        with numroute.Client(server.target) as client:
            answers = client.lookup_text(texts)
    else:

        async def ask() -> list[numroute.client.Answer]:
            async with numroute.AsyncClient(server.target) as client:
                return await client.lookup_text(texts)

        answers = asyncio.run(ask())
    assert [answer.input for answer in answers] == texts
    assert [answer.number for answer in answers] == [*numbers, 0]
    for number, answer in zip(numbers, answers, strict=False):
        route, ported_at, holder = registry.answer(number)
        assert answer.status is route.status
        assert answer.route == (
            route if route.status in {Status.PORTED, Status.NOT_PORTED} else None
        )
        assert (answer.ported_at.timestamp() if answer.ported_at else 0) == ported_at
        assert (answer.range_holder or Operator()) == holder


def test_invalid_text_says_why(server) -> None:
    """A text that is no number is answered INVALID with a reason, not with an error."""
    with numroute.Client(server.target) as client:
        (letters,) = client.lookup_text(["call me"], "RU")
        (national,) = client.lookup_text(["8 (900) 012-34-56"])
    assert (letters.status, letters.number) == (Status.INVALID, 0)
    assert letters.invalid_reason.name == "NOT_A_NUMBER"
    assert letters.route is None
    assert letters.range_holder is None
    assert national.invalid_reason.name == "NO_DEFAULT_REGION"


def test_half_a_million_numbers_in_one_request(server, registry) -> None:
    """The largest batch, which is looked up in pieces, is answered like any other."""
    numbers = np.random.default_rng(2).integers(FIRST - 1_000, LAST + 1_000, 500_000)
    with numroute.Client(server.target, numbers_per_chunk=500_000) as client:
        answer = client.lookup(numbers, with_range_holder=True, with_ported_at=True, timeout=60)
    rows = bulk_rows(answer)
    assert rows == [registry.answer(number) for number in numbers.tolist()]


def test_snapshot_tells_what_it_is(server, store, registry) -> None:
    """GetSnapshot gives id, times, sources and counts, and both clients read them."""
    metadata = store.open().metadata
    with numroute.Client(server.target) as client:
        info = client.snapshot()

    async def ask() -> numroute.client.SnapshotInfo:
        async with numroute.AsyncClient(server.target) as client:
            return await client.snapshot()

    assert info.snapshot.id == asyncio.run(ask()).snapshot.id == metadata.snapshot_id
    assert info.snapshot.as_of == metadata.as_of
    assert info.built_at == metadata.built_at
    assert info.format_version == metadata.format_version
    assert info.counts == dict(metadata.counts)
    assert info.sources[0].sequence == 4637
    assert info.sources[0].rows == len(registry.ported)
    assert info.age_seconds > 0
    assert not info.snapshot.stale
