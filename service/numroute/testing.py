"""A real service for other people's tests: in this process, from a dict.

::

    with numroute.testing.serve({79161234567: "mMegaFon"}) as service:
        with numroute.Client(service.target) as client:
            answer = client.lookup([79161234567])
            assert answer.routes[answer.route_index[0]].operator.code == "mMegaFon"
            service.publish({79161234567: "mMTS"})  # a new snapshot; stale=True for old data
            with service.slow(2.0):  # answers take 2 seconds longer
                ...
            with service.unavailable():  # calls end with UNAVAILABLE
                ...

Under pytest, ``pytest_plugins = ["numroute.testing"]`` in a ``conftest.py`` gives the fixture
``numroute_service``: a function like ``serve`` whose services stop when the test ends. The extra
``service`` installs what a service needs. It starts in about 0.15 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import grpc
import grpc.aio
import numpy as np

from numroute import wire
from numroute.entry import missing
from numroute.errors import SettingError
from numroute.model import NUMBER_MAX, Coverage, Operator, Route, Status

try:
    from grpc_health.v1 import health_pb2_grpc

    from numroute.index import Content, SnapshotStore, writing
    from numroute.index.content import FIXED_STATUSES
    from numroute.logs import make_logger
    from numroute.server.follower import Follower
    from numroute.server.health import Health
    from numroute.server.limits import GRPC_OPTIONS
    from numroute.server.servicer import NumberRouting
except ModuleNotFoundError as fault:
    raise missing(__name__, fault, extra="service") from None

from collections.abc import Callable, Coroutine, Iterator, Mapping

Ported = Mapping[int, Route | Operator | str]
"""Whole E.164 numbers and who serves them: a route, an operator, or an operator's code."""
Ranges = Mapping[tuple[int, int], Route | Operator | str]
"""First and last number of each range, and who holds it."""

__all__ = ["Service", "serve"]

_MAX_AGE = timedelta(days=1)


@contextlib.contextmanager
def serve(ported: Ported, ranges: Ranges | None = None) -> Iterator[Service]:
    """Run a service on a free port of this machine until the block ends.

    The numbers in ``ported`` are answered PORTED, all others by ``ranges``: NOT_PORTED within one.
    What is in neither is UNALLOCATED where the first two digits and the length are those of a given
    number or lie within a range, and NOT_COVERED elsewhere: as a registry covers its country only.
    Raises SettingError for what is no whole E.164 number, range or operator.
    """
    with tempfile.TemporaryDirectory(prefix="numroute-") as folder:
        service = Service(Path(folder) / "store")
        try:
            service.publish(ported, ranges)
            yield service
        finally:
            service.stop()


class Service:
    """A running service; ``target`` is the address to give to a client."""

    target: str

    def __init__(self, store: Path) -> None:
        """Start a service over a new, empty store."""
        self._store = SnapshotStore(store, create=True)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="numroute-testing")
        self._thread.start()
        self._run(self._start())

    def publish(self, ported: Ported, ranges: Ranges | None = None, *, stale: bool = False) -> str:
        """Answer from these numbers and ranges from now on; return the new snapshot's id.

        ``stale``: as data that are older than the service's limit. Raises as ``serve`` does.
        """
        content = _content(ported, ranges or {})
        counts = {"ported": len(content.numbers), "ranges": len(ranges or {})}
        with writing(self._store) as writer:
            as_of = datetime.now(UTC) - (2 * _MAX_AGE if stale else timedelta())
            metadata = writer.publish(content, as_of=as_of, sources=(), counts=counts)
        self._run(self._follower.poll())
        return metadata.snapshot_id

    def unavailable(self) -> contextlib.AbstractContextManager[object]:
        """End each new call with UNAVAILABLE until the block ends."""
        return mock.patch.object(self._faults, "unavailable", new=True)

    def slow(self, seconds: float) -> contextlib.AbstractContextManager[object]:
        """Delay each new call by ``seconds`` until the block ends."""
        return mock.patch.object(self._faults, "seconds", new=seconds)

    def stop(self) -> None:
        """Answer the calls under way and stop."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> None:
        log = make_logger(level="warning")
        self._health = Health()
        self._follower = Follower(
            self._store, log, max_age=_MAX_AGE, on_state=self._health.set_unready
        )
        self._routing = NumberRouting(self._follower, log)
        self._faults = _Faults()
        self._server = grpc.aio.server(options=GRPC_OPTIONS, interceptors=[self._faults])
        self._server.add_generic_rpc_handlers((self._routing.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def _end(self) -> None:
        self._health.drain()
        self._routing.drain()
        await self._server.stop(1.0)
        self._routing.close()
        self._follower.close()


class _Faults(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # not generic at run time
    """Holds up or ends calls on demand; those for the health stay as they are."""

    unavailable = False
    seconds = 0.0

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:  # noqa: ANN401 - grpc names no types
        """Return what handles a call."""
        if wire.SERVICE_NAME in handler_call_details.method.split("/"):
            await asyncio.sleep(self.seconds)
            if self.unavailable:
                return grpc.stream_stream_rpc_method_handler(_refuse)
        return await continuation(handler_call_details)


async def _refuse(requests: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:  # noqa: ARG001 - grpc's signature
    await context.abort(grpc.StatusCode.UNAVAILABLE, "unavailable for a test")


def _content(ported: Ported, ranges: Ranges) -> Content:
    rows: dict[Route, int] = {
        Route(status=status): row for row, status in enumerate(FIXED_STATUSES)
    }
    unallocated = rows[Route(status=Status.UNALLOCATED)]

    def row(value: Route | Operator | str, status: Status) -> int:
        if isinstance(value, str):
            value = Operator(code=value)
        route = Route(status=status, operator=value) if isinstance(value, Operator) else value
        if not isinstance(route, Route):
            raise SettingError(
                f"a number or range is served by a {type(route).__name__}",
                hint="Give a Route, an Operator or an operator's code",
            )
        return rows.setdefault(replace(route, status=status), len(rows))

    for number in (*ported, *itertools.chain.from_iterable(ranges)):
        if not isinstance(number, int | np.integer) or not 0 < number <= NUMBER_MAX:
            raise SettingError(
                "a number is not a whole E.164 number",
                hint="Give integers with country code and without '+', e.g. 79001234567",
            )
    numbers = sorted(ported)
    number_rows = [row(ported[number], Status.PORTED) for number in numbers]
    held = sorted(ranges)
    if any(last < first for first, last in held) or any(
        first <= last for (_, last), (first, _) in itertools.pairwise(held)
    ):
        raise SettingError(
            "ranges are reversed or overlap", hint="Give (first, last) pairs, each range once"
        )
    coverage = _coverage([*zip(numbers, numbers, strict=True), *held])
    pieces = {0: 0}
    for block in coverage:
        pieces |= {block.first: unallocated, block.last + 1: 0}
    for first, last in held:
        pieces[first] = row(ranges[first, last], Status.NOT_PORTED)
        pieces.setdefault(last + 1, unallocated)
    starts = sorted(pieces)
    return Content(
        routes=list(rows),
        numbers=np.array(numbers, np.uint64),
        number_route=np.array(number_rows, np.uint32),
        range_start=np.array(starts, np.uint64),
        range_route=np.array([pieces[start] for start in starts], np.uint32),
        coverage=coverage,
    )


def _coverage(spans: list[tuple[int, int]]) -> tuple[Coverage, ...]:
    """Return the blocks of numbers that share two digits and the length with an end of a span."""
    blocks: list[tuple[int, int]] = []
    for low, high in sorted({(_block(first)[0], _block(last)[1]) for first, last in spans}):
        if blocks and low <= blocks[-1][1] + 1:
            blocks[-1] = (blocks[-1][0], max(blocks[-1][1], high))
        else:
            blocks.append((low, high))
    return tuple(Coverage(first=first, last=last, ported=True) for first, last in blocks)


def _block(number: int) -> tuple[int, int]:
    size = 10 ** max(0, len(str(number)) - 2)
    first = int(number) // size * size
    return first, first + size - 1


with contextlib.suppress(ModuleNotFoundError):
    import pytest

    @pytest.fixture
    def numroute_service() -> Iterator[Callable[..., Service]]:
        """Return a function like ``serve`` whose services stop when the test ends."""
        with contextlib.ExitStack() as stack:
            yield lambda *given, **named: stack.enter_context(serve(*given, **named))
