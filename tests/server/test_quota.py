"""Rates and daily quotas: exact over processes and restarts, and told to who is refused."""

from __future__ import annotations

import asyncio
import contextlib
import io
import multiprocessing
import os
import signal
import time
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mounts import mounted

import numroute
from numroute.errors import NoSnapshotError, QuotaExceededError, ServiceError, SettingError
from numroute.index import SnapshotStore
from numroute.logs import make_logger
from numroute.server import quota as usage_module
from numroute.server.auth import Client, new_token, parse_clients, token_entry
from numroute.server.follower import Follower
from numroute.server.guard import Call
from numroute.server.quota import CLIENTS_MAX, SECONDS_PER_DAY, Quota
from numroute.server.servicer import NumberRouting
from numroute.server.settings import Security
from numroute.v1 import number_routing_pb2 as pb

NOON = 20_000 * SECONDS_PER_DAY + 43_200.0


@pytest.fixture
def clock(monkeypatch):
    """Return the time as a list of one, to be changed."""
    now = [NOON]
    monkeypatch.setattr(usage_module.time, "time", lambda: now[0])
    return now


class Known:
    """Clients with limits."""

    def __init__(self, limits: str) -> None:
        """Read a tokens file's text."""
        self.content = parse_clients(limits, "tokens")


def opened(folder: Path, limits: str = "") -> Quota:
    """Return the quota of clients with these limits, counted in a folder."""
    return Quota(Known(limits), folder)


@pytest.fixture
def usage(tmp_path: Path):
    quota = opened(tmp_path / "state")
    yield quota
    quota.close()


def refused(usage: Quota, limits: Client, count: int) -> QuotaExceededError:
    with pytest.raises(QuotaExceededError) as caught:
        usage.take("messaging", limits, count)
    return caught.value


def test_a_bucket_fills_at_its_rate(usage, clock) -> None:
    """After the burst is used up, what time brings is given and no more, with the wait told."""
    limits = Client(rate=100, burst=300)
    usage.take("messaging", limits, 300)
    error = refused(usage, limits, 50)
    assert error.reason == "rate"
    assert error.retry_after_seconds == pytest.approx(0.5)
    assert "client messaging may ask for 100 numbers a second" in error.message
    clock[0] += 0.4
    assert refused(usage, limits, 50).retry_after_seconds == pytest.approx(0.1)
    clock[0] += 0.1
    usage.take("messaging", limits, 50)
    refused(usage, limits, 1)
    clock[0] += 3_600
    usage.take("messaging", limits, 300)
    refused(usage, limits, 1)


def test_a_request_larger_than_the_burst_is_paid_for_afterwards(usage, clock) -> None:
    """It waits for a full bucket, is let in, and the bucket's debt holds up the next."""
    limits = Client(rate=100, burst=100)
    usage.take("messaging", limits, 1_000)
    assert refused(usage, limits, 1).retry_after_seconds == pytest.approx(9.01)
    clock[0] += 9.5
    assert refused(usage, limits, 1_000).retry_after_seconds == pytest.approx(0.5)
    usage.take("messaging", limits, 50)


def test_a_clock_set_back_gives_nothing(usage, clock) -> None:
    """Time that goes backwards fills no bucket and takes nothing from it."""
    limits = Client(rate=100, burst=100)
    usage.take("messaging", limits, 60)
    clock[0] -= 1_000
    usage.take("messaging", limits, 40)
    refused(usage, limits, 1)
    clock[0] += 0.5
    usage.take("messaging", limits, 50)


def test_a_clock_set_back_locks_nobody_out(usage, clock) -> None:
    """A client with an empty bucket waits as long as told, not until the clock is where it was."""
    limits = Client(rate=100, burst=100)
    usage.take("messaging", limits, 100)
    clock[0] -= 3_600
    assert refused(usage, limits, 50).retry_after_seconds == pytest.approx(0.5)
    clock[0] += 0.5
    usage.take("messaging", limits, 50)


def test_a_clock_back_and_forth_grants_no_second_quota(usage, clock) -> None:
    """A clock set back by a day and forward again finds the quota used; further it counts anew."""
    limits = Client(daily=100)
    usage.take("messaging", limits, 100)
    clock[0] -= SECONDS_PER_DAY
    refused(usage, limits, 1)
    clock[0] += SECONDS_PER_DAY
    refused(usage, limits, 1)
    assert usage.used_today("messaging") == 100
    clock[0] += SECONDS_PER_DAY
    usage.take("messaging", limits, 60)
    clock[0] -= 2 * SECONDS_PER_DAY
    usage.take("messaging", limits, 100)


def test_a_day_ends_at_midnight(usage, clock) -> None:
    """A used up quota begins anew at midnight UTC; refused numbers are not counted."""
    limits = Client(daily=1_000)
    usage.take("messaging", limits, 900)
    error = refused(usage, limits, 101)
    assert error.reason == "daily_quota"
    assert error.retry_after_seconds == 43_200
    assert "1,000 numbers a day; 100 are left, and the request has 101" in error.message
    assert "2024-10-05T00:00:00+00:00" in error.hint
    usage.take("messaging", limits, 100)
    assert usage.used_today("messaging") == 1_000
    refused(usage, limits, 1)
    clock[0] += 43_199
    refused(usage, limits, 1)
    clock[0] += 1
    assert usage.used_today("messaging") == 0
    usage.take("messaging", limits, 1_000)


def test_what_the_rate_refuses_costs_no_quota(usage, clock) -> None:
    """Both limits are asked before either is charged."""
    limits = Client(rate=10, burst=10, daily=100)
    usage.take("messaging", limits, 10)
    for _ in range(50):
        refused(usage, limits, 10)
    assert usage.used_today("messaging") == 10


class Asking:
    """A call as the quota sees it."""

    def __init__(self, client: str = "messaging") -> None:
        """Be a call of this client."""
        self.client = client

    def ask(self, quota: Quota, count: int) -> None:
        """Ask for this many numbers."""
        quota.numbers(self, count)


def test_changed_limits_apply_at_once(tmp_path, clock) -> None:
    """A client whose limits change, or that has none any more, is held to the new ones at once."""
    known = Known("clients.messaging.daily = 1000000")
    quota = Quota(known, tmp_path)
    Asking().ask(quota, 100)
    known.content = parse_clients("clients.messaging.daily = 150", "tokens")
    with pytest.raises(QuotaExceededError):
        Asking().ask(quota, 100)
    assert quota.used_today("messaging") == 100
    known.content = parse_clients('clients.messaging.certificates = ["m.internal"]', "tokens")
    Asking().ask(quota, 10**9)
    Asking("unknown").ask(quota, 10**9)
    quota.close()


def test_a_call_without_numbers_counts_as_one(tmp_path, clock) -> None:
    """Calls that ask for nothing are not free: each counts as one number."""
    quota = opened(tmp_path, "clients.messaging.daily = 3")
    for _ in range(3):
        Asking().ask(quota, 0)
    with pytest.raises(QuotaExceededError):
        Asking().ask(quota, 0)
    quota.close()


def test_every_method_is_counted(run_server, store, tmp_path) -> None:
    """GetSnapshot, ListOperators and empty batches use the quota up."""
    server, security = _limited(run_server, store, tmp_path, "daily=4")
    metadata = (("authorization", f"Bearer {security.token}"),)
    for method in ("GetSnapshot", "ListOperators", "BulkLookup", "Lookup"):
        call = server.channel.unary_unary(f"/numroute.v1.NumberRouting/{method}")
        call(b"", timeout=20, metadata=metadata)
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=20, metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("count", [1, 2])
async def test_what_cannot_be_answered_costs_nothing(tmp_path, count: int) -> None:
    """Without a snapshot in service no quota is charged."""
    log = make_logger(io.StringIO())
    store = SnapshotStore(tmp_path / "store", create=True)
    follower = Follower(store, log, max_age=None, on_state=lambda _: None)
    service, call = NumberRouting(follower, log), Call("BulkLookup", None)  # type: ignore[arg-type]
    request = pb.BulkLookupRequest(numbers=[79_000_000_000] * count).SerializeToString()
    with pytest.raises(NoSnapshotError):
        await service.bulk_lookup(request, call)
    service.close()
    assert call.numbers == 0


def test_clients_are_counted_apart(usage, clock) -> None:
    """One client's use takes nothing from another's."""
    for client in ("a", "b"):
        usage.take(client, Client(daily=10), 10)
    refused_clients = 0
    for client in ("a", "b", "c"):
        try:
            usage.take(client, Client(daily=10), 10)
        except QuotaExceededError:
            refused_clients += 1
    assert refused_clients == 2


def test_limits_may_change(usage, clock) -> None:
    """A raised limit counts at once for what was used before."""
    usage.take("messaging", Client(daily=10), 10)
    refused(usage, Client(daily=10), 1)
    usage.take("messaging", Client(daily=20), 10)
    refused(usage, Client(daily=20), 1)
    usage.take("messaging", Client(), 10**9)


def test_a_restart_forgets_nothing(tmp_path, clock) -> None:
    """What was used today is known to the next process."""
    first = opened(tmp_path)
    first.take("messaging", Client(rate=1, burst=500, daily=600), 500)
    first.close()
    second = opened(tmp_path)
    assert second.used_today("messaging") == 500
    with pytest.raises(QuotaExceededError):
        second.take("messaging", Client(rate=1, burst=500), 500)
    second.close()


def test_clients_of_yesterday_make_room(usage, clock, monkeypatch) -> None:
    """As many clients as fit may ask in a day; two days later others may."""
    for number in range(CLIENTS_MAX):
        usage.take(f"client-{number}", Client(daily=1), 1)
    with pytest.raises(QuotaExceededError, match=r"4,096 clients") as caught:
        usage.take("late", Client(daily=1), 1)
    assert caught.value.reason == "too_many_clients"
    clock[0] += 2 * SECONDS_PER_DAY
    usage.take("late", Client(daily=1), 1)
    usage.take("client-0", Client(daily=1), 1)
    assert usage.used_today("late") == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 200), st.floats(0, 5)), max_size=60),
    st.integers(1, 100),
    st.integers(1, 300),
)
def test_no_more_than_the_rate_allows(tmp_path_factory, asks, rate, burst) -> None:
    """Over any time, at most the burst, the rate's gain and one request are given."""
    now = [NOON]
    usage = opened(tmp_path_factory.mktemp("usage"))
    original = usage_module.time.time
    usage_module.time.time = lambda: now[0]
    try:
        given_numbers, largest = 0, 0
        for count, pause in asks:
            now[0] += pause
            largest = max(largest, count)
            try:
                usage.take("messaging", Client(rate=rate, burst=burst), count)
                given_numbers += count
            except QuotaExceededError as error:
                now[0] += error.retry_after_seconds + 1e-6
                usage.take("messaging", Client(rate=rate, burst=burst), count)
                given_numbers += count
            assert given_numbers <= burst + rate * (now[0] - NOON) + largest + 1e-3
    finally:
        usage_module.time.time = original
        usage.close()


def _take_all(folder: Path, limit: int, result) -> None:
    quota = opened(folder, f"clients.messaging.daily = {limit}")
    taken = 0
    try:
        while True:
            Asking().ask(quota, 7)
            taken += 7
    except QuotaExceededError:
        result.put(taken)


def test_processes_share_one_quota_exactly(tmp_path) -> None:
    """Four processes that take what they can get the quota between them, to the number."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    workers = [context.Process(target=_take_all, args=(tmp_path, 70_000, result)) for _ in range(4)]
    for worker in workers:
        worker.start()
    taken = [result.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(taken) == 70_000


def _take_forever(folder: Path) -> None:
    usage = opened(folder)
    while True:
        usage.take("messaging", Client(daily=10**12), 1)


def test_a_killed_process_holds_nobody_up(tmp_path) -> None:
    """After kill -9 of a process that counts, the others count on."""
    usage = opened(tmp_path)
    context = multiprocessing.get_context("spawn")
    for _ in range(3):
        worker = context.Process(target=_take_forever, args=(tmp_path,))
        worker.start()
        while usage.used_today("messaging") == 0:
            time.sleep(0.01)
        before = usage.used_today("messaging")
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        usage.take("messaging", Client(daily=10**12), 1)
        assert usage.used_today("messaging") > before
    usage.close()


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    """A state folder that is a file is told with its path."""
    (tmp_path / "state").touch()
    with pytest.raises(SettingError, match=r"state/usage-v1\.bin.*cannot be counted"):
        opened(tmp_path / "state")


def test_a_service_refuses_beyond_the_quota(run_server, store, tmp_path) -> None:
    """Who has used its quota is refused with the wait, even after a restart; others are not."""
    (token, sha256), (other, other_sha256) = new_token(), new_token()
    path = tmp_path / "tokens"
    path.touch(0o600)
    path.write_text(
        "\n".join(
            [
                "[clients.messaging]\ndaily = 1000",
                token_entry("messaging", sha256),
                token_entry("other", other_sha256),
            ]
        )
    )
    security = Security(tokens=path, state=tmp_path / "state")

    def ask(server, count: int, token: str = token) -> None:
        request = pb.BulkLookupRequest(numbers=[79_000_000_000] * count).SerializeToString()
        server.channel.unary_unary("/numroute.v1.NumberRouting/BulkLookup")(
            request, timeout=10, metadata=(("authorization", f"Bearer {token}"),)
        )

    server = run_server(store.path, security=security)
    ask(server, 600)
    ask(server, 400)
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, 1)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "may ask for 1,000 numbers a day; 0 are left" in caught.value.details()
    trailers = dict(caught.value.trailing_metadata())
    assert 0 < int(trailers["retry-after-ms"]) <= 86_400_000
    ask(server, 5_000, other)
    assert server.stop() == 0
    again = run_server(store.path, security=security)
    with pytest.raises(grpc.RpcError):
        ask(again, 1)


def _limited(run_server, store, tmp_path, limits: str):
    """Run a service with one client; return it and what the client shows."""
    token, sha256 = new_token()
    path = tmp_path / "tokens"
    path.touch(0o600)
    path.write_text(f"clients.small = {{{limits}, tokens = [{{sha256 = '{sha256}'}}]}}\n")
    server = run_server(store.path, security=Security(tokens=path, state=tmp_path / "state"))
    return server, numroute.Security(token=token)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ("rate=1000, burst=2000, daily=100", r"100 numbers a day; 0 are left.*next day begins at"),
        ("rate=1, burst=5", r"may ask for 1 numbers a second\. Ask again in"),
    ],
)
def test_clients_hear_which_limit_is_reached(run_server, store, tmp_path, limits, text) -> None:
    """A wait longer than the call may take is no wait: each way to ask tells the refusal itself."""
    server, security = _limited(run_server, store, tmp_path, limits)
    number = 79_000_000_000
    with numroute.Client(server.target, security=security) as client:
        client.lookup([number] * 100)
        for ask in (
            lambda: client.lookup([number]),
            lambda: client.lookup_text([f"+{number}"]),
            lambda: list(client.stream([[number]])),
        ):
            with pytest.raises(ServiceError, match=text) as caught:
                ask()
            assert caught.value.code == "RESOURCE_EXHAUSTED"

    async def run() -> None:
        async with numroute.AsyncClient(server.target, security=security) as client:

            async def streamed() -> None:
                async for _ in client.stream([[number]]):
                    pass

            for ask in (
                lambda: client.lookup(number),
                lambda: client.lookup([number]),
                lambda: client.lookup_text([f"+{number}"]),
                streamed,
            ):
                with pytest.raises(ServiceError, match=text) as caught:
                    await ask()
                assert caught.value.code == "RESOURCE_EXHAUSTED"

    asyncio.run(run())


def test_clients_wait_for_what_comes_in_time(run_server, store, tmp_path) -> None:
    """A rate that has room again before the deadline is waited for, by streams as well."""
    server, security = _limited(run_server, store, tmp_path, "rate=50, burst=100")
    number = 79_000_000_000
    with numroute.Client(server.target, security=security, timeout=20) as client:
        for _ in range(2):
            assert len(client.lookup([number] * 100).route_index) == 100
        answers = list(client.stream([[number] * 100]))
    assert len(answers) == 1


def fill(disk: Path) -> None:
    """Take all that is left of a disk."""
    with (
        contextlib.suppress(OSError),
        (disk / "filler").open("wb", buffering=0) as file,
    ):
        while True:
            file.write(bytes(4096))


def test_a_disk_that_fills_up_ends_nothing(run_server, store, tmp_path) -> None:
    """What clients ask for is counted on while the disk under the state folder is full."""
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=1m", "none"):
        server, security = _limited(run_server, store, disk, "daily=1000")
        fill(disk)
        with numroute.Client(server.target, security=security) as client:
            assert len(client.lookup([79_000_000_000] * 10).route_index) == 10
        assert server.stop() == 0


def test_no_room_for_the_counts(tmp_path) -> None:
    """On a full disk the service does not start, and says how much room it needs."""
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=1m", "none"):
        fill(disk)
        with pytest.raises(SettingError, match="cannot be counted: No space left") as caught:
            opened(disk / "state")
    assert "256 KiB" in caught.value.hint
