"""The web service in a process of its own, and requests to it over one open connection."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.material import Material
from benchmarks.processes import BIN, free_address, server, wait_until_listening
from numroute.plan.load import Done, Send, Service

SECONDS_MAX = 60


@contextlib.contextmanager
def web_service(material: Material, jobs: Path) -> Iterator[Service]:
    """Run ``numroute web`` without tokens until the block ends."""
    address = free_address()
    words = (BIN / "numroute", "web", "--store", material.store, "--listen", address)
    with server(*words, "--jobs", jobs, quiet=True) as child:
        wait_until_listening(address)
        yield Service(address=address, pid=child.pid)


@contextlib.contextmanager
def connected(service: Service) -> Iterator[http.client.HTTPConnection]:
    """Open a connection until the block ends."""
    connection = http.client.HTTPConnection(service.address, timeout=SECONDS_MAX)
    with contextlib.closing(connection):
        yield connection


def sender(
    connection: http.client.HTTPConnection,
    requests: Sequence[bytes],
    check: Callable[[int, bytes], bool],
) -> Send:
    """Return a ``Send`` that posts these bodies in turn, one at a time, and checks the answers."""

    def send(place: int, done: Done) -> None:
        status, answer = post(connection, requests[place % len(requests)])
        if status != http.client.OK:
            done(str(status))
        else:
            done("" if check(place % len(requests), answer) else "wrong answer")

    return send


def post(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
    """Ask for a body's numbers; return status and answer."""
    connection.request("POST", "/v1/lookup", body, {"content-type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()
