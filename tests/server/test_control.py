"""What the service says about its snapshot: explanations, operators, and answers of the past."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from support.oracle import FIRST, make_registry, publish

from numroute import wire
from numroute.index import SnapshotStore
from numroute.model import Route, Status
from numroute.server.limits import PAST_SNAPSHOTS_MAX
from numroute.v1 import number_routing_pb2 as pb


def explain(server, text: str, region: str = "") -> pb.ExplainResponse:
    """Ask why a number is answered as it is."""
    request = pb.ExplainRequest(number=text, default_region=region)
    return pb.ExplainResponse.FromString(server.call("Explain", request.SerializeToString()))


def test_a_ported_number_is_explained(server, registry, store) -> None:
    """The ported record decides, and the range tells who would have answered without it."""
    number = next(number for number, (_, time) in registry.ported.items() if time)
    route, ported_at, holder = registry.answer(number)
    told = explain(server, f"+{number}")
    assert (told.input, told.number) == (f"+{number}", number)
    assert told.status == pb.STATUS_PORTED
    assert told.decided_by == pb.LAYER_NAME_PORTED_RECORD
    assert wire.value(Route, told.route, status=Status.PORTED) == route
    assert told.snapshot.id == store.current_id()
    record, held = told.layers
    assert (record.name, held.name) == (pb.LAYER_NAME_PORTED_RECORD, pb.LAYER_NAME_RANGE)
    assert (record.decides, held.decides) == (True, False)
    assert record.ported_at.seconds == ported_at
    assert record.sources[0].sequence == 4637
    assert held.first <= number <= held.last
    assert held.route.operator.code == holder.code


def test_a_number_of_its_range_holder_is_explained(server, registry) -> None:
    """Without a ported record the range decides; a national format is understood."""
    number = next(n for n in range(FIRST, FIRST + 10**6) if registry.answer(n)[0].status == 2)
    told = explain(server, f"8{str(number)[1:]}", "RU")
    assert told.decided_by == pb.LAYER_NAME_RANGE
    assert told.layers[0].route.operator.code == ""
    assert told.layers[1].decides


def test_what_nobody_holds_is_explained(server) -> None:
    """Unallocated and invalid numbers are decided by nothing."""
    unallocated, invalid = explain(server, "+12125551234"), explain(server, "call me")
    assert unallocated.status == pb.STATUS_UNALLOCATED
    assert not unallocated.HasField("route")
    assert unallocated.decided_by == pb.LAYER_NAME_NOTHING
    assert invalid.status == pb.STATUS_INVALID
    assert invalid.invalid_reason == pb.INVALID_REASON_NOT_A_NUMBER
    assert invalid.decided_by == pb.LAYER_NAME_NOTHING


def test_operators_are_listed_once(server, registry, store) -> None:
    """Each operator of a route is listed once, with its networks and what it does."""
    told = pb.ListOperatorsResponse.FromString(server.call("ListOperators", b""))
    assert told.snapshot.id == store.current_id()
    expected: dict[str, tuple[set[tuple[str, str]], bool, bool]] = {}
    for route in registry.content.routes[2:]:
        networks, ported, holds = expected.get(route.operator.code, (set(), False, False))
        expected[route.operator.code] = (
            networks | {(route.mcc, route.mnc)},
            ported or route.status is Status.PORTED,
            holds or route.status is Status.NOT_PORTED,
        )
    assert [entry.operator.code for entry in told.operators] == sorted(expected)
    for entry in told.operators:
        networks = {(network.mcc, network.mnc) for network in entry.networks}
        assert expected[entry.operator.code] == (
            networks,
            entry.serves_ported_numbers,
            entry.holds_ranges,
        )
        assert len(networks) == len(entry.networks)


@pytest.fixture
def past(tmp_path) -> tuple[SnapshotStore, list[str], list[datetime]]:
    """Return a store with more snapshots than are kept open, and a time at which each answered."""
    store = SnapshotStore(tmp_path / "store", create=True)
    published, moments = [], []
    for generation in range(PAST_SNAPSHOTS_MAX + 3):
        published.append(publish(store, make_registry(generation)))
        # History tells times in milliseconds.
        time.sleep(0.005)
        moments.append(datetime.now(UTC))
        time.sleep(0.005)
    return store, published, moments


def lookup_at(server, moment: datetime, text: str = f"+{FIRST}") -> pb.LookupResponse:
    """Look a number up in the snapshot of a time."""
    request = pb.LookupRequest(numbers=[text], as_of=wire.time_message(moment))
    return pb.LookupResponse.FromString(server.call("Lookup", request.SerializeToString()))


def test_the_past_answers(past, run_server) -> None:
    """With as_of the snapshot that was current then answers, whichever order it is asked in."""
    store, published, moments = past
    server = run_server(store.path)
    number = min(make_registry(0).ported)
    for generation in (3, 0, 5, 0, 6, 2, 1, 4):
        told = lookup_at(server, moments[generation], f"+{number}")
        assert told.snapshot.id == published[generation]
        (answer,) = told.answers
        expected = make_registry(generation).answer(number)[0]
        assert answer.route.operator.code == expected.operator.code
        request = pb.ExplainRequest(
            number=f"+{number}", as_of=wire.time_message(moments[generation])
        )
        why = pb.ExplainResponse.FromString(server.call("Explain", request.SerializeToString()))
        assert why.snapshot.id == published[generation]
    # Only a few are kept open; the current one stays.
    opened = [each for each in published if server.maps(store.snapshot_path(each))]
    assert published[-1] in opened
    assert len(opened) <= PAST_SNAPSHOTS_MAX + 1
    assert server.stop() == 0


def test_a_past_that_is_not_kept(past, run_server) -> None:
    """Before the first snapshot, and where one was removed, the status is NOT_FOUND.

    Where the service keeps its store is not told.
    """
    store, published, moments = past
    store.snapshot_path(published[1]).unlink()
    server = run_server(store.path)
    for moment, reason in (
        (moments[0] - timedelta(days=1), "no snapshot was current"),
        (moments[1], "is no longer kept"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            lookup_at(server, moment)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert reason in caught.value.details()
        assert str(store.path) not in caught.value.details()


def test_a_time_that_does_not_exist(server) -> None:
    """An as_of beyond the calendar is an invalid argument."""
    request = pb.LookupRequest(numbers=["x"])
    request.as_of.seconds = 10**15
    with pytest.raises(grpc.RpcError) as caught:
        server.call("Lookup", request.SerializeToString())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
