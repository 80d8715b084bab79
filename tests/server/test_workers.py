"""Several processes on one port: started, restarted, replaced and drained without a lost call."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import grpc
import numpy as np
import pytest
from support.hostile import attack, continuation_flood, path_that_is_no_text
from support.oracle import FIRST, LAST, make_registry, publish
from support.servers import Server, launch

import numroute
from numroute import wire
from numroute.index import SnapshotStore
from numroute.server.settings import Security, TlsFiles
from numroute.server.supervisor import FAILED_STARTS_MAX
from numroute.v1 import number_routing_pb2 as pb

BULK = pb.BulkLookupRequest(numbers=[FIRST]).SerializeToString()
WORKERS = 2
CRASHING = """
import os, signal, sys
if "numroute.server.worker" in sys.orig_argv:
    os.kill(os.getpid(), signal.SIGKILL)
"""
"""A sitecustomize.py with which every worker dies when it starts, as one without memory would."""


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended, whoever has to bury it."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)


class Asking:
    """Clients that ask all the time, each over a connection of its own, and check each answer."""

    def __init__(self, server: Server, clients: int) -> None:
        """Begin to ask."""
        self._server = server
        self._done = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self.snapshots: set[str] = set()
        self._clients: list[Future[int]] = [self._pool.submit(self._ask) for _ in range(clients)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._pool.shutdown()

    def answers(self) -> int:
        """Stop asking, and return how many answers came; raises what a client met."""
        self._done.set()
        return sum(client.result() for client in self._clients)

    def _ask(self) -> int:
        numbers = np.random.default_rng(3).integers(FIRST, LAST, 500)
        answers = 0
        while True:
            # A new connection now and then, as a client that starts would make it.
            with numroute.Client(self._server.target, timeout=60) as client:
                for _ in range(20):
                    answer = client.lookup(numbers)
                    codes = {route.operator.code for route in answer.routes} - {""}
                    # Every operator's code begins with its registry's generation.
                    assert len({code.partition("X")[0] for code in codes}) == 1
                    self.snapshots.add(answer.snapshot.id)
                    answers += 1
            if self._done.is_set():
                return answers


@pytest.fixture
def own_store(tmp_path) -> SnapshotStore:
    """Return a store of the test's own with a first snapshot."""
    store = SnapshotStore(tmp_path / "store", create=True)
    publish(store, make_registry(0))
    return store


def test_all_workers_share_one_port(run_server, store) -> None:
    """Once ready every worker answers on the port that the system chose; SIGTERM drains them."""
    server = run_server(store.path, workers=WORKERS)
    assert len(server.workers()) == WORKERS
    assert {line["worker"] for line in server.wait_for_log("worker serving", WORKERS)} == {1, 2}
    (line,) = server.wait_for_log("serving")
    assert line["address"] == server.target
    with Asking(server, 4) as asking:
        pass
    assert asking.answers() >= 4 * 20
    assert server.stop() == 0
    assert len(server.wait_for_log("worker stopped", WORKERS)) == WORKERS
    assert server.log()[-1]["event"] == "stopped"


def test_a_killed_worker_fails_no_call(run_server, own_store) -> None:
    """While workers are killed under load, every call is answered, and each is started again."""
    server = run_server(own_store.path, workers=WORKERS)
    with Asking(server, 3) as asking:
        for killed in range(1, 4):
            os.kill(server.workers()[0], signal.SIGKILL)
            died = server.wait_for_log("worker died", killed)
            assert died[-1]["signal"] == "SIGKILL"
            server.wait_for_log("worker serving", WORKERS + killed)
        assert asking.answers()
    assert server.stop() == 0


def test_swaps_and_a_rolling_restart_fail_no_call(run_server, own_store) -> None:
    """While snapshots change and all workers are replaced, each answer is whole, none fails."""
    server = run_server(own_store.path, workers=WORKERS)
    before = server.workers()
    ids = {own_store.current_id()}
    with Asking(server, 3) as asking:
        for generation in range(1, 4):
            ids.add(publish(own_store, make_registry(generation, seed=generation)))
            server.wait_for_log("snapshot in service", WORKERS * (generation + 1))
            if generation == 2:
                server.process.send_signal(signal.SIGHUP)
                server.wait_for_log("workers replaced")
                assert not set(before) & set(server.workers())
        assert asking.answers()
    assert len(asking.snapshots & ids) > 1
    assert asking.snapshots <= ids
    assert server.stop() == 0
    for pid in before:
        wait_until_gone(pid)


def test_workers_go_on_while_none_can_be_started(run_server, own_store, tmp_path) -> None:
    """Where the system makes no process, the workers that are there answer; others come later."""
    flag = tmp_path / "no-process"
    before = f"""
import asyncio
from pathlib import Path

start = asyncio.create_subprocess_exec

async def fail(*words, **how):
    if Path({str(flag)!r}).exists():
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return await start(*words, **how)

asyncio.create_subprocess_exec = fail
"""
    server = run_server(own_store.path, workers=WORKERS, before=before)
    with Asking(server, 2) as asking:
        flag.touch()
        os.kill(server.workers()[0], signal.SIGKILL)
        lines = server.wait_for_log("worker failed to start", FAILED_STARTS_MAX + 1)
        assert lines[0]["reason"] == "Resource temporarily unavailable"
        flag.unlink()
        server.wait_for_log("worker serving", WORKERS + 1)
        assert asking.answers()
    assert server.stop() == 0


def test_a_stop_is_heard_beside_a_call_for_new_workers(run_server, own_store) -> None:
    """SIGTERM and SIGHUP in one moment end the service."""
    server = run_server(own_store.path, workers=WORKERS)
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGHUP)
    assert server.process.wait(60) == 0


def test_a_worker_that_grows_too_large_is_replaced(run_server, own_store) -> None:
    """What gRPC keeps of hostile connections goes with its worker, and no call fails."""
    limit = 160 * 1024 * 1024
    server = run_server(own_store.path, workers=WORKERS, worker_memory=limit)
    before = set(server.workers())
    with Asking(server, 2) as asking:
        while not [line for line in server.log() if line["event"] == "worker too large"]:
            attack(server, *continuation_flood(), wait=0.02)
        (line, *_) = server.wait_for_log("worker too large")
        assert limit < line["memory_bytes"] < 2 * limit
        while len(before & set(server.workers())) == WORKERS:
            time.sleep(0.05)
        assert asking.answers()
    # The other one may have grown nearly as large, and is replaced too when it has.
    assert len(server.wait_for_log("worker too large")) <= WORKERS
    assert server.stop() == 0


def test_a_call_that_cannot_be_made_out_ends_no_process(run_server, own_store) -> None:
    """Where gRPC ends its server, the process has a new one in a moment."""
    server = run_server(own_store.path)
    call = server.channel.unary_unary(wire.method_path("BulkLookup"))
    for broken in range(1, 4):
        attack(server, *path_that_is_no_text(), wait=0.02)
        server.wait_for_log("grpc server broken", broken)
        assert call(BULK, timeout=60, wait_for_ready=True)
    assert server.stop() == 0


def test_the_log_stays_one_of_lines_of_ours(run_server, own_store) -> None:
    """What a call that cannot be made out does to gRPC is told in JSON, without what was sent."""
    server = run_server(own_store.path)
    attack(server, *path_that_is_no_text(), wait=0.02)
    server.wait_for_log("grpc server broken")
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.log_path.read_text("utf-8").splitlines()]
    (fault,) = [line for line in lines if line["event"] == "background fault"]
    assert (fault["fault"], fault["level"]) == ("UnicodeDecodeError", "error")
    assert "GetSnapsh" not in server.log_path.read_text("utf-8")


def test_a_call_that_cannot_be_made_out_fails_no_other(run_server, own_store) -> None:
    """While one process makes a new server, the others take the calls."""
    server = run_server(own_store.path, workers=WORKERS)
    before = server.workers()
    with Asking(server, 2) as asking:
        for broken in range(1, 4):
            attack(server, *path_that_is_no_text(), wait=0.02)
            server.wait_for_log("grpc server broken", broken)
        assert asking.answers()
    assert server.workers() == before
    assert server.stop() == 0


def test_a_new_worker_serves_before_an_old_one_drains(run_server, store) -> None:
    """At each moment of a rolling restart as many workers serve as before it."""
    server = run_server(store.path, workers=WORKERS)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("workers replaced")
    lines = [line for line in server.log() if line.get("worker")]
    steps = [
        (line["worker"], str(line["event"]).removeprefix("worker "))
        for line in lines
        if line["event"] in {"worker serving", "worker stopped"}
    ]
    assert steps[WORKERS:] == [(1, "serving"), (1, "stopped"), (2, "serving"), (2, "stopped")]


def test_a_held_port_is_refused(run_server, tmp_path, store) -> None:
    """A second service on the port of workers is refused, of one process or of several."""
    server = run_server(store.path, workers=WORKERS)
    for count in (1, WORKERS):
        process, log_path = launch(tmp_path, store.path, listen=server.target, workers=count)
        with process.stdout:
            assert process.stdout.read() == ""
        assert process.wait(60) != 0
        said = log_path.read_text("utf-8")
        assert f"cannot listen on {server.target}: Address already in use" in said
    server.call("GetSnapshot", b"")


def test_workers_end_with_their_supervisor(run_server, store) -> None:
    """When the supervisor is killed its workers drain and end, and the port is free again."""
    server = run_server(store.path, workers=WORKERS)
    left = server.workers()
    server.process.kill()
    for pid in left:
        wait_until_gone(pid)
    run_server(store.path, listen=server.target, workers=1).call("BulkLookup", BULK)


def test_workers_that_die_at_once_are_given_up(tmp_path, store, monkeypatch) -> None:
    """When no worker lives long enough to serve, the service ends and says so."""
    (tmp_path / "sitecustomize.py").write_text(CRASHING, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process, log_path = launch(tmp_path, store.path, workers=WORKERS)
    with process.stdout:
        assert process.stdout.read() == ""
    assert process.wait(120) != 0
    assert "died before they served" in log_path.read_text("utf-8")


def test_a_single_worker_is_replaced_and_restarted_as_well(run_server, store) -> None:
    """A service of one worker has a supervisor too: SIGHUP costs no call, a kill ends nothing."""
    server = run_server(store.path)
    before = server.workers()
    with Asking(server, 2) as asking:
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("workers replaced")
        assert server.workers() != before
        assert asking.answers()
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_for_log("worker died")
    server.wait_for_log("worker serving", 3)
    call = server.channel.unary_unary(wire.method_path("BulkLookup"))
    assert call(BULK, timeout=60, wait_for_ready=True)
    assert server.stop() == 0


def test_a_refusal_of_the_workers_is_told(tmp_path, store) -> None:
    """What the workers refuse at the start ends the service with their reason and remedy."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    for path in (certificate, key):
        path.touch(mode=0o600)
    tls = TlsFiles(certificate=certificate, key=key)
    process, log_path = launch(tmp_path, store.path, workers=WORKERS, security=Security(tls=tls))
    with process.stdout:
        assert process.stdout.read() == ""
    assert process.wait(60) != 0
    *_, said = log_path.read_text("utf-8").splitlines()
    assert "SettingError" in said
    assert str(certificate) in said


def test_every_worker_is_asked(run_server, store) -> None:
    """Connections are spread over the workers: each of them has some of many."""
    server = run_server(store.path, workers=WORKERS)
    before = [sockets(pid) for pid in server.workers()]
    # By chance alone, once in 2^39 times all would come to one worker.
    channels = [
        grpc.insecure_channel(server.target, options=(("grpc.use_local_subchannel_pool", 1),))
        for _ in range(40)
    ]
    for channel in channels:
        channel.unary_unary("/numroute.v1.NumberRouting/BulkLookup")(BULK, timeout=30)
    after = [sockets(pid) for pid in server.workers()]
    for channel in channels:
        channel.close()
    assert sum(after) - sum(before) == len(channels)
    assert all(now > then for now, then in zip(after, before, strict=True))


def sockets(pid: int) -> int:
    """Return how many sockets a process has open."""
    found = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        # One may be closed while the others are looked at.
        with contextlib.suppress(FileNotFoundError):
            found += os.fspath(fd.readlink()).startswith("socket:")
    return found
