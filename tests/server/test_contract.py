"""The same cases over every way to ask, against a plain dict.

The ways are the open store, rows, columns, streams, both clients, and single numbers gathered by
one.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import ways
from support.oracle import FIRST, LAST, make_registry, publish
from support.ways import Asked, Row, code_of

import numroute
from numroute.client.core import NUMBERS_PER_CHUNK
from numroute.errors import NumrouteError, ServiceError
from numroute.index import SnapshotStore
from numroute.model import NUMBER_MAX, Operator, Status
from numroute.server.limits import NUMBERS_PER_BULK_PREFERRED
from numroute.v1 import number_routing_pb2 as pb

FEW = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def expected(registry, asked: Asked) -> list[Row]:
    """Return what the dict says, with the columns that are asked for."""
    return [
        (
            route,
            ported_at if asked.with_ported_at else None,
            holder if asked.with_range_holder else None,
        )
        for route, ported_at, holder in map(registry.answer, asked.numbers)
    ]


def each(named: list[ways.Way]) -> pytest.MarkDecorator:
    """Run a test over these ways."""
    return pytest.mark.parametrize("way", named, ids=lambda way: way.__name__)


def some(registry, status: Status, count: int) -> list[int]:
    """Return numbers of a status, within the registry."""
    found = (n for n in range(FIRST, LAST) if registry.answer(n)[0].status is status)
    return [next(found) for _ in range(count)]


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


@each(ways.WAYS)
@given(data=st.data())
@FEW
def test_any_numbers_are_answered_as_the_oracle_answers(
    way, server, store, registry, numbers_of, data
) -> None:
    """A batch is answered as the dict answers, number for number and in its order."""
    asked = Asked(
        server=server,
        store=store,
        numbers=data.draw(numbers_of),
        with_range_holder=data.draw(st.booleans()),
        with_ported_at=data.draw(st.booleans()),
    )
    assert way(asked).rows == expected(registry, asked)


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


@each([*ways.WAYS, ways.texts])
@pytest.mark.parametrize("status", [Status.PORTED, Status.NOT_PORTED, Status.UNALLOCATED])
def test_each_status(way, status, server, store, registry) -> None:
    """Ported, not ported and unallocated numbers are told apart, with all columns."""
    asked = Asked(server=server, store=store, numbers=some(registry, status, 7))
    answered = way(asked)
    assert {route.status for route, _, _ in answered.rows} == {status}
    assert answered.rows == expected(registry, asked)
    assert answered.snapshots == {(store.current_id(), False)}


@each(ways.WAYS)
def test_what_is_no_number(way, server, store) -> None:
    """0 and what has more than 15 digits is INVALID: an answer, not an error."""
    asked = Asked(server=server, store=store, numbers=[0, NUMBER_MAX + 1, 2**63, 2**64 - 1])
    rows = way(asked).rows
    assert [route.status for route, _, _ in rows] == [Status.INVALID] * 4
    assert {(time, holder) for _, time, holder in rows} == {(0, Operator())}


@each([*ways.WAYS, ways.texts])
def test_nothing_asked_nothing_answered(way, server, store) -> None:
    """An empty batch has an empty answer."""
    assert way(Asked(server=server, store=store, numbers=[])).rows == []


@each([*ways.WAYS, ways.texts])
def test_repeated_numbers_in_any_order(way, server, store, registry) -> None:
    """Each occurrence of a number is answered, in its place."""
    ported, free = sorted(registry.ported)[:3], some(registry, Status.UNALLOCATED, 2)
    numbers = [*ported, *free, *reversed(ported), ported[0], free[1], ported[0]]
    asked = Asked(server=server, store=store, numbers=numbers)
    assert way(asked).rows == expected(registry, asked)


@each(ways.WAYS)
@pytest.mark.parametrize("with_range_holder", [False, True])
@pytest.mark.parametrize("with_ported_at", [False, True])
def test_only_the_columns_that_are_asked_for(
    way, server, store, registry, with_range_holder, with_ported_at
) -> None:
    """The optional columns come when they are asked for, each for itself."""
    asked = Asked(
        server=server,
        store=store,
        numbers=sorted(registry.ported)[:9],
        with_range_holder=with_range_holder,
        with_ported_at=with_ported_at,
    )
    assert way(asked).rows == expected(registry, asked)


@pytest.fixture(scope="module")
def half_a_million(registry) -> tuple[list[int], list[Row]]:
    """Return the largest batch, and what the dict says of it."""
    ways.know(registry.content.routes)
    ways.know(route.operator for route in registry.content.routes)
    numbers = np.random.default_rng(2).integers(FIRST - 1_000, LAST + 1_000, 500_000).tolist()
    return numbers, [registry.answer(number) for number in numbers]


@each([way for way in ways.WAYS if way is not ways.coalescing])
def test_half_a_million_numbers_in_one_message(way, server, store, half_a_million) -> None:
    """The largest batch, which is looked up in pieces, is answered like any other."""
    numbers, rows = half_a_million
    asked = Asked(server=server, store=store, numbers=numbers, step=500_000)
    assert way(asked).rows == rows


def test_many_single_numbers_at_once(server, store, half_a_million) -> None:
    """Twenty thousand tasks that each ask for one number get each its own answer."""
    numbers, rows = half_a_million
    asked = Asked(server=server, store=store, numbers=numbers[:20_000])
    assert ways.coalescing(asked).rows == rows[:20_000]


@each(ways.ONE_MESSAGE_WAYS)
def test_one_number_too_many(way, server, store) -> None:
    """500,001 numbers in one message are refused, with the limit, and the service goes on."""
    asked = Asked(
        server=server, store=store, numbers=np.full(500_001, FIRST).tolist(), step=500_001
    )
    with pytest.raises(ways.FAILURES, match=r"500000") as caught:
        way(asked)
    assert code_of(caught.value) in {"INVALID_ARGUMENT", "ValueError"}
    assert len(way(Asked(server=server, store=store, numbers=[FIRST])).rows) == 1


@each([ways.client, ways.async_client])
def test_more_than_a_message_holds_is_cut(way, server, store, registry) -> None:
    """500,001 numbers are no limit for a client: it sends them in several requests."""
    asked = Asked(
        server=server, store=store, numbers=np.full(500_001, FIRST).tolist(), step=250_000
    )
    assert set(way(asked).rows) == {registry.answer(FIRST)}


@each([*ways.SERVICE_WAYS, ways.texts])
def test_stale_data_is_marked(way, store, run_server, registry) -> None:
    """Answers from data older than the service's limit say so."""
    server = run_server(store.path, max_age=3600.0)
    asked = Asked(server=server, store=store, numbers=sorted(registry.ported)[:2])
    answered = way(asked)
    assert answered.snapshots == {(store.current_id(), True)}
    assert answered.rows == expected(registry, asked)


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> SnapshotStore:
    """Return a store without a snapshot."""
    return SnapshotStore(tmp_path_factory.mktemp("empty") / "store", create=True)


@each([*ways.WAYS, ways.texts])
def test_no_snapshot(way, empty, run_server) -> None:
    """Without a snapshot the error says so and what to do, and that asking again may help."""
    asked = Asked(server=run_server(empty.path), store=empty, numbers=[FIRST])
    with pytest.raises(ways.FAILURES, match=r"no (current )?snapshot") as caught:
        way(asked)
    assert code_of(caught.value) in {"UNAVAILABLE", "NoSnapshotError"}
    assert "numroute-load build" in str(caught.value)


# Texts, explanations and tables: the service and both clients.

CLIENTS = ["sync", "asyncio"]


def ask_client(kind: str, server, method: str, *arguments, **options):
    """Call a method of a client of this kind."""
    if kind == "sync":
        with numroute.Client(server.target, timeout=30.0) as client:
            return getattr(client, method)(*arguments, **options)

    async def ask():
        async with numroute.AsyncClient(server.target, timeout=30.0) as client:
            return await getattr(client, method)(*arguments, **options)

    return asyncio.run(ask())


@pytest.mark.parametrize("kind", CLIENTS)
def test_clients_answer_texts_in_order(kind, server, registry) -> None:
    """Both clients answer 2,500 texts, three requests, in the order of the question."""
    numbers = [FIRST + i * 399 for i in range(2_499)]
    texts = [f"+{number}" for number in numbers] + ["no number"]
    answers = ask_client(kind, server, "lookup_text", texts)
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


@pytest.mark.parametrize("kind", CLIENTS)
def test_invalid_text_says_why(kind, server) -> None:
    """A text that is no number is answered INVALID with a reason, not with an error."""
    (letters,) = ask_client(kind, server, "lookup_text", ["call me"], "RU")
    (national,) = ask_client(kind, server, "lookup_text", ["8 (900) 012-34-56"])
    assert (letters.status, letters.number) == (Status.INVALID, 0)
    assert letters.invalid_reason.name == "NOT_A_NUMBER"
    assert letters.route is None
    assert letters.range_holder is None
    assert national.invalid_reason.name == "NO_DEFAULT_REGION"


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(("method", "asked"), [("lookup_text", ["1"]), ("explain", "1")])
def test_unknown_region(kind, method, asked, server) -> None:
    """A default region that does not exist is refused, with what to give."""
    with pytest.raises(ServiceError, match="ISO 3166") as caught:
        ask_client(kind, server, method, asked, "XX")
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_past(kind, tmp_path, run_server) -> None:
    """With as_of the snapshot of that time answers and explains; before the first none does."""
    store = SnapshotStore(tmp_path / "store", create=True)
    old = publish(store, make_registry(0))
    time.sleep(0.01)
    then = datetime.now(UTC)
    time.sleep(0.01)
    new = publish(store, make_registry(1))
    server = run_server(store.path)
    number = min(make_registry(0).ported)
    for as_of, snapshot_id, generation in ((then, old, 0), (None, new, 1)):
        (answer,) = ask_client(kind, server, "lookup_text", [f"+{number}"], as_of=as_of)
        why = ask_client(kind, server, "explain", f"+{number}", as_of=as_of)
        assert answer.snapshot.id == why.snapshot.id == snapshot_id
        route = make_registry(generation).answer(number)[0]
        assert answer.route == why.route == route
    with pytest.raises(ServiceError, match="no snapshot was current") as caught:
        ask_client(kind, server, "lookup_text", ["+1"], as_of=then - timedelta(days=1))
    assert caught.value.code == "NOT_FOUND"
    with pytest.raises(ServiceError, match="future") as caught:
        ask_client(kind, server, "lookup_text", ["+1"], as_of=then + timedelta(days=1))
    assert caught.value.code == "INVALID_ARGUMENT"
    with pytest.raises(ValueError, match="no time zone"):
        ask_client(kind, server, "lookup_text", ["+1"], as_of=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("kind", CLIENTS)
def test_explanations(kind, server, store, registry) -> None:
    """Both clients say which layer decided and what each says."""
    number = next(number for number, (_, at) in registry.ported.items() if at)
    route, ported_at, holder = registry.answer(number)
    why = ask_client(kind, server, "explain", f"+{number}")
    assert (why.input, why.number, why.status) == (f"+{number}", number, Status.PORTED)
    assert (why.decided_by, why.route) == ("ported record", route)
    assert why.snapshot.id == store.current_id()
    record, held = why.layers
    assert (record.name, record.decides, record.route) == ("ported record", True, route)
    assert record.ported_at.timestamp() == ported_at
    assert record.sources[0].sequence == 4637
    assert (held.name, held.decides) == ("range", False)
    assert held.route is None or held.route.operator == holder
    assert held.first <= number <= held.last
    nothing = ask_client(kind, server, "explain", "call me")
    assert (nothing.decided_by, nothing.route) == ("nothing", None)
    assert nothing.invalid_reason.name == "NOT_A_NUMBER"


@pytest.mark.parametrize("kind", CLIENTS)
def test_tables(kind, server, registry) -> None:
    """Both clients list the operators, each with its networks."""
    operators = ask_client(kind, server, "operators")
    routes = registry.content.routes[2:]
    assert {each.operator for each in operators} == {route.operator for route in routes}
    for entry in operators:
        own = [route for route in routes if route.operator == entry.operator]
        assert set(entry.networks) == {(route.mcc, route.mnc) for route in own}
        assert entry.serves_ported_numbers == any(r.status is Status.PORTED for r in own)


@pytest.mark.parametrize("kind", CLIENTS)
def test_snapshot_tells_what_it_is(kind, server, store, registry) -> None:
    """GetSnapshot gives id, times, sources and counts."""
    metadata = store.open().metadata
    info = ask_client(kind, server, "snapshot")
    assert info.snapshot.id == metadata.snapshot_id
    assert info.snapshot.as_of == metadata.as_of
    assert info.built_at == metadata.built_at
    assert info.format_version == metadata.format_version
    assert info.counts == dict(metadata.counts)
    assert info.sources[0].sequence == 4637
    assert info.sources[0].rows == len(registry.ported)
    assert info.age_seconds > 0
    assert info.changes is None
    assert info.preferred_numbers_per_call == NUMBERS_PER_BULK_PREFERRED == NUMBERS_PER_CHUNK
    assert not info.snapshot.stale


@pytest.mark.parametrize("kind", CLIENTS)
def test_no_snapshot_for_the_other_calls(kind, empty, run_server) -> None:
    """Without a snapshot every call says so."""
    server = run_server(empty.path)
    for method, arguments in (("snapshot", ()), ("operators", ()), ("explain", ("+1",))):
        with pytest.raises(NumrouteError, match="no snapshot is in service") as caught:
            ask_client(kind, server, method, *arguments)
        assert caught.value.code == "UNAVAILABLE"
