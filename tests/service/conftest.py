"""Small made-up registries with their oracle, snapshots of them, and real server processes."""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from numroute.index import SnapshotStore, Source
from numroute.index.content import Content
from numroute.model import NUMBER_MAX, LineType, Operator, Region, Route, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AS_OF = datetime(2026, 8, 1, tzinfo=UTC)
FIRST = 79_000_000_000
LAST = 79_000_999_999

LAUNCHER = """
import sys
from datetime import timedelta
from pathlib import Path
from numroute.server import ServerSettings, serve

{before}
settings = ServerSettings(
    store=Path({store!r}),
    listen={listen!r},
    max_age=None if {max_age!r} is None else timedelta(seconds={max_age!r}),
    drain_seconds={drain_seconds!r},
)
sys.exit(serve(settings, on_ready=lambda port: print(port, flush=True)))
"""


@dataclass(frozen=True)
class Registry:
    """A snapshot's content, and a dict and a sorted list that answer from the same facts."""

    content: Content
    ported: dict[int, tuple[Route, int]]
    starts: list[int]
    holders: list[Route]

    def answer(self, number: int) -> tuple[Route, int, Operator]:
        """Return the route, the time of porting and the range holder of a number."""
        if not 0 < number <= NUMBER_MAX:
            return Route(status=Status.INVALID), 0, Operator()
        holder = self.holders[bisect.bisect_right(self.starts, number) - 1]
        route, ported_at = self.ported.get(number, (holder, 0))
        return route, ported_at, holder.operator


def make_registry(generation: int = 0, *, ported: int = 500, seed: int = 1) -> Registry:
    """Return a registry over a million numbers; ``generation`` is in every operator's code."""
    rng = np.random.default_rng(seed)
    operators = [
        Operator(
            code=f"m{generation}X{i}",
            name=f"Оператор {i}",
            brand=f"Brand {i}" if i % 2 else "",
            tax_number=f"{7700000000 + i}",
        )
        for i in range(5)
    ]
    regions = [Region(code=f"{i:02}", name=f"Область {i}") for i in range(3)]

    def route(status: Status, i: int) -> Route:
        return Route(
            status=status,
            operator=operators[i % 5],
            mcc="250",
            mnc=f"{i % 5:02}",
            registry_mnc=f"0{i % 7}",
            routing_number=f"D0{i % 3}0{i % 7}" if status is Status.PORTED else "",
            region=regions[i % 3],
            line_type=LineType.MOBILE,
        )

    routes = [Route(status=Status.UNALLOCATED), Route(status=Status.INVALID)]
    routes += [route(Status.PORTED, i) for i in range(20)]
    routes += [route(Status.NOT_PORTED, i) for i in range(15)]
    inner = np.sort(rng.choice(np.arange(FIRST + 1, LAST), 60, replace=False))
    starts = np.concatenate([[0, FIRST], inner, [LAST + 1]]).astype(np.uint64)
    held = rng.integers(22, len(routes), len(starts))
    held[rng.random(len(starts)) < 0.2] = 0
    held[[0, -1]] = 0
    numbers = np.sort(rng.choice(np.arange(FIRST, LAST + 1), ported, replace=False))
    number_route = rng.integers(2, 22, ported)
    ported_at = rng.integers(1_400_000_000, 1_780_000_000, ported)
    ported_at[::9] = 0
    content = Content(
        routes=routes,
        numbers=numbers.astype(np.uint64),
        number_route=number_route.astype(np.uint16),
        ported_at=ported_at.astype(np.uint32),
        range_start=starts,
        range_route=held.astype(np.uint16),
    )
    return Registry(
        content=content,
        ported={
            number: (routes[row], time)
            for number, row, time in zip(
                numbers.tolist(), number_route.tolist(), ported_at.tolist(), strict=True
            )
        },
        starts=starts.tolist(),
        holders=[routes[row] for row in held.tolist()],
    )


def publish(store: SnapshotStore, registry: Registry) -> str:
    """Publish a registry and return the id of its snapshot."""
    with store.writing() as writer:
        return writer.publish(
            registry.content,
            as_of=AS_OF,
            sources=[
                Source(
                    name="Port_All_202608010000_4637.zip",
                    registry="ru-bdpn",
                    kind="Port_All",
                    layer="ported",
                    sequence=4637,
                    rows=len(registry.ported),
                    sha256="ab" * 32,
                )
            ],
            counts={"ported": len(registry.ported), "ranges": len(registry.starts)},
        ).snapshot_id


@dataclass
class Server:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    log_path: Path
    channel: grpc.Channel = field(init=False)

    def __post_init__(self) -> None:
        """Open a channel without retries."""
        self.channel = grpc.insecure_channel(self.target, options=(("grpc.enable_retries", 0),))

    @property
    def target(self) -> str:
        """The address to connect to."""
        return f"127.0.0.1:{self.port}"

    def call(self, method: str, request: bytes, timeout: float = 30.0) -> bytes:
        """Call a method with raw bytes."""
        response: bytes = self.channel.unary_unary(f"/numroute.v1.NumberRouting/{method}")(
            request, timeout=timeout
        )
        return response

    def future(self, method: str, request: bytes) -> grpc.Future:
        """Begin a call with raw bytes."""
        return self.channel.unary_unary(f"/numroute.v1.NumberRouting/{method}").future(
            request, timeout=30.0
        )

    def log(self) -> list[dict[str, object]]:
        """Return what the service has logged so far."""
        lines = self.log_path.read_text("utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n") and line[0] == "{"]

    def wait_for_log(self, event: str, count: int = 1) -> list[dict[str, object]]:
        """Return the log's lines of an event once there are ``count``."""
        while True:
            found = [line for line in self.log() if line["event"] == event]
            if len(found) >= count:
                return found
            assert self.process.poll() is None, self.log_path.read_text()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)

    def maps(self, path: Path) -> bool:
        """Return whether the service has a file mapped into its memory."""
        return str(path) in Path(f"/proc/{self.process.pid}/maps").read_text()

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def launch(  # noqa: PLR0913 - each is one setting of the service
    folder: Path,
    store: Path,
    *,
    listen: str = "127.0.0.1:0",
    max_age: float | None = None,
    drain_seconds: float = 10.0,
    before: str = "",
) -> tuple[subprocess.Popen[str], Path]:
    """Start a service; ``before`` is Python code that its process runs first."""
    script = LAUNCHER.format(
        store=str(store),
        listen=listen,
        max_age=max_age,
        drain_seconds=drain_seconds,
        before=before,
    )
    log_path = folder / f"log-{len(list(folder.glob('log-*')))}"
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    return process, log_path


@contextlib.contextmanager
def running(folder: Path, store: Path, **settings: object) -> Iterator[Server]:
    """Run a service until the block ends."""
    process, log_path = launch(folder, store, **settings)  # type: ignore[arg-type]
    try:
        port = process.stdout.readline()
        assert port, log_path.read_text()
        server = Server(process, int(port), log_path)
        yield server
        server.channel.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def registry() -> Registry:
    """Return the registry that most tests ask."""
    return make_registry()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> SnapshotStore:
    """Return a store whose current snapshot is that of ``registry``; not to be changed."""
    store = SnapshotStore(tmp_path_factory.mktemp("service") / "store", create=True)
    publish(store, registry)
    return store


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, store: SnapshotStore
) -> Iterator[Server]:
    """Return a running service over ``store``, shared by all tests; not to be stopped."""
    with running(tmp_path_factory.mktemp("log"), store.path) as running_server:
        yield running_server


@pytest.fixture
def run_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a function that runs a service of the test's own until the test ends."""
    with contextlib.ExitStack() as stack:

        def run(store: Path, **settings: object) -> Server:
            return stack.enter_context(running(tmp_path, store, **settings))

        yield run
