"""The clients: what they take, what they refuse, and what they make of a service's faults."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures

import grpc
import numpy as np
import pytest

import numroute
from numroute import wire
from numroute.client import messages
from numroute.client.messages import as_numbers
from numroute.entry import how_to_install
from numroute.errors import ServiceError
from numroute.model import Status
from numroute.v1 import number_routing_pb2 as pb

KINDS = ["sync", "asyncio"]


def lookup(
    kind: str, target: str, numbers: object, **options: object
) -> numroute.client.BulkAnswer:
    """Look numbers up with a client of this kind."""
    timeout = options.pop("timeout", 30.0)
    if kind == "sync":
        with numroute.Client(target, timeout=timeout, **options) as client:
            return client.lookup(numbers)

    async def ask() -> numroute.client.BulkAnswer:
        async with numroute.AsyncClient(target, timeout=timeout, **options) as client:
            return await client.lookup(numbers)

    return asyncio.run(ask())


@contextlib.contextmanager
def stand_in(answer: Callable[[bytes, grpc.ServicerContext], bytes]) -> Iterator[str]:
    """Run a service whose every method is ``answer``; yield its target."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    method = grpc.unary_unary_rpc_method_handler(answer)
    methods = dict.fromkeys(("Lookup", "BulkLookup", "GetSnapshot"), method)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(wire.SERVICE_NAME, methods),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def bulk_response(snapshot_id: str, codes: list[str], indexes: list[int]) -> pb.BulkLookupResponse:
    """Return a response with a route per operator code."""
    response = pb.BulkLookupResponse(route_indexes=indexes)
    response.snapshot.id = snapshot_id
    for code in codes:
        response.routes.add(status=pb.STATUS_NOT_PORTED).operator.code = code
    return response


@pytest.mark.parametrize(("count", "on_the_loop"), [(10, True), (10_000, False)])
def test_large_batches_do_not_hold_the_event_loop(monkeypatch, count: int, on_the_loop: bool):  # noqa: FBT001 - a parameter of the test
    """Requests of many numbers are written and their responses read in a thread."""
    threads = set()

    def noted(work):
        def note(*args, **options):
            threads.add(threading.current_thread() is threading.main_thread())
            return work(*args, **options)

        return note

    for module, name in (
        (messages, "as_numbers"),
        (wire, "bulk_request"),
        (messages, "bulk_response"),
    ):
        monkeypatch.setattr(module, name, noted(getattr(module, name)))

    def respond(request: bytes, _: grpc.ServicerContext) -> bytes:
        asked = len(pb.BulkLookupRequest.FromString(request).numbers)
        return bulk_response("a", ["mts"], [0] * asked).SerializeToString()

    async def ask(target: str) -> None:
        batch = [79_000_000_001] * count
        async with numroute.AsyncClient(target, numbers_per_chunk=4_096) as client:
            answer = await client.lookup(batch)
            assert len(answer.route_index) == count

    with stand_in(respond) as target:
        asyncio.run(ask(target))
    assert threads == {on_the_loop}


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param([79_000_000_001, 5], id="list"),
        pytest.param((79_000_000_001, 5), id="tuple"),
        pytest.param(np.array([79_000_000_001, 5]), id="int64"),
        pytest.param(np.array([79_000_000_001, 5], ">u8"), id="big_endian"),
        pytest.param(np.array([79_000_000_001, 0, 5, 0], np.uint64)[::2], id="strided"),
    ],
)
def test_whole_numbers_of_any_type_are_taken(numbers) -> None:
    """Any sequence or array of integers becomes a contiguous uint64 array."""
    array = as_numbers(numbers)
    assert array.dtype == np.uint64
    assert array.flags.c_contiguous
    assert array.tolist() == [79_000_000_001, 5]


def test_the_largest_integers_are_taken() -> None:
    """A list with integers of 64 bits beside small ones, which numpy takes for floats, is exact."""
    assert as_numbers([1, 2**64 - 1, 2**63 + 1]).tolist() == [1, 2**64 - 1, 2**63 + 1]
    assert as_numbers([]).tolist() == []


@pytest.mark.parametrize(
    ("numbers", "error", "text"),
    [
        pytest.param([7.5], TypeError, "float64", id="float"),
        pytest.param(np.array([7e10]), TypeError, "float64", id="float_array"),
        pytest.param(["79000000001"], TypeError, "must be integers", id="text"),
        pytest.param([True, False], TypeError, "bool", id="bool"),
        pytest.param([None], TypeError, "object", id="none"),
        pytest.param([2**63, 0.5], TypeError, "float64", id="large_and_float"),
        pytest.param([5, -1, -2], ValueError, "position 1", id="negative"),
        pytest.param([2**63, -1], ValueError, "2\\^64", id="large_and_negative"),
        pytest.param([2**64], ValueError, "2\\^64", id="too_large"),
        pytest.param([[1], [2]], ValueError, "one dimension, not 2", id="two_dimensions"),
        pytest.param(79_000_000_001, ValueError, r"give \[number\]", id="one_number"),
        pytest.param("79000000001", TypeError, "integers, not str", id="one_text"),
        pytest.param(None, TypeError, "integers, not NoneType", id="nothing"),
        pytest.param(7.9e10, TypeError, "integers, not float", id="one_float"),
        pytest.param({79_000_000_001}, TypeError, "integers, not set", id="set"),
        pytest.param(np.array(5), ValueError, "one dimension, not 0", id="no_dimension"),
    ],
)
def test_what_is_no_whole_number_is_refused(numbers, error, text) -> None:
    """Anything but a row of whole numbers of at most 64 bits is refused with the reason."""
    with pytest.raises(error, match=text):
        as_numbers(numbers)


@pytest.mark.parametrize(
    ("texts", "error", "text"),
    [
        ("+79000000001", TypeError, "sequence of texts"),
        (79_000_000_001, TypeError, "sequence of texts"),
        (["a", 5], TypeError, "position 1"),
        (["a", "\ud800"], ValueError, "position 1"),
    ],
)
def test_what_is_no_text_is_refused(server, texts, error, text) -> None:
    """One text instead of several, or another type, is refused with the reason."""
    with numroute.Client(server.target) as client, pytest.raises(error, match=text):
        client.lookup_text(texts)


@pytest.mark.parametrize("kind", KINDS)
async def test_arguments_of_another_type_are_refused(kind, server) -> None:
    """A wrong type of address, security, region or time is a TypeError that says what to give."""
    make = numroute.Client if kind == "sync" else numroute.AsyncClient
    with pytest.raises(TypeError, match="the target as a text"):
        make(None)
    with pytest.raises(TypeError, match=r"security as numroute\.Security"):
        make(server.target, security="ca.pem")
    client = make(server.target)
    for name in ("lookup_text", "explain"):
        texts = ["+79000000001"] if name == "lookup_text" else "+79000000001"
        for options, text in (
            ({"as_of": "2026-01-01"}, "as_of must be a datetime with its time zone, not str"),
            ({"default_region": 79160000000}, "default_region must be a text, e.g. 'RU', not int"),
        ):
            with pytest.raises(TypeError, match=text):
                await getattr(client, name)(texts, **options)
    client.close() if kind == "sync" else await client.close()


async def test_an_answer_of_a_stream_does_not_wait_for_the_next_batch(server) -> None:
    """A batch may depend on the answer before it."""
    answered = asyncio.Event()

    async def batches() -> AsyncIterator[list[int]]:
        yield [1]
        await asyncio.wait_for(answered.wait(), 10)
        yield [2, 3]

    async with numroute.AsyncClient(server.target) as client:
        sizes = []
        async for answer in client.stream(batches()):
            sizes.append(len(answer.route_index))
            answered.set()
    assert sizes == [1, 2]


def test_an_asyncio_client_belongs_to_one_loop(server) -> None:
    """Without a loop no client is made; in another loop it says what is wrong."""
    with pytest.raises(RuntimeError, match="inside its event loop"):
        numroute.AsyncClient(server.target)

    async def make() -> numroute.AsyncClient:
        client = numroute.AsyncClient(server.target)
        await client.lookup(1)
        return client

    async def read(stream: AsyncIterator[object]) -> None:
        async for _ in stream:
            pass

    with asyncio.Runner() as first, asyncio.Runner() as second:
        client = first.run(make())
        for call in (
            client.lookup(1),
            client.lookup([1]),
            client.snapshot(),
            read(client.stream([[1]])),
            read(client.watch_snapshots()),
        ):
            with pytest.raises(RuntimeError, match="make one in each loop"):
                second.run(call)
        first.run(client.close())


@pytest.mark.parametrize("size", [0, -1, 500_001])
def test_wrong_chunk_is_refused(size) -> None:
    """A chunk that the service would not take is refused at once."""
    with pytest.raises(ValueError, match="from 1 to 500000"):
        numroute.Client("localhost:1", numbers_per_chunk=size)


async def ask_within(kind: str, target: str, seconds: float) -> list[Exception]:
    """Make every kind of call with this timeout; return the errors with which they end."""
    errors: list[Exception] = []
    if kind == "sync":
        with numroute.Client(target) as client:
            for ask in (
                lambda: client.lookup([1], timeout=seconds),
                lambda: client.lookup_text(["+79000000001"], timeout=seconds),
                lambda: list(client.stream([[1]], timeout=seconds)),
                lambda: client.explain("+79000000001", timeout=seconds),
                lambda: client.operators(timeout=seconds),
                lambda: client.snapshot(timeout=seconds),
            ):
                with pytest.raises((ValueError, ServiceError)) as caught:
                    ask()
                errors.append(caught.value)
        return errors
    async with numroute.AsyncClient(target) as client:
        for call in (
            client.lookup(1, timeout=seconds),
            client.lookup([1], timeout=seconds),
            client.lookup_text(["+79000000001"], timeout=seconds),
            anext(client.stream([[1]], timeout=seconds)),
            client.explain("+79000000001", timeout=seconds),
            client.operators(timeout=seconds),
            client.snapshot(timeout=seconds),
        ):
            with pytest.raises((ValueError, ServiceError)) as caught:
                await call
            errors.append(caught.value)
    return errors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -float("inf"), 86_401.0])
async def test_a_timeout_that_is_no_number_of_seconds_is_refused(kind, seconds, server) -> None:
    """A timeout that is not finite or too long is refused, of a client or of one call."""
    with pytest.raises(ValueError, match="timeout must be"):
        (numroute.Client if kind == "sync" else numroute.AsyncClient)(
            server.target, timeout=seconds
        )
    for error in await ask_within(kind, server.target, seconds):
        assert isinstance(error, ValueError)
        assert "timeout must be a number of seconds" in str(error)


async def test_the_longest_timeout(server, registry) -> None:
    """A single number may wait as long as any call: its batch does not wait longer."""
    async with numroute.AsyncClient(server.target, timeout=86_400) as client:
        answer = await client.lookup(next(iter(registry.ported)))
        assert answer.status is Status.PORTED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [-1.5, -1e9])
async def test_no_time_left(kind, seconds, server) -> None:
    """A call without time fails for just that reason; a client that gives none is a mistake."""
    for wrong in (0, seconds):
        with pytest.raises(ValueError, match="timeout must be more than 0"):
            (numroute.Client if kind == "sync" else numroute.AsyncClient)(
                server.target, timeout=wrong
            )
    for error in await ask_within(kind, server.target, seconds):
        assert isinstance(error, ServiceError)
        assert error.code == "DEADLINE_EXCEEDED"
        assert f"did not answer within {seconds:g} s" in error.message


def test_nothing_is_answered_with_nothing(server, store) -> None:
    """An empty batch gives an empty answer that names the snapshot."""
    with numroute.Client(server.target) as client:
        answer = client.lookup([], with_range_holder=True, with_ported_at=True)
        assert client.lookup_text([]) == []
    assert answer.snapshot.id == store.current_id()
    assert answer.route_index.shape == answer.ported_at.shape == (0,)
    assert answer.routes == answer.range_holders == ()


@pytest.mark.parametrize("kind", KINDS)
def test_unreachable(kind) -> None:
    """Where no service listens, the error names the target and asks whether the service runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ServiceError, match=f"cannot reach {target}") as caught:
            lookup(kind, target, [1])
    assert caught.value.code == "UNAVAILABLE"
    assert "numroute serve" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_wait_for_a_service_that_restarts(kind, run_server, store) -> None:
    """A client that has been answered waits for its service as long as each call may take."""
    server = run_server(store.path)
    make = numroute.Client if kind == "sync" else numroute.AsyncClient
    client = make(server.target, timeout=30.0, numbers_per_chunk=2)

    async def ask(name: str, *arguments: object, **options: object) -> object:
        method = getattr(client, name)
        if kind == "sync":
            asked = await asyncio.to_thread(method, *arguments, **options)
            return await asyncio.to_thread(list, asked) if name == "stream" else asked
        asked = method(*arguments, **options)
        return [each async for each in asked] if name == "stream" else await asked

    await ask("lookup", [1])
    server.stop()
    calls = [
        asyncio.create_task(ask(*words))
        for words in (
            ("lookup", [1]),
            ("lookup", [1, 2, 3, 4, 5]),
            ("lookup_text", ["+79000000001"]),
            ("stream", [[1], [2]]),
            *([("lookup", 1)] if kind == "asyncio" else []),
        )
    ]
    with pytest.raises(ServiceError, match=f"cannot reach {server.target}") as caught:
        await ask("snapshot", timeout=1.2)
    assert caught.value.code == "UNAVAILABLE"
    assert not any(call.done() for call in calls)
    run_server(store.path, listen=server.target)
    batch, chunks, *_ = await asyncio.gather(*calls)
    assert (len(batch.route_index), len(chunks.route_index)) == (1, 5)
    await asyncio.to_thread(client.close) if kind == "sync" else await client.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_close_ends_the_wait_for_a_service(kind, run_server, store) -> None:
    """A call that waits for its service ends when the client is closed."""
    server = run_server(store.path)
    client = (numroute.Client if kind == "sync" else numroute.AsyncClient)(server.target)
    if kind == "sync":
        client.snapshot()
    else:
        await client.lookup(1)
    server.stop()
    waiting = asyncio.create_task(
        asyncio.to_thread(client.snapshot, timeout=600.0)
        if kind == "sync"
        else client.lookup(1, timeout=600.0)
    )
    await asyncio.wait([waiting], timeout=0.6)
    await asyncio.to_thread(client.close) if kind == "sync" else await client.close()
    with pytest.raises(ServiceError, match=r"client is closed|cannot reach"):
        await waiting


def test_an_unknown_host_is_named() -> None:
    """The error of a name without an address says so."""
    with (
        numroute.Client("nowhere.invalid:50051") as client,
        pytest.raises(ServiceError, match=r"cannot reach nowhere\.invalid") as caught,
    ):
        client.snapshot()
    assert caught.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("kind", KINDS)
def test_deadline(kind, run_server, store, gate) -> None:
    """A call that takes longer than its timeout ends with a hint."""
    server = run_server(store.path, before=gate.code)
    gate.shut()
    with pytest.raises(ServiceError, match=r"did not answer within 0\.3 s") as caught:
        lookup(kind, server.target, np.ones(5_000, np.uint64), timeout=0.3)
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert "longer timeout" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 60_000])
def test_a_moment_without_service_is_bridged(kind, count) -> None:
    """A call that is refused twice with UNAVAILABLE is sent again, large requests too."""
    calls = []

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        calls.append(len(request))
        if len(calls) <= 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "being replaced")
        return bulk_response("s", ["mA"], [0] * count).SerializeToString()

    with stand_in(answer) as target:
        found = lookup(kind, target, np.ones(count, np.uint64))
    assert len(found.route_index) == count
    assert len(set(calls)) == 1
    assert len(calls) == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("response", "reason"),
    [
        pytest.param(b"\xff\xff", "well-formed", id="no_message"),
        pytest.param(bulk_response("s", ["mA"], [0]), "columns", id="too_few"),
        pytest.param(bulk_response("s", ["mA"], [0, 0, 0]), "columns", id="too_many"),
        pytest.param(bulk_response("s", ["mA"], [0, 1]), "points to nothing", id="wild_index"),
        pytest.param(
            pb.BulkLookupResponse(route_indexes=[0, 0], routes=[pb.Route(status=77)]),
            "unknown to this client",
            id="unknown_status",
        ),
        pytest.param(b"\x0a\x08" + bytes(8) + b"\x12\x01\xff", "unknown", id="route_is_no_message"),
    ],
)
def test_nonsense_from_a_service(kind, response, reason) -> None:
    """A response that does not answer the request is an error, never a wrong answer."""
    if not isinstance(response, bytes):
        response = response.SerializeToString()
    with (
        stand_in(lambda *_: response) as target,
        pytest.raises(ServiceError, match=reason) as caught,
    ):
        lookup(kind, target, [1, 2])
    assert caught.value.code == "INTERNAL"


def test_nonsense_in_rows() -> None:
    """A row answer or a snapshot that cannot be read is an error too."""
    short = pb.LookupResponse().SerializeToString()
    strange = pb.LookupResponse(answers=[pb.LookupAnswer(status=77)]).SerializeToString()
    for response in (b"\xff", short, strange):
        with (
            stand_in(lambda *_, response=response: response) as target,
            numroute.Client(target) as client,
            pytest.raises(ServiceError, match="cannot be understood"),
        ):
            client.lookup_text(["x"])
    with (
        stand_in(lambda *_: b"\xff") as target,
        numroute.Client(target) as client,
        pytest.raises(ServiceError, match="cannot be understood"),
    ):
        client.snapshot()


def test_another_service() -> None:
    """A server that does not know the method is not reported as absent."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with (
            numroute.Client(f"127.0.0.1:{port}") as client,
            pytest.raises(ServiceError, match="does not know the method") as caught,
        ):
            client.snapshot()
    finally:
        server.stop(None).wait()
    assert caught.value.code == "UNIMPLEMENTED"


def test_routes_are_decoded_once(server) -> None:
    """The same route in two answers is the same object."""
    with numroute.Client(server.target) as client:
        first, second = client.lookup([1]), client.lookup([1])
    assert first.routes[0] is second.routes[0]


IMPORTS = {
    "import numroute": ({"numpy", "grpc", "google", "lmdb"}, set()),
    "import numroute; numroute.Security, numroute.client.Security": (
        {"lmdb", "pandas", "polars", "click", "structlog"},
        {"grpc"},
    ),
    "import numroute.client; numroute.Client, numroute.AsyncClient": (
        {"lmdb", "pyarrow", "phonenumbers", "click", "rich", "structlog", "numroute.index"},
        {"numpy", "grpc"},
    ),
}


@pytest.mark.parametrize("code", IMPORTS)
def test_imports_stay_light(code) -> None:
    """``import numroute`` loads nothing, and the client only grpcio, protobuf and numpy."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(done.stdout.split())
    absent, present = IMPORTS[code]
    assert not absent & loaded
    assert present <= loaded


def test_unknown_name_of_the_package() -> None:
    """A name that the package does not have is an AttributeError."""
    with pytest.raises(AttributeError, match="Nothing"):
        numroute.Nothing  # noqa: B018 - asking is the test


@pytest.mark.parametrize(
    ("absent", "code", "what"),
    [
        ("lmdb", "import numroute; numroute.open_store", "numroute.open_store"),
        ("structlog", "import numroute.testing", "numroute.testing"),
    ],
)
def test_a_missing_extra_is_named(absent, code, what) -> None:
    """What needs the extra `service` says how to install it, as the commands do."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules[{absent!r}] = None; {code}"],
        check=False,
        capture_output=True,
        text=True,
    )
    last = done.stderr.splitlines()[-1]
    assert last == f"ModuleNotFoundError: {what} needs {absent}: {how_to_install('service')}"


def test_a_closed_store_says_so(store) -> None:
    """A lookup after `close` is an error that says why."""
    with numroute.open_store(store.path) as opened:
        opened.lookup([1])
    for ask in (lambda: opened.lookup([1]), lambda: opened.lookup_text(["+79000000001"])):
        with pytest.raises(ValueError, match="the store is closed"):
            ask()
    opened.close()


def test_the_public_names_are_listed() -> None:
    """`dir` lists the public names before they are loaded."""
    code = "import numroute; print(set(numroute.__all__) <= set(dir(numroute)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "True\n"
