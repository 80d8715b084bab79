"""Metrics, probes and the audit of a real service."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from support.certificates import Authority
from support.files import private
from support.oracle import make_registry, publish

import numroute
from numroute.feed import FeedState, Trouble, write_feed_state
from numroute.index import SnapshotStore
from numroute.logs import make_logger
from numroute.model import Status
from numroute.server.auth import new_token, token_entry
from numroute.server.metrics import SILENT_SECONDS_MAX, Report, Reports
from numroute.server.monitor import CONNECTIONS_MAX, Monitor
from numroute.server.settings import Security, ServerSettings
from numroute.v1 import number_routing_pb2 as pb

NUMBERS = [79_000_000_000 + step for step in range(0, 200_000, 37)]


def get(server, path: str) -> tuple[int, str]:
    """Return the status and the body of an HTTP answer."""
    (line,) = server.wait_for_log("metrics served")
    try:
        with urllib.request.urlopen(f"http://{line['address']}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def scrape(server) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the samples by name and labels."""
    status, text = get(server, "/metrics")
    assert status == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples, name: str, **labels: str) -> float:
    """Return the sum of the samples of a name that have these labels."""
    wanted = set(labels.items())
    return sum(
        number for (each, has), number in samples.items() if each == name and wanted <= set(has)
    )


def wait_for(server, name: str, wanted: float, **labels: str):
    """Scrape until a value is reached, and return the samples."""
    until = time.monotonic() + 20
    while value(samples := scrape(server), name, **labels) != wanted:
        assert time.monotonic() < until, (name, labels, value(samples, name, **labels))
        time.sleep(0.1)
    return samples


def test_calls_numbers_and_answers_are_counted(run_server, store) -> None:
    """What was asked and answered, small and large, in columns and rows, adds up exactly."""
    server = run_server(store.path, metrics="127.0.0.1:0")
    expected = dict.fromkeys(Status, 0)
    with numroute.Client(server.target, numbers_per_chunk=10_000) as client:
        for numbers in (NUMBERS[:1], NUMBERS[:1_000], NUMBERS[:4_097], NUMBERS, [0, 10**16]):
            answer = client.lookup(numbers)
            for index in answer.route_index:
                expected[answer.routes[index].status] += 1
        for answer in client.lookup_text(["+79000000000", "nonsense"]):
            expected[answer.status] += 1
    with pytest.raises(grpc.RpcError):
        server.call("BulkLookup", bytes(1))
    asked = 1 + 1_000 + 4_097 + len(NUMBERS) + 2
    samples = wait_for(server, "numroute_requests_total", 7)
    assert value(samples, "numroute_numbers_total", method="BulkLookup") == asked
    assert value(samples, "numroute_numbers_total", method="Lookup") == 2
    for status, count in expected.items():
        assert value(samples, "numroute_answers_total", status=status.name.lower()) == count
    assert sum(expected.values()) == asked + 2
    ok = {"method": "BulkLookup", "code": "OK"}
    assert value(samples, "numroute_requests_total", **ok) == 5
    bad = {"method": "BulkLookup", "code": "INVALID_ARGUMENT"}
    assert value(samples, "numroute_requests_total", **bad) == 1
    assert value(samples, "numroute_request_numbers_sum", method="BulkLookup") == asked
    assert value(samples, "numroute_request_numbers_bucket", method="BulkLookup", le="1000.0") == 3
    assert value(samples, "numroute_request_seconds_count", method="BulkLookup") == 6
    assert value(samples, "numroute_requests_in_flight") == 0


def test_messages_of_streams_are_timed(run_server, store) -> None:
    """Of a stream each message counts, not how long it stays open; nor does a watch."""
    server = run_server(store.path, metrics="127.0.0.1:0")
    began = time.monotonic()

    def batches():
        for _ in range(3):
            yield pb.BulkLookupRequest(numbers=NUMBERS[:10]).SerializeToString()
            time.sleep(0.2)

    with numroute.Client(server.target) as client:
        next(client.watch_snapshots())
        stream = server.channel.stream_stream("/numroute.v1.NumberRouting/StreamLookup")
        assert sum(1 for _ in stream(batches(), timeout=60.0)) == 3
    wait_for(server, "numroute_requests_total", 2)
    samples = wait_for(server, "numroute_requests_in_flight", 0)
    assert value(samples, "numroute_request_seconds_count", method="StreamLookup") == 3
    assert value(samples, "numroute_request_seconds_count") == 3
    assert value(samples, "numroute_request_seconds_sum") < (time.monotonic() - began) / 2


def test_the_snapshot_the_index_and_the_worker_are_told(run_server, store) -> None:
    """Id, age, size and residency of the snapshot, memory and files of the worker."""
    server = run_server(store.path, metrics="127.0.0.1:0")
    with numroute.Client(server.target) as client:
        info = client.snapshot()
    samples = wait_for(server, "numroute_ready_workers", 1)
    assert value(samples, "numroute_snapshot_workers", snapshot=info.snapshot.id) == 1
    as_of = info.snapshot.as_of.timestamp()
    assert value(samples, "numroute_snapshot_as_of_timestamp_seconds") == as_of
    age = datetime.now(UTC).timestamp() - as_of
    assert value(samples, "numroute_snapshot_age_seconds") == pytest.approx(age, abs=30)
    path = store.path / "snapshots" / f"{info.snapshot.id}.lmdb"
    assert value(samples, "numroute_index_bytes") == path.stat().st_size
    assert 0 < value(samples, "numroute_index_resident_ratio") <= 1
    assert value(samples, "numroute_worker_resident_bytes") > 10_000_000
    assert value(samples, "numroute_worker_open_files") > 3
    assert value(samples, "numroute_worker_cpu_seconds") > 0
    assert value(samples, "numroute_snapshot_swaps_total") == 1
    assert value(samples, "numroute_snapshot_failures_total") == 0
    names = {name for name, _ in samples}
    assert "numroute_certificate_expires_timestamp_seconds" not in names
    assert not any(name.startswith("numroute_feed") for name in names)


def test_workers_are_added_up(run_server, store) -> None:
    """One address tells the sum of all workers; one that is killed takes no counts away."""
    server = run_server(store.path, metrics="127.0.0.1:0", workers=2)
    request = pb.BulkLookupRequest(numbers=NUMBERS[:10]).SerializeToString()

    def ask(calls: int) -> None:
        for _ in range(calls):
            # A connection for each call: the system spreads them over the workers.
            options = (("grpc.use_local_subchannel_pool", 1),)
            with grpc.insecure_channel(server.target, options) as channel:
                channel.unary_unary("/numroute.v1.NumberRouting/BulkLookup")(request, timeout=10)

    ask(40)
    samples = wait_for(server, "numroute_numbers_total", 400)
    assert value(samples, "numroute_workers") == 2
    memory = {
        dict(labels)["worker"]: number
        for (name, labels), number in samples.items()
        if name == "numroute_worker_resident_bytes"
    }
    assert set(memory) == {"1", "2"}
    (first, _) = server.wait_for_log("worker serving", 2)
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_for_log("worker serving", 3)
    samples = wait_for(server, "numroute_workers", 2)
    assert value(samples, "numroute_workers_wanted") == 2
    assert value(samples, "numroute_numbers_total") == 400
    ask(10)
    wait_for(server, "numroute_numbers_total", 500)
    assert first["worker"] in {1, 2}


def test_swaps_and_failures_are_counted(run_server, tmp_path, registry) -> None:
    """Each new snapshot counts; so does one that cannot be opened, once."""
    store = SnapshotStore(tmp_path / "store", create=True)
    publish(store, registry)
    server = run_server(store.path, metrics="127.0.0.1:0")
    publish(store, make_registry(seed=2))
    wait_for(server, "numroute_snapshot_swaps_total", 2)
    fresh = store.path / "CURRENT.new"
    fresh.write_text("20200101T000000Z-000000\n")
    fresh.rename(store.path / "CURRENT")
    samples = wait_for(server, "numroute_snapshot_failures_total", 1)
    assert value(samples, "numroute_ready_workers") == 1


FAULTY = """
from numroute.index import SnapshotStore

folder, current_id = Path({folder!r}), SnapshotStore.current_id

def faulty(store):
    with (folder / "looks").open("a") as file:
        file.write(".")
    for fault in (KeyError, RuntimeError):
        if (folder / fault.__name__).exists():
            raise fault
    return current_id(store)

SnapshotStore.current_id = faulty
"""


def test_faults_while_looking_count_once_each(run_server, store, tmp_path) -> None:
    """A fault in each look for a snapshot is counted and logged once, and another fault anew."""
    server = run_server(
        store.path, metrics="127.0.0.1:0", before=FAULTY.format(folder=str(tmp_path))
    )
    wait_for(server, "numroute_ready_workers", 1)
    faults = ["RuntimeError", "KeyError"]
    for count, fault in enumerate(faults, 1):
        (tmp_path / fault).touch()
        wait_for(server, "numroute_snapshot_failures_total", count)
        looks = (tmp_path / "looks").stat().st_size
        until = time.monotonic() + 20
        while (tmp_path / "looks").stat().st_size < looks + 3:
            assert time.monotonic() < until
            time.sleep(0.1)
    assert [line["fault"] for line in server.wait_for_log("polling failed", 2)] == faults


def test_clients_and_refusals_are_told_apart(run_server, store, tmp_path) -> None:
    """Calls, numbers and refusals by client and reason; the audit says the same, once."""
    (token, sha256), (unknown, _) = new_token(), new_token()
    authority = Authority.make(tmp_path / "authority")
    old, old_sha256 = new_token()
    path = private(
        tmp_path / "tokens",
        "[clients.messaging]\ndaily = 1000",
        token_entry("messaging", sha256),
        token_entry("messaging", old_sha256, datetime(2020, 1, 1, tzinfo=UTC)),
    )
    security = Security(tls=authority.issue(), tokens=path, state=tmp_path / "state")
    server = run_server(store.path, security=security, metrics="127.0.0.1:0")

    def ask(count: int, token: str) -> grpc.StatusCode:
        request = pb.BulkLookupRequest(numbers=NUMBERS[:count]).SerializeToString()
        metadata = (("authorization", f"Bearer {token}"),)
        try:
            method(request, timeout=10, metadata=metadata)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    with authority.channel(f"localhost:{server.port}") as channel:
        method = channel.unary_unary("/numroute.v1.NumberRouting/BulkLookup")
        codes = [ask(600, token), ask(400, token), ask(1, token), ask(5, unknown), ask(5, unknown)]
        codes.append(ask(1, old))
    assert [code.name for code in codes] == [
        "OK",
        "OK",
        "RESOURCE_EXHAUSTED",
        "UNAUTHENTICATED",
        "UNAUTHENTICATED",
        "UNAUTHENTICATED",
    ]
    samples = wait_for(server, "numroute_requests_total", 6)
    assert value(samples, "numroute_refused_total", reason="expired_token", client="messaging") == 1
    assert value(samples, "numroute_requests_total", client="messaging", code="OK") == 2
    assert value(samples, "numroute_numbers_total", client="messaging") == 1_000
    assert value(samples, "numroute_refused_total", reason="daily_quota", client="messaging") == 1
    assert value(samples, "numroute_refused_total", reason="unknown_token", client="") == 2
    assert value(samples, "numroute_certificate_expires_timestamp_seconds") > time.time()
    assert server.stop() == 0
    stranger, messaging = server.wait_for_log("audit")
    assert (messaging["client"], messaging["calls"], messaging["numbers"]) == ("messaging", 3, 1000)
    assert messaging["refused"] == 2
    assert messaging["since"] <= messaging["until"]
    assert (stranger["client"], stranger["calls"], stranger["refused"]) == (None, 3, 2)
    text = server.log_path.read_text("utf-8")
    assert token[3:] not in text
    assert "7900" not in text


def test_the_feed_is_told(run_server, store) -> None:
    """What feeds the store shows in the metrics while its state is there."""
    now = datetime.now(UTC)
    trouble = Trouble(message="m", hint="h", since=now, last_at=now, count=3)
    state = FeedState(source="inbox", started_at=now, succeeded_at=now, error=trouble, gap=trouble)
    server = run_server(store.path, metrics="127.0.0.1:0")
    write_feed_state(store.path, state)
    try:
        samples = scrape(server)
    finally:
        (store.path / "feed.json").unlink()
    assert value(samples, "numroute_feed_succeeded_timestamp_seconds") == now.timestamp()
    assert value(samples, "numroute_feed_errors") == 3
    assert value(samples, "numroute_feed_gap") == 1
    assert value(samples, "numroute_feed_waiting_files") == 0


def health(server) -> int:
    stub = health_pb2_grpc.HealthStub(server.channel)
    return stub.Check(health_pb2.HealthCheckRequest()).status


def test_old_data_is_not_ready_but_alive(run_server, store) -> None:
    """Beyond the limit of age readiness is red, in gRPC and HTTP, and calls are answered still."""
    server = run_server(store.path, metrics="127.0.0.1:0", max_age=3600.0)
    (line,) = server.wait_for_log("data too old")
    assert line["level"] == "error"
    assert health(server) == health_pb2.HealthCheckResponse.NOT_SERVING
    status, body = get(server, "/readyz")
    assert status == 503
    assert json.loads(body)["problems"] == ["worker 1: the data is older than --max-age"]
    assert get(server, "/livez")[0] == 200
    with numroute.Client(server.target) as client:
        assert client.lookup(NUMBERS[:1]).snapshot.stale
    samples = scrape(server)
    assert value(samples, "numroute_ready_workers") == 0
    assert value(samples, "numroute_snapshot_max_age_seconds") == 3600


def test_readiness_follows_the_snapshot(run_server, tmp_path, registry) -> None:
    """Not ready without a snapshot, ready with one."""
    store = SnapshotStore(tmp_path / "store", create=True)
    server = run_server(store.path, metrics="127.0.0.1:0")
    status, body = get(server, "/readyz")
    assert status == 503
    assert "there is no snapshot yet" in body
    publish(store, registry)
    wait_for(server, "numroute_ready_workers", 1)
    assert get(server, "/readyz") == (200, '{"ok": true, "problems": []}\n')
    assert health(server) == health_pb2.HealthCheckResponse.SERVING


def test_a_stuck_worker_is_not_alive(run_server, store) -> None:
    """When no worker has reported for long, liveness is red."""
    stuck = """
import numroute.server.metrics as metrics
metrics.SILENT_SECONDS_MAX = 0.5
metrics.REPORT_SECONDS = 1e9
"""
    server = run_server(store.path, metrics="127.0.0.1:0", before=stuck)
    until = time.monotonic() + 20
    while get(server, "/livez")[0] != 503:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert "worker 1: it has been silent for too long" in get(server, "/livez")[1]
    status, body = get(server, "/readyz")
    assert status == 503
    assert json.loads(body)["problems"] == ["worker 1: it has been silent for too long"]


def test_a_silent_worker_is_not_ready(tmp_path, monkeypatch) -> None:
    """A worker that was ready when it reported last, long ago, does not count as ready."""
    reports, now = Reports(), time.monotonic()
    reports.receive(os.getpid(), Report(worker=1, counts={}))
    for silent_seconds, ready in ((0.0, 1), (2 * SILENT_SECONDS_MAX, 0)):
        monkeypatch.setattr(time, "monotonic", lambda later=silent_seconds: now + later)
        log = make_logger(io.StringIO())
        families = Monitor(ServerSettings(store=tmp_path), reports, log).collect()
        told = {each.name: each.samples[0].value for each in families if each.samples}
        assert (told["numroute_workers"], told["numroute_ready_workers"]) == (1, ready)


@pytest.mark.parametrize("path", ["/", "/metricsx", "/../etc/passwd"])
def test_nothing_else_is_served(run_server, store, path) -> None:
    """Other paths are not found."""
    server = run_server(store.path, metrics="127.0.0.1:0")
    assert get(server, path)[0] == 404


def test_probes_may_ask_for_the_status_alone(run_server, tmp_path) -> None:
    """HEAD is answered as GET is, without the body."""
    server = run_server(SnapshotStore(tmp_path / "store", create=True).path, metrics="127.0.0.1:0")
    (line,) = server.wait_for_log("metrics served")
    for path, status in (("/livez", 200), ("/readyz", 503), ("/metrics", 200), ("/", 404)):
        connection = http.client.HTTPConnection(str(line["address"]), timeout=10)
        with contextlib.closing(connection):
            connection.request("HEAD", path)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (status, b"")
            assert int(answer.headers["Content-Length"]) > 0


def test_slow_clients_do_not_hold_the_port(run_server, store) -> None:
    """More connections that say nothing than are held at once: whoever asks is answered."""
    server = run_server(store.path, metrics="127.0.0.1:0")
    (line,) = server.wait_for_log("metrics served")
    host, _, port = str(line["address"]).rpartition(":")
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
            for _ in range(2 * CONNECTIONS_MAX)
        ]
        for _ in range(3):
            assert get(server, "/livez")[0] == 200
        # The oldest have been closed.
        assert silent[0].recv(1) == b""


def test_metrics_address_in_use(run_server, store, tmp_path) -> None:
    """An address in use is told, and the service does not start."""
    from support.servers import launch

    server = run_server(store.path, metrics="127.0.0.1:0")
    (line,) = server.wait_for_log("metrics served")
    process, log_path = launch(tmp_path, store.path, metrics=line["address"])
    with process.stdout:
        assert process.stdout.read() == ""
    assert process.wait(60) != 0
    assert f"cannot listen on {line['address']} for metrics" in log_path.read_text("utf-8")


def test_a_service_that_ends_leaves_nothing_behind(
    run_server, store, tmp_path, monkeypatch
) -> None:
    """A service writes nothing to the folder of temporary files, during its life or after it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    server = run_server(store.path, metrics="127.0.0.1:0")
    assert list(folder.iterdir()) == []
    assert server.stop() == 0
    assert list(folder.iterdir()) == []


def test_streams_given_up_are_no_faults(run_server, store, registry) -> None:
    """A client that gives up while a large answer is written to it is CANCELLED; nothing failed."""
    server = run_server(store.path, metrics="127.0.0.1:0")
    # The answer has 6 MB; by default a client takes 4.
    ported = sorted(registry.ported)
    question = pb.BulkLookupRequest(
        numbers=[ported[place % len(ported)] for place in range(480_000)],
        with_range_holder=True,
        with_ported_at=True,
    ).SerializeToString()
    for _ in range(12):
        with grpc.insecure_channel(
            server.target, (("grpc.use_local_subchannel_pool", 1),)
        ) as channel:
            method = channel.stream_stream("/numroute.v1.NumberRouting/StreamLookup")
            with pytest.raises(grpc.RpcError, match="larger than max"):
                next(method(iter([question]), timeout=60))
    samples = wait_for(server, "numroute_requests_total", 12)
    assert value(samples, "numroute_requests_total", code="CANCELLED") == 12
    assert server.stop() == 0
    assert [line for line in server.log() if line["level"] == "error"] == []
    assert "Traceback" not in server.log_path.read_text()


FEW_FILES = """
import resource

resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
"""


def test_files_that_run_out_are_told(run_server, store) -> None:
    """The limit of open files shows; where none are left to look for a snapshot, that counts."""
    server = run_server(store.path, metrics="127.0.0.1:0", before=FEW_FILES)
    samples = wait_for(server, "numroute_worker_open_files_limit", 96, worker="1")
    assert value(samples, "numroute_worker_open_files") < 96
    assert value(samples, "numroute_snapshot_failures_total") == 0
    with contextlib.ExitStack() as stack:
        for _ in range(2 * 96):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        server.wait_for_log("snapshot refused")
    until = time.monotonic() + 20
    while not value(scrape(server), "numroute_snapshot_failures_total"):
        assert time.monotonic() < until
        time.sleep(0.1)
