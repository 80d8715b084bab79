"""Several replicas: calls take turns, and none fails when one is killed and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray
from support.oracle import FIRST, make_registry, publish
from support.servers import running

import numroute
from numroute.client.channel import parse_target
from numroute.errors import ServiceError, SettingError
from numroute.index import SnapshotStore

NUMBERS = list(range(FIRST, FIRST + 200))


def right(answer: numroute.client.BulkAnswer, registry) -> bool:
    """Return whether an answer to NUMBERS is the oracle's."""
    found = [answer.routes[index] for index in answer.route_index]
    return found == [registry.answer(number)[0] for number in NUMBERS]


def free_ports(count: int) -> list[int]:
    """Return free ports."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def serving(server) -> bool:
    """Return whether a replica reports SERVING."""
    stub = health_pb2_grpc.HealthStub(server.channel)
    state = stub.Check(health_pb2.HealthCheckRequest(), timeout=30.0).status
    return state == health_pb2.HealthCheckResponse.SERVING


class Load:
    """Calls of every kind, again and again, each answer compared with the oracle's."""

    def __init__(self, client, registry) -> None:
        """Ask with an asyncio client."""
        self.calls = dict.fromkeys(("batch", "single", "text", "stream"), 0)
        self._client = client
        self._registry = registry
        self._done = False

    def run(self) -> asyncio.Future:
        """Begin; the future fails with the first call that does."""
        kinds = (self._batches, self._batches, self._singles, self._texts, self._stream)
        return asyncio.gather(*(kind() for kind in kinds))

    def stop(self) -> None:
        """Begin no more calls."""
        self._done = True

    async def _batches(self) -> None:
        while not self._done:
            assert right(await self._client.lookup(NUMBERS), self._registry)
            self.calls["batch"] += 1

    async def _singles(self) -> None:
        while not self._done:
            for number in NUMBERS[:20]:
                answer = await self._client.lookup(number)
                assert answer.status is self._registry.answer(number)[0].status
                self.calls["single"] += 1

    async def _texts(self) -> None:
        while not self._done:
            (answer,) = await self._client.lookup_text([f"+{FIRST}"])
            assert answer.status is self._registry.answer(FIRST)[0].status
            self.calls["text"] += 1

    async def _stream(self) -> None:
        async def questions():
            while not self._done:
                yield NUMBERS

        async for answer in self._client.stream(questions()):
            assert right(answer, self._registry)
            self.calls["stream"] += 1


@contextlib.contextmanager
def replicas(folder, store, count: int):
    """Run replicas; yield a target for all, and a function that kills and restarts one."""
    ports = free_ports(count)
    with contextlib.ExitStack() as stack:

        def start(place: int):
            log = folder / f"{place}-{time.monotonic_ns()}"
            log.mkdir()
            listen = f"127.0.0.1:{ports[place]}"
            return stack.enter_context(running(log, store.path, listen=listen))

        servers = [start(place) for place in range(count)]

        def kill(place: int) -> None:
            servers[place].kill()
            servers[place].process.wait()

        def restart(place: int) -> None:
            servers[place] = start(place)
            assert serving(servers[place])

        yield ",".join(f"127.0.0.1:{port}" for port in ports), kill, restart


async def test_no_call_fails_while_replicas_are_killed_and_restarted(
    tmp_path, store, registry
) -> None:
    """Under load from batches, single numbers, texts and a stream, kill -9 breaks no call."""
    with replicas(tmp_path, store, 3) as (target, kill, restart):
        async with numroute.AsyncClient(target, timeout=30.0, numbers_per_chunk=50) as client:
            load = Load(client, registry)
            running_load = load.run()
            await asyncio.sleep(0.5)
            for victim in (0, 1):
                await asyncio.to_thread(kill, victim)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(restart, victim)
                await asyncio.sleep(0.5)
            before = dict(load.calls)
            await asyncio.sleep(0.3)
            load.stop()
            await running_load
    assert all(load.calls[kind] > before[kind] > 10 for kind in before), (before, load.calls)


@pytest.mark.parametrize("kind", ["names", "addresses"])
def test_calls_take_turns(kind, run_server, store) -> None:
    """Each of two replicas gets half of the calls of one client."""
    first, second = run_server(store.path), run_server(store.path)
    host = "localhost" if kind == "names" else "127.0.0.1"
    target = f"{host}:{first.port}, {host}:{second.port}"
    with (
        numroute.Client(target, timeout=30.0) as client,
        numroute.Client(target, timeout=2.0) as impatient,
    ):
        for _ in range(4):
            client.lookup(NUMBERS)
        # With one of them gone, the other goes on.
        first.kill()
        client.lookup(NUMBERS)
        second.kill()
        with pytest.raises(ServiceError) as caught:
            impatient.lookup(NUMBERS)
    assert caught.value.code == "UNAVAILABLE"


def test_a_replica_without_a_snapshot_gets_no_calls(run_server, store, tmp_path) -> None:
    """A replica that is not healthy yet is passed over, without a failed call."""
    empty = SnapshotStore(tmp_path / "store", create=True)
    unready, ready = run_server(empty.path), run_server(store.path)
    with numroute.Client(f"{unready.target},{ready.target}", timeout=30.0) as client:
        for _ in range(20):
            assert client.lookup(NUMBERS).snapshot.id == store.current_id()


@pytest.fixture
def differing(run_server, tmp_path):
    """Return the target of two replicas with different snapshots, and each one's own."""
    servers = []
    for generation in range(2):
        own = SnapshotStore(tmp_path / f"store-{generation}", create=True)
        publish(own, make_registry(generation))
        servers.append(run_server(own.path))
    return ",".join(server.target for server in servers), [server.target for server in servers]


MANY = np.arange(FIRST, FIRST + 150_000, dtype=np.uint64)
QUESTIONS = 25


def found(answer: numroute.client.BulkAnswer) -> NDArray[np.str_]:
    """Return the operator's code of each number of an answer."""
    codes = np.array([route.operator.code for route in answer.routes])
    return codes[answer.route_index]


def expected(targets: list[str]) -> dict[str, NDArray[np.str_]]:
    """Return what each replica answers to MANY, asked in one request, by its snapshot's id."""
    answers = {}
    for target in targets:
        with numroute.Client(target, timeout=30.0, numbers_per_chunk=500_000) as client:
            answer = client.lookup(MANY)
            answers[answer.snapshot.id] = found(answer)
    assert len(answers) == len(targets)
    assert not np.array_equal(*answers.values())
    return answers


@pytest.mark.parametrize("numbers_per_chunk", [65_536, 10_000])
async def test_replicas_with_different_snapshots(differing, numbers_per_chunk) -> None:
    """Each batch of several requests is answered whole by one of the snapshots, in both clients."""
    target, targets = differing
    wanted = expected(targets)
    options = {"timeout": 60.0, "numbers_per_chunk": numbers_per_chunk}

    def right_of_one(answer: numroute.client.BulkAnswer) -> bool:
        return np.array_equal(found(answer), wanted[answer.snapshot.id])

    def ask_all() -> int:
        with numroute.Client(target, **options) as client:
            return sum(right_of_one(client.lookup(MANY)) for _ in range(QUESTIONS))

    # Both at once as well, so that turns are taken in any order.
    async with numroute.AsyncClient(target, **options) as client:

        async def ask() -> int:
            return sum([right_of_one(await client.lookup(MANY)) for _ in range(QUESTIONS)])

        counts = await asyncio.gather(asyncio.to_thread(ask_all), ask(), ask())
    assert counts == [QUESTIONS] * 3


async def test_replicas_that_publish_at_different_times(run_server, tmp_path) -> None:
    """While replicas take new snapshots one after the other, each answer comes from one of them."""
    stores = [SnapshotStore(tmp_path / f"store-{i}", create=True) for i in range(2)]
    generation_of = {publish(store, make_registry(0)): 0 for store in stores}
    servers = [run_server(store.path) for store in stores]
    target = ",".join(server.target for server in servers)
    options = {"timeout": 60.0, "numbers_per_chunk": 10_000}
    seen: dict[str, set[str]] = {}
    done = False

    def check(answer: numroute.client.BulkAnswer) -> None:
        # Every operator's code begins with its registry's generation.
        codes = {route.operator.code.partition("X")[0] for route in answer.routes} - {""}
        seen.setdefault(answer.snapshot.id, set()).update(codes)

    def ask_all() -> None:
        with numroute.Client(target, **options) as client:
            while not done:
                check(client.lookup(MANY))

    async def ask() -> None:
        async with numroute.AsyncClient(target, **options) as client:
            while not done:
                check(await client.lookup(MANY))

    def roll() -> None:
        for generation in range(1, 4):
            for store, server in zip(stores, servers, strict=True):
                generation_of[publish(store, make_registry(generation))] = generation
                server.wait_for_log("snapshot in service", generation + 1)

    asking = asyncio.gather(asyncio.to_thread(ask_all), ask())
    try:
        await asyncio.to_thread(roll)
    finally:
        done = True
        await asking
    assert len(seen) > 1
    assert all(len(codes) == 1 for codes in seen.values())
    assert seen.keys() <= generation_of.keys()


def test_a_watch_goes_on_after_a_kill(tmp_path) -> None:
    """When the replica that announces is killed, the client watches on and repeats nothing."""
    own = SnapshotStore(tmp_path / "store", create=True)
    first = publish(own, make_registry(0))
    with (
        replicas(tmp_path, own, 2) as (target, kill, _),
        numroute.Client(target, timeout=30.0) as client,
    ):
        news = client.watch_snapshots()
        assert next(news).snapshot.id == first
        kill(0)
        second = publish(own, make_registry(1))
        assert next(news).snapshot.id == second
        client.close()
        assert list(news) == []


@pytest.mark.parametrize(
    ("text", "uri", "several", "loopback"),
    [
        ("h:1", "h:1", False, False),
        ("127.0.0.1:5", "127.0.0.1:5", False, True),
        ("localhost:5", "localhost:5", False, True),
        ("[::1]:5", "[::1]:5", False, True),
        ("127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2", True, True),
        ("10.0.0.1:1, 127.0.0.1:2", "ipv4:10.0.0.1:1,127.0.0.1:2", True, False),
        ("[::1]:1,[::1]:2", "ipv6:[::1]:1,[::1]:2", True, True),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1", True, False),
        ("dns:///numroute.internal:50051", "dns:///numroute.internal:50051", True, False),
        (" localhost:1\n", "localhost:1", False, True),
        ("unix:/run/numroute.sock", "unix:/run/numroute.sock", False, True),
        ("unix-abstract:numroute", "unix-abstract:numroute", False, True),
        ("unix-box:50051", "unix-box:50051", False, False),
        ("vsock:2:50051", "vsock:2:50051", False, False),
    ],
)
def test_targets(text, uri, several, loopback) -> None:
    """One address, lists of them and names become what gRPC takes."""
    found = parse_target(text)
    assert (found.uri, found.several, found.loopback) == (uri, several, loopback)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "localhost",
        "localhost:",
        "localhost:0",
        "localhost:99999",
        "localhost:http",
        "local host:50051",
        "http://localhost:50051",
        "https://a:1,b:2",
        "localhost:50051/",
        "a:1,b:65536",
    ],
)
def test_what_is_no_address_is_refused(text) -> None:
    """URLs, empty texts and impossible ports are refused at once, with examples."""
    with pytest.raises(SettingError, match=r"is not the address of a service\. Give HOST:PORT"):
        numroute.Client(text)


def test_wrong_targets() -> None:
    """Malformed lists of addresses and unknown names are refused with examples."""
    for text in ("a,b", "127.0.0.1:1,[::1]:1", "127.0.0.1:x,127.0.0.1:1"):
        with pytest.raises(SettingError, match="Give"):
            parse_target(text)
    with pytest.raises(ServiceError, match=r"nobody\.invalid"):
        parse_target("nobody.invalid:1,nobody.invalid:2")
