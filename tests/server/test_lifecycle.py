"""Start, stop, drain: what a supervisor and a load balancer see."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.oracle import publish
from support.servers import launch

import numroute
from numroute.errors import ServiceError, SettingError
from numroute.index import SnapshotStore
from numroute.server.settings import Security, ServerSettings, host_and_port
from numroute.v1 import number_routing_pb2 as pb

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
LARGE = pb.BulkLookupRequest(numbers=[79_000_000_000] * 5_000).SerializeToString()
REFUSED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
"""grpc cancels calls that reach a server in the moment of its stopping, and refuses later ones."""

BULK = pb.BulkLookupRequest(numbers=[79_000_000_000]).SerializeToString()


def health(server) -> int:
    """Return the health of the whole server."""
    return health_pb2_grpc.HealthStub(server.channel).Check(health_pb2.HealthCheckRequest()).status


def wait_until_refused(server) -> grpc.StatusCode:
    """Call until a call is refused, and return the status of that."""
    while True:
        try:
            server.call("GetSnapshot", b"")
        except grpc.RpcError as error:
            return error.code()


def failed_start(folder: Path, store: Path, **settings) -> str:
    """Return what a service writes that must not start; its exit code is not 0."""
    process, log_path = launch(folder, store, **settings)
    with process.stdout:
        assert process.stdout.read() == ""
    assert process.wait(60) != 0
    return log_path.read_text("utf-8")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=lambda stop: stop.name)
def test_stop_signal_drains(run_server, store, gate, registry, stop) -> None:
    """After SIGTERM or SIGINT the call under way is answered, new ones are refused, exit is 0."""
    # A limit that no slow machine reaches: what is under way is never cut off here.
    server = run_server(store.path, before=gate.code, drain_seconds=100_000.0)
    gate.shut()
    call = server.future("BulkLookup", LARGE)
    gate.wait_for_a_call()
    server.process.send_signal(stop)
    server.wait_for_log("draining")
    assert wait_until_refused(server) in REFUSED
    assert not call.done()
    gate.open()
    message = pb.BulkLookupResponse.FromString(call.result())
    assert message.routes[0].status == registry.answer(79_000_000_000)[0].status
    assert server.process.wait(60) == 0
    assert server.log()[-1]["event"] == "stopped"


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_replacing_a_service_fails_no_call(run_server, store, kind) -> None:
    """While one of two services is stopped under load, a client's every call is answered."""
    first, second = run_server(store.path), run_server(store.path)
    target = f"ipv4:{first.target},{second.target}"
    numbers = list(range(79_000_000_000, 79_000_000_400))
    if kind == "sync":
        with numroute.Client(target, timeout=30, numbers_per_chunk=50) as client:
            client.lookup(numbers)
            first.process.send_signal(signal.SIGTERM)
            while first.process.poll() is None:
                assert len(client.lookup(numbers).route_index) == 400
            client.lookup(numbers)
    else:

        async def ask() -> None:
            async with numroute.AsyncClient(target, timeout=30, numbers_per_chunk=50) as client:
                await client.lookup(numbers)
                first.process.send_signal(signal.SIGTERM)
                while first.process.poll() is None:
                    assert len((await client.lookup(numbers)).route_index) == 400
                await client.lookup(numbers)

        asyncio.run(ask())
    assert first.process.returncode == 0


def test_drain_ends_at_its_limit(run_server, store, gate) -> None:
    """A call that does not end within the drain limit is cut off, and the exit is still 0."""
    server = run_server(store.path, before=gate.code, drain_seconds=0.2)
    gate.shut()
    call = server.future("BulkLookup", LARGE)
    gate.wait_for_a_call()
    server.process.send_signal(signal.SIGTERM)
    assert isinstance(call.exception(), grpc.RpcError)
    # The call is gone, its thread is not: the snapshot must outlive it.
    gate.open()
    assert server.process.wait(60) == 0


def test_watchers_hear_of_the_drain_and_do_not_hold_it_up(run_server, store) -> None:
    """Who watches the health hears NOT_SERVING before the end, and the drain does not wait."""
    server = run_server(store.path, drain_seconds=100_000.0)
    watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == SERVING
    server.process.send_signal(signal.SIGTERM)
    assert [response.status for response in watch] == [NOT_SERVING]
    assert server.process.wait(60) == 0


def test_a_worker_with_a_broken_part_is_replaced(run_server, store) -> None:
    """A part that ends unasked ends its worker with an error, and the supervisor starts another."""
    broken = """
import asyncio
from numroute.server.follower import Follower

async def run(self, stop):
    await asyncio.sleep(0.2)
    raise RuntimeError("79161234567")

Follower.run = run
"""
    server = run_server(store.path, before=broken)
    line = server.wait_for_log("service broken")[0]
    assert (line["part"], line["fault"]) == ("Follower", "RuntimeError")
    (died,) = server.wait_for_log("worker died")[:1]
    assert died["status"] == 1
    server.wait_for_log("worker serving", 2)
    assert server.stop() == 0
    assert "79161234567" not in server.log_path.read_text("utf-8")


def test_starts_without_a_snapshot(run_server, tmp_path, registry) -> None:
    """Without a snapshot calls say what to do; once one is published they are answered."""
    store = SnapshotStore(tmp_path / "store", create=True)
    server = run_server(store.path)
    assert health(server) == NOT_SERVING
    for method in ("Lookup", "BulkLookup", "GetSnapshot"):
        with pytest.raises(grpc.RpcError) as caught:
            server.call(method, b"")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "no snapshot is in service" in caught.value.details()
        assert str(store.path) not in caught.value.details()
        assert "numroute-load build" in caught.value.details()
    with numroute.Client(server.target) as client, pytest.raises(ServiceError) as told:
        client.snapshot()
    assert told.value.code == "UNAVAILABLE"
    assert "numroute-load build" in str(told.value)

    snapshot_id = publish(store, registry)
    server.wait_for_log("snapshot in service")
    assert health(server) == SERVING
    message = pb.BulkLookupResponse.FromString(server.call("BulkLookup", BULK))
    assert message.snapshot.id == snapshot_id
    assert len(server.wait_for_log("waiting for a snapshot")) == 1


def test_store_missing(tmp_path) -> None:
    """A path without a store is an error with the path and the remedy."""
    said = failed_start(tmp_path, tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'}: there is no snapshot store here" in said
    assert "numroute-load build" in said


def test_port_in_use(server, tmp_path, store) -> None:
    """A port in use is an error that names it, and the service that has it goes on."""
    said = failed_start(tmp_path, store.path, listen=server.target)
    assert f"cannot listen on {server.target}: Address already in use" in said
    assert "choose another address" in said
    server.call("GetSnapshot", b"")


def test_address_of_another_machine(tmp_path, store) -> None:
    """An address that is not this machine's is an error that names it."""
    said = failed_start(
        tmp_path, store.path, listen="192.0.2.1:50051", security=Security(insecure=True)
    )
    assert "cannot listen on 192.0.2.1:50051: Cannot assign requested address" in said


def test_the_log_says_where_it_serves(server) -> None:
    """The line `serving` has the address with the port that the system chose."""
    (line,) = server.wait_for_log("serving")
    assert line["address"] == server.target
    assert server.port != 0


@pytest.mark.parametrize(
    "listen", ["", "50051", "host", "host:", ":1", "h:65536", "a b:1", "::1:5"]
)
def test_wrong_address(listen) -> None:
    """What is no host and port is refused with an example."""
    with pytest.raises(SettingError, match=r"127\.0\.0\.1:50051"):
        ServerSettings(store=Path("store"), listen=listen)


@pytest.mark.parametrize(
    ("listen", "host", "port"), [("[::1]:0", "::1", 0), ("localhost:65535", "localhost", 65_535)]
)
def test_address(listen, host, port) -> None:
    """Names, IPv4 and IPv6 addresses with a port are understood."""
    assert ServerSettings(store=Path("store"), listen=listen).host == host
    assert host_and_port(listen) == (host, port)


def test_stale_data_is_marked(run_server, store) -> None:
    """Answers from data older than the limit say so in every kind of answer."""
    server = run_server(store.path, max_age=3600.0)
    with numroute.Client(server.target) as client:
        assert client.snapshot().snapshot.stale
        assert client.lookup([79_000_000_000]).snapshot.stale
        assert client.lookup_text(["+79000000000"])[0].snapshot.stale
