"""The service and the empty handler, each in a process of its own, and connections to them."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from benchmarks.children import BIN, free_address, server, wait_until_listening
from benchmarks.plans import ROOT
from benchmarks.yardsticks import empty_handler, row_handler
from benchmarks.yardsticks.empty_handler import write_exchange
from numroute import Client, wire
from numroute.client.channel import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

START_SECONDS_MAX = 30.0
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A connection to a running service.

    Attributes:
        address: Where it listens.
        process: The id of its process.
        call: ``BulkLookup``, serialised messages in and out.
        client: The product's client, with a connection of its own.
    """

    address: str
    process: int
    client: Client
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes]


@contextlib.contextmanager
def numroute_serve(store: Path) -> Iterator[Service]:
    """Run ``numroute serve`` on a store, in one process."""
    address = free_address()
    words: list[str | Path] = [BIN / "numroute", "serve", "--store", store]
    words += ["--listen", address, "--workers", "1"]
    with server(words) as child:
        wait_until_listening(child, address, START_SECONDS_MAX)
        with _connected(address, child.pid) as service:
            yield service


@contextlib.contextmanager
def empty_service(folder: Path, answers: Mapping[bytes, bytes]) -> Iterator[Service]:
    """Run the empty handler with stored answers, by request, one for each count of numbers.

    ``folder`` keeps them for the other process.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    files: list[Path] = []
    for place, (request, answer) in enumerate(answers.items()):
        files.append(folder / f"{place}.exchange")
        write_exchange(files[-1], request, answer)
    address = free_address()
    words: list[str | Path] = [sys.executable, "-m", empty_handler.__name__, address, *files]
    with server(words, folder=ROOT) as child:
        wait_until_listening(child, address, START_SECONDS_MAX)
        with _connected(address, child.pid) as service:
            yield service


@contextlib.contextmanager
def row_service(store: Path) -> Iterator[Service]:
    """Run the service that answers in rows."""
    address = free_address()
    words: list[str | Path] = [sys.executable, "-m", row_handler.__name__, address, store]
    with server(words, folder=ROOT) as child:
        wait_until_listening(child, address, START_SECONDS_MAX)
        with _connected(address, child.pid) as service:
            yield service


def bulk_request(numbers: NDArray[np.uint64]) -> bytes:
    """Return a request for uint64[n] numbers, made as the client makes it."""
    return wire.bulk_request(numbers, with_range_holder=False, with_ported_at=False)


@contextlib.contextmanager
def _connected(address: str, process: int) -> Iterator[Service]:
    with (
        grpc.insecure_channel(address, options=OPTIONS) as channel,
        Client(address, timeout=TIMEOUT_SECONDS) as client,
    ):
        grpc.channel_ready_future(channel).result(START_SECONDS_MAX)
        call = channel.unary_unary(
            wire.method_path(empty_handler.METHOD),
            request_serializer=None,
            response_deserializer=None,
        )
        yield Service(address=address, process=process, client=client, call=call)
