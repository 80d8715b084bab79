"""Every way to ask for numbers, as functions of one shape, so that the same cases run over all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import grpc
import numpy as np

import numroute
from numroute import wire
from numroute.client import BulkAnswer, NumberAnswer
from numroute.errors import NumrouteError, ServiceError
from numroute.index import SnapshotStore
from numroute.model import Operator, Route, Status
from numroute.v1 import number_routing_pb2 as pb
from support.servers import Server

Way = Callable[["Asked"], "Answered"]

Row = tuple[Route, int | None, Operator | None]
"""A number's route, when it was ported (0: not known), who holds its range; None: not asked for."""

MESSAGE_NUMBERS = 3
"""How many numbers a way asks for in one message where it cuts them itself: few, to see seams."""

_known: dict[Route | Operator, Route | Operator] = {}


def know(values: Iterable[Route | Operator]) -> None:
    """Use these objects for what equals them: comparing half a million rows is quick then."""
    _known.update((value, value) for value in values)


def _same(value):
    return _known.get(value, value)


@contextlib.contextmanager
def raw_channel(server: Server) -> Iterator[grpc.Channel]:
    """Open a channel without retries that takes the largest answers."""
    options = (("grpc.enable_retries", 0), ("grpc.max_receive_message_length", 16 * 1024 * 1024))
    with grpc.insecure_channel(server.target, options=options) as channel:
        yield channel


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question: whom, and for what."""

    server: Server
    store: SnapshotStore
    numbers: Sequence[int]
    with_range_holder: bool = True
    with_ported_at: bool = True
    step: int = MESSAGE_NUMBERS

    @property
    def options(self) -> dict[str, bool]:
        """The columns that are asked for."""
        return {
            "with_range_holder": self.with_range_holder,
            "with_ported_at": self.with_ported_at,
        }

    def pieces(self) -> list[np.ndarray]:
        """Return the numbers as the messages of a stream; one empty message when there are none."""
        array = np.array(self.numbers, np.uint64)
        return [array[i : i + self.step] for i in range(0, max(1, len(array)), self.step)]


@dataclass(frozen=True)
class Answered:
    """The rows in the order of the question, and which snapshots gave them: id and staleness."""

    rows: list[Row]
    snapshots: set[tuple[str, bool]]


def in_process(asked: Asked) -> Answered:
    """Ask the open store in this process."""
    with numroute.open_store(asked.store.path) as opened:
        return _of_bulk([opened.lookup(asked.numbers, **asked.options)])


def texts(asked: Asked) -> Answered:
    """Ask Lookup for the numbers as texts; it always gives all columns."""
    request = pb.LookupRequest(numbers=[f"+{number}" for number in asked.numbers])
    message = pb.LookupResponse.FromString(asked.server.call("Lookup", request.SerializeToString()))
    assert [answer.number for answer in message.answers] == list(asked.numbers)
    rows: list[Row] = []
    for answer in message.answers:
        assert answer.HasField("route") == (
            answer.status in {pb.STATUS_PORTED, pb.STATUS_NOT_PORTED}
        )
        rows.append(
            (
                wire.value(Route, answer.route, status=Status(answer.status)),
                answer.ported_at.seconds if asked.with_ported_at else None,
                wire.value(Operator, answer.range_holder) if asked.with_range_holder else None,
            )
        )
    return Answered(rows, {(message.snapshot.id, message.snapshot.stale)})


def columns(asked: Asked) -> Answered:
    """Ask BulkLookup with the generated messages."""
    request = pb.BulkLookupRequest(numbers=asked.numbers, **asked.options)
    with raw_channel(asked.server) as channel:
        call = channel.unary_unary(wire.method_path("BulkLookup"))
        return _of_messages([call(request.SerializeToString(), timeout=60.0)], asked)


def stream(asked: Asked) -> Answered:
    """Ask StreamLookup with the generated messages, a few numbers in each."""
    requests = [
        pb.BulkLookupRequest(numbers=piece.tolist(), **asked.options).SerializeToString()
        for piece in asked.pieces()
    ]
    with raw_channel(asked.server) as channel:
        call = channel.stream_stream(wire.method_path("StreamLookup"))
        responses = list(call(iter(requests), timeout=60.0))
    assert len(responses) == len(requests)
    return _of_messages(responses, asked)


def client(asked: Asked) -> Answered:
    """Ask the client for one batch, which it cuts."""
    with numroute.Client(asked.server.target, numbers_per_chunk=asked.step) as connected:
        return _of_bulk([connected.lookup(asked.numbers, timeout=60.0, **asked.options)])


def client_stream(asked: Asked) -> Answered:
    """Ask the client for a stream of batches."""
    with numroute.Client(asked.server.target) as connected:
        return _of_bulk(list(connected.stream(asked.pieces(), timeout=60.0, **asked.options)))


def async_client(asked: Asked) -> Answered:
    """Ask the asyncio client for one batch, which it cuts."""

    async def ask() -> BulkAnswer:
        async with numroute.AsyncClient(
            asked.server.target, numbers_per_chunk=asked.step
        ) as connected:
            return await connected.lookup(list(asked.numbers), timeout=60.0, **asked.options)

    return _of_bulk([asyncio.run(ask())])


def async_stream(asked: Asked) -> Answered:
    """Ask the asyncio client for a stream of batches, from an asynchronous source."""

    async def ask() -> list[BulkAnswer]:
        async def batches():
            for piece in asked.pieces():
                yield piece

        async with numroute.AsyncClient(asked.server.target) as connected:
            return [
                answer
                async for answer in connected.stream(batches(), timeout=60.0, **asked.options)
            ]

    return _of_bulk(asyncio.run(ask()))


def coalescing(asked: Asked) -> Answered:
    """Ask the asyncio client for one number after the other, all at once."""

    async def ask() -> list[NumberAnswer]:
        async with numroute.AsyncClient(asked.server.target, timeout=60.0) as connected:
            return await asyncio.gather(
                *(connected.lookup(number, **asked.options) for number in asked.numbers)
            )

    answers = asyncio.run(ask())
    rows: list[Row] = [
        (
            answer.route or Route(status=answer.status),
            (int(answer.ported_at.timestamp()) if answer.ported_at else 0)
            if asked.with_ported_at
            else None,
            (answer.range_holder or Operator()) if asked.with_range_holder else None,
        )
        for answer in answers
    ]
    return Answered(rows, {(answer.snapshot.id, answer.snapshot.stale) for answer in answers})


SERVICE_WAYS: list[Way] = [
    columns,
    stream,
    client,
    client_stream,
    async_client,
    async_stream,
    coalescing,
]
"""The ways to ask a service for whole numbers."""

ONE_MESSAGE_WAYS: list[Way] = [columns, stream, client_stream, async_stream]
"""The ways that send what they are asked for as it is, and do not cut it."""

WAYS: list[Way] = [in_process, *SERVICE_WAYS]
"""The ways to ask for whole numbers."""


def code_of(error: BaseException) -> str:
    """Return the gRPC status name that an error of any way stands for."""
    if isinstance(error, ServiceError):
        return error.code
    if isinstance(error, grpc.RpcError):
        return error.code().name
    return type(error).__name__


FAILURES = (NumrouteError, grpc.RpcError, ValueError)
"""What the ways raise."""


def _of_messages(responses: list[bytes], asked: Asked) -> Answered:
    rows: list[Row] = []
    snapshots = set()
    for response in responses:
        message = pb.BulkLookupResponse.FromString(response)
        routes = [_same(wire.value(Route, route)) for route in message.routes]
        holders = [_same(wire.value(Operator, operator)) for operator in message.range_holders]
        # Only what is used, and nothing twice.
        assert len(set(routes)) == len(routes)
        assert len(set(holders)) == len(holders)
        assert set(message.route_indexes) == set(range(len(routes)))
        assert set(message.range_holder_indexes) == set(range(len(holders)))
        count = len(message.route_indexes)
        assert len(message.ported_at) == count * asked.with_ported_at
        assert len(message.range_holder_indexes) == count * asked.with_range_holder
        times, places = list(message.ported_at), list(message.range_holder_indexes)
        rows += [
            (
                routes[index],
                times[i] if asked.with_ported_at else None,
                holders[places[i]] if asked.with_range_holder else None,
            )
            for i, index in enumerate(message.route_indexes)
        ]
        snapshots.add((message.snapshot.id, message.snapshot.stale))
    return Answered(rows, snapshots)


def _of_bulk(answers: list[BulkAnswer]) -> Answered:
    rows: list[Row] = []
    for answer in answers:
        assert answer.route_index.dtype == np.uint32
        times = None if answer.ported_at is None else answer.ported_at.tolist()
        places = None if answer.range_holder_index is None else answer.range_holder_index.tolist()
        routes = list(map(_same, answer.routes))
        holders = list(map(_same, answer.range_holders))
        rows += [
            (
                routes[index],
                None if times is None else times[i],
                None if places is None else holders[places[i]],
            )
            for i, index in enumerate(answer.route_index.tolist())
        ]
    return Answered(rows, {(answer.snapshot.id, answer.snapshot.stale) for answer in answers})
