"""Requests that are too large, or no requests at all, get a proper status; the service lives on."""

from __future__ import annotations

import time

import grpc
import pytest

import numroute
from numroute.client import channel
from numroute.server.limits import CLIENT_PING_SECONDS_MIN
from numroute.v1 import number_routing_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def refusal(server, method: str, request: bytes) -> tuple[grpc.StatusCode, str]:
    """Return the status and the details of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        server.call(method, request)
    return caught.value.code(), caught.value.details()


@pytest.fixture(autouse=True)
def still_answers(server):
    """Ask the service something sensible after each of these tests."""
    yield
    pb.GetSnapshotResponse.FromString(server.call("GetSnapshot", b""))


def test_bulk_beyond_the_limit(server) -> None:
    """500,001 numbers are refused with the field and the limit."""
    request = pb.BulkLookupRequest(numbers=[79_000_000_000] * 500_001)
    status, details = refusal(server, "BulkLookup", request.SerializeToString())
    assert status is INVALID
    assert "numbers has 500001 entries, the limit is 500000" in details


def test_texts_beyond_the_limit(server) -> None:
    """1,001 texts are refused with the field and the limit; 1,000 are answered."""
    request = pb.LookupRequest(numbers=["x"] * 1_000)
    response = pb.LookupResponse.FromString(server.call("Lookup", request.SerializeToString()))
    assert len(response.answers) == 1_000
    request.numbers.append("x")
    status, details = refusal(server, "Lookup", request.SerializeToString())
    assert status is INVALID
    assert "numbers has 1001 entries, the limit is 1000" in details


def test_message_beyond_the_limit(server) -> None:
    """A message over 4 MiB is refused without being read."""
    status, details = refusal(server, "BulkLookup", bytes(4 * 1024 * 1024 + 1))
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "4194304" in details


@pytest.mark.parametrize(
    "method", ["Lookup", "BulkLookup", "GetSnapshot", "Explain", "ListOperators"]
)
@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"\xff" * 50, id="no_tag"),
        pytest.param(b"\x0a\x10\x00", id="field_cut_short"),
        pytest.param(b"\x0a", id="only_a_tag"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", id="endless_length"),
        pytest.param(b"\x07", id="wire_type_that_does_not_exist"),
    ],
)
def test_malformed_protobuf(server, method, request_bytes) -> None:
    """Bytes that are no message are refused as an invalid argument."""
    status, details = refusal(server, method, request_bytes)
    assert status is INVALID
    assert f"{method}Request" in details


def test_numbers_of_no_whole_length(server) -> None:
    """A packed column that is no multiple of eight bytes is refused."""
    status, _ = refusal(server, "BulkLookup", b"\x0a\x0c" + bytes(12))
    assert status is INVALID


def test_text_that_is_not_utf8(server) -> None:
    """A text in another encoding than UTF-8 is refused."""
    status, _ = refusal(server, "Lookup", b"\x0a\x02\xcf\xe5")
    assert status is INVALID


def test_unknown_default_region(server) -> None:
    """A default region that does not exist is refused with what to give."""
    request = pb.LookupRequest(numbers=["12345"], default_region="XX")
    status, details = refusal(server, "Lookup", request.SerializeToString())
    assert status is INVALID
    assert "'XX'" in details
    assert "ISO 3166" in details


def test_unknown_method(server) -> None:
    """A method that the service does not have is UNIMPLEMENTED."""
    status, _ = refusal(server, "Forget", b"")
    assert status is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("method", "request_type"), [("BulkLookup", pb.BulkLookupRequest), ("Lookup", pb.LookupRequest)]
)
def test_a_named_snapshot_answers_or_the_request_is_refused(
    server, store, method, request_type
) -> None:
    """A request that names the snapshot in service is answered, one that names another refused."""
    named = request_type(snapshot_id=store.current_id()).SerializeToString()
    assert server.call(method, named)
    other = request_type(snapshot_id="20200101T000000Z-00000000").SerializeToString()
    status, details = refusal(server, method, other)
    assert status is grpc.StatusCode.FAILED_PRECONDITION
    assert f"snapshot {store.current_id()}, the request names another" in details


def test_pings_of_quiet_clients_are_borne(server, monkeypatch, capfd) -> None:
    """Idle, watching for snapshots or for health: nobody is sent away for its pings.

    Pings come as often as they may; four of them are one more than gRPC would bear.
    """
    often = (("grpc.keepalive_time_ms", CLIENT_PING_SECONDS_MIN * 1_000 + 400),)
    foreign = (
        *often,
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    idle, watching = (grpc.insecure_channel(server.target, foreign) for _ in range(2))
    states: list[grpc.ChannelConnectivity] = []
    idle.subscribe(states.append, try_to_connect=True)
    news = watching.unary_stream("/numroute.v1.NumberRouting/WatchSnapshots")(b"")
    next(news)
    monkeypatch.setattr(channel, "OPTIONS", (*channel.OPTIONS, *often))
    with numroute.Client(f"dns:///localhost:{server.port}") as ours:
        ours.lookup([79_000_000_000])
        time.sleep(4.5 * CLIENT_PING_SECONDS_MIN)
        assert states[-1] is grpc.ChannelConnectivity.READY
        assert grpc.ChannelConnectivity.TRANSIENT_FAILURE not in states
        assert news.is_active()
        ours.lookup([79_000_000_000])
    news.cancel()
    idle.close()
    watching.close()
    assert capfd.readouterr().err == ""
