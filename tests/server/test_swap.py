"""A new snapshot is taken over under load without a failed, mixed or blocked request."""

from __future__ import annotations

import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.oracle import FIRST, LAST, make_registry, publish

import numroute
from numroute.index import SnapshotStore, writing
from numroute.index.file import read_seal
from numroute.index.layout import SEAL_BYTES
from numroute.logs import make_logger
from numroute.server.follower import Follower
from numroute.server.view import AnswerCounts, View
from numroute.v1 import number_routing_pb2 as pb

LARGE = pb.BulkLookupRequest(numbers=[79_000_000_000] * 5_000).SerializeToString()
BULK = pb.BulkLookupRequest(numbers=[FIRST]).SerializeToString()


@pytest.fixture
def own_store(tmp_path) -> SnapshotStore:
    """Return an empty store of the test's own."""
    return SnapshotStore(tmp_path / "store", create=True)


def current(server) -> str:
    """Return the id of the snapshot that answers."""
    return pb.BulkLookupResponse.FromString(server.call("BulkLookup", BULK)).snapshot.id


def wait_until_unmapped(server, path) -> None:
    """Wait until the service has given a snapshot's file up."""
    while server.maps(path):
        time.sleep(0.01)


def test_every_answer_is_of_one_snapshot(own_store, run_server) -> None:
    """While snapshots are published, every answer is wholly of the one it names; none fails."""
    registries = {publish(own_store, make_registry(0)): make_registry(0)}
    server = run_server(own_store.path)
    numbers = np.random.default_rng(3).integers(FIRST - 100, LAST + 100, 2_000)
    done = threading.Event()

    def ask(numbers_per_chunk: int) -> list[numroute.client.BulkAnswer]:
        answers = {}
        with numroute.Client(
            server.target, numbers_per_chunk=numbers_per_chunk, timeout=60
        ) as client:
            while not done.is_set():
                answer = client.lookup(numbers, with_range_holder=True, with_ported_at=True)
                answers.setdefault(answer.snapshot.id, answer)
                codes = {route.operator.code for route in answer.routes} - {""}
                codes |= {operator.code for operator in answer.range_holders} - {""}
                # Every operator's code begins with its registry's generation.
                assert len({code.partition("X")[0] for code in codes}) == 1
        return list(answers.values())

    with ThreadPoolExecutor(4) as pool:
        try:
            clients = [pool.submit(ask, size) for size in (100_000, 100_000, 500, 100)]
            for generation in range(1, 7):
                fresh = make_registry(generation, seed=generation)
                registries[publish(own_store, fresh)] = fresh
                server.wait_for_log("snapshot in service", generation + 1)
        finally:
            done.set()
        answers = [answer for client in clients for answer in client.result()]

    assert len({answer.snapshot.id for answer in answers}) > 1
    for answer in answers:
        registry = registries[answer.snapshot.id]
        for i in range(0, len(numbers), 7):
            assert (
                answer.routes[answer.route_index[i]],
                answer.ported_at[i],
                answer.range_holders[answer.range_holder_index[i]],
            ) == registry.answer(int(numbers[i]))


def test_old_snapshot_stays_open_under_its_last_request(own_store, run_server, gate) -> None:
    """The old file stays mapped while a request uses it, and goes with that request."""
    old = publish(own_store, make_registry(0))
    server = run_server(own_store.path, before=gate.code)
    gate.shut()
    call = server.future("BulkLookup", LARGE)
    gate.wait_for_a_call()
    new = publish(own_store, make_registry(1))
    server.wait_for_log("snapshot in service", 2)
    assert server.maps(own_store.snapshot_path(old))
    gate.open()
    assert pb.BulkLookupResponse.FromString(call.result()).snapshot.id == old
    wait_until_unmapped(server, own_store.snapshot_path(old))
    assert current(server) == new


def test_cancelled_request_keeps_its_snapshot(own_store, run_server, gate) -> None:
    """A snapshot outlives a request that its client gave up, until the thread is done with it."""
    old = publish(own_store, make_registry(0))
    server = run_server(own_store.path, before=gate.code)
    gate.shut()
    call = server.future("BulkLookup", LARGE)
    gate.wait_for_a_call()
    call.cancel()
    new = publish(own_store, make_registry(1))
    server.wait_for_log("snapshot in service", 2)
    # A call that came after the cancellation is answered: the cancellation has been seen.
    told = pb.GetSnapshotResponse.FromString(server.call("GetSnapshot", b""))
    assert told.snapshot.id == new
    assert server.maps(own_store.snapshot_path(old))
    gate.open()
    wait_until_unmapped(server, own_store.snapshot_path(old))
    assert server.stop() == 0


def test_leases_decide_when_a_snapshot_closes(store) -> None:
    """A retired snapshot closes when the last of its requests ends, an unused one at once."""
    closed = []

    class Watched:
        """A snapshot that tells when it is closed."""

        def __init__(self) -> None:
            self._snapshot = store.open()

        def __getattr__(self, name: str) -> object:
            return getattr(self._snapshot, name)

        def close(self) -> None:
            closed.append(self)
            self._snapshot.close()

    unused = View(Watched(), max_age=None, answers=AnswerCounts())
    unused.release()
    assert len(closed) == 1

    used = View(Watched(), max_age=None, answers=AnswerCounts())
    with used:
        pass
    with used:
        with used:
            used.release()
        assert len(closed) == 1
    assert len(closed) == 2


def test_rollback_is_followed(own_store, run_server) -> None:
    """When an older snapshot is made current again, it answers again."""
    old, new = (publish(own_store, make_registry(generation)) for generation in (0, 1))
    server = run_server(own_store.path)
    assert current(server) == new
    for count, snapshot_id in ((2, old), (3, new), (4, old)):
        with writing(own_store) as writer:
            writer.make_current(snapshot_id)
        server.wait_for_log("snapshot in service", count)
        assert current(server) == snapshot_id


def corrupt(path) -> None:
    """Make the file's first pages other than what was written."""
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 8)


def truncate(path) -> None:
    """Cut the file short."""
    with path.open("r+b") as file:
        file.truncate(10_000)


def make_newer(path) -> None:
    """Make the file one of a format version that does not exist yet."""
    seal = read_seal(path)._replace(format_version=99)
    with path.open("r+b") as file:
        file.seek(-SEAL_BYTES, 2)
        file.write(seal.pack())


def remove(path) -> None:
    """Take the file away."""
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "error", "remedy"),
    [
        (corrupt, "SnapshotCorruptError", "build"),
        (truncate, "SnapshotCorruptError", "build"),
        (make_newer, "SnapshotVersionError", "Use the numroute version that wrote it"),
        (remove, "NoSnapshotError", "numroute-load rollback"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_snapshot_is_refused(own_store, run_server, damage, error, remedy) -> None:
    """A snapshot that cannot be opened is logged once with its remedy; the old one answers on."""
    good = publish(own_store, make_registry(0))
    server = run_server(own_store.path)
    bad = publish(own_store, make_registry(1))
    server.wait_for_log("snapshot in service", 2)
    with writing(own_store) as writer:
        writer.make_current(good)
    server.wait_for_log("snapshot in service", 3)
    wait_until_unmapped(server, own_store.snapshot_path(bad))
    damage(own_store.snapshot_path(bad))
    with writing(own_store) as writer:
        writer.make_current(bad)

    (refused,) = server.wait_for_log("snapshot refused")
    assert refused["error"] == error
    assert remedy in refused["remedy"]
    assert refused["serving"] == good
    assert current(server) == good
    health = health_pb2_grpc.HealthStub(server.channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING

    better = publish(own_store, make_registry(2))
    server.wait_for_log("snapshot in service", 4)
    assert current(server) == better
    assert len(server.wait_for_log("snapshot refused")) == 1


def test_unreadable_pointer(own_store, run_server) -> None:
    """When CURRENT cannot be read, that is logged and the snapshot in service stays."""
    good = publish(own_store, make_registry(0))
    server = run_server(own_store.path)
    (own_store.path / "CURRENT").unlink()
    (own_store.path / "CURRENT").mkdir()
    refused = server.wait_for_log("snapshot refused")[-1]
    assert refused["serving"] == good
    assert current(server) == good


def test_after_a_restart_the_newest_that_opens_answers(own_store, run_server) -> None:
    """Where the current file is damaged, an older one answers until there is a good one."""
    publish(own_store, make_registry(0))
    good = publish(own_store, make_registry(1))
    corrupt(own_store.snapshot_path(publish(own_store, make_registry(2))))
    server = run_server(own_store.path)
    assert current(server) == good
    (refused,) = server.wait_for_log("snapshot refused")
    assert refused["serving"] == good
    better = publish(own_store, make_registry(3))
    server.wait_for_log("snapshot in service", 2)
    assert current(server) == better


async def test_other_snapshots_are_not_opened_at_each_poll(own_store, monkeypatch) -> None:
    """Where neither the current snapshot nor another opens, the others are tried now and then."""
    for generation in range(2):
        corrupt(own_store.snapshot_path(publish(own_store, make_registry(generation))))
    tried = []
    open_last = SnapshotStore.open_last

    def counted(*arguments: object) -> object:
        tried.append(arguments)
        return open_last(*arguments)

    monkeypatch.setattr(SnapshotStore, "open_last", counted)
    follower = Follower(
        own_store, make_logger(io.StringIO()), max_age=None, on_state=lambda _: None
    )
    for _ in range(5):
        await follower.poll()
    assert follower.view is None
    assert len(tried) == 1


def test_a_file_that_is_damaged_in_service_is_replaced(own_store, run_server) -> None:
    """The whole file is read now and then: after one flipped bit an older one answers."""
    good = publish(own_store, make_registry(0))
    bad = publish(own_store, make_registry(1))
    hurry = "from numroute.server import follower as f; f.VERIFY_DELAY_SECONDS = 0.1; "
    server = run_server(own_store.path, before=hurry + "f.VERIFY_SECONDS = 0.0")
    assert current(server) == bad
    with own_store.snapshot_path(bad).open("r+b") as file:
        file.seek(file.seek(0, 2) // 2)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    (refused,) = server.wait_for_log("snapshot refused")
    assert refused["serving"] == good
    assert current(server) == good


async def test_waiting_is_logged_once(own_store) -> None:
    """Between a first snapshot's file and CURRENT the reason changes, and is not logged again."""
    log = io.StringIO()
    follower = Follower(own_store, make_logger(log), max_age=None, on_state=lambda _: None)
    await follower.poll()
    publish(own_store, make_registry(0))
    current = own_store.pointer_path.rename(own_store.path / "later")
    await follower.poll()
    assert follower.view is None
    current.rename(own_store.pointer_path)
    await follower.poll()
    assert follower.view is not None
    events = [json.loads(line)["event"] for line in log.getvalue().splitlines()]
    assert events == ["waiting for a snapshot", "snapshot in service"]
    follower.close()


def test_bad_snapshot_at_the_start(own_store, run_server) -> None:
    """A service whose only snapshot is corrupt starts, says so in every call, and recovers."""
    corrupt(own_store.snapshot_path(publish(own_store, make_registry(0))))
    server = run_server(own_store.path)
    with (
        numroute.Client(server.target) as client,
        pytest.raises(numroute.errors.ServiceError, match="first pages are not what was written"),
    ):
        client.lookup([FIRST])
    good = publish(own_store, make_registry(1))
    server.wait_for_log("snapshot in service")
    assert current(server) == good
