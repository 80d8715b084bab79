"""Real services in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from numroute.server.settings import Security

LAUNCHER = """
import sys
from datetime import timedelta
from pathlib import Path, PosixPath
from numroute.server.settings import Security, ServerSettings, TlsFiles
from numroute.server.supervisor import serve

settings = ServerSettings(
    store=Path({store!r}),
    listen={listen!r},
    max_age={max_age},
    drain_seconds={drain_seconds!r},
    workers={workers!r},
    worker_memory={worker_memory!r},
    security={security!r},
    metrics={metrics!r},
)
sys.exit(serve(settings))
"""

PLAIN = Security()


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
        return read_log(self.log_path)

    def wait_for_log(self, event: str, count: int = 1) -> list[dict[str, object]]:
        """Return the log's lines of an event once there are ``count``."""
        return wait_for_log(self.process, self.log_path, event, count)

    def workers(self) -> list[int]:
        """Return the ids of the worker processes."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        return [int(child) for child in children]

    def maps(self, path: Path) -> bool:
        """Return whether a worker has a file mapped into its memory."""
        return any(str(path) in Path(f"/proc/{pid}/maps").read_text() for pid in self.workers())

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor and its workers at once."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End all processes at once."""
        self.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def read_log(path: Path) -> list[dict[str, object]]:
    """Return what a service has logged so far."""
    # Lines of grpc's own may quote any bytes that a client sent.
    lines = path.read_text("utf-8", "replace").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n") and line[:2] == '{"']


def wait_for_log(
    process: subprocess.Popen[str], path: Path, event: str, count: int = 1
) -> list[dict[str, object]]:
    """Return the lines of an event in a service's log once there are ``count``."""
    while True:
        found = [line for line in read_log(path) if line["event"] == event]
        if len(found) >= count:
            return found
        assert process.poll() is None, path.read_text()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)


def launch(  # noqa: PLR0913 - one for each setting
    folder: Path,
    store: Path,
    *,
    listen: str = "127.0.0.1:0",
    max_age: float | None = None,
    drain_seconds: float = 10.0,
    workers: int = 1,
    worker_memory: int = 2 * 1024**3,
    before: str = "",
    security: Security = PLAIN,
    metrics: str | None = None,
) -> tuple[subprocess.Popen[str], Path]:
    """Start a service; ``before`` is Python code that each of its processes runs first."""
    script = LAUNCHER.format(
        store=str(store),
        listen=listen,
        max_age=None if max_age is None else f"timedelta(seconds={max_age})",
        drain_seconds=drain_seconds,
        workers=workers,
        worker_memory=worker_memory,
        security=security,
        metrics=metrics,
    )
    log_path = folder / f"log-{len(list(folder.glob('log-*')))}"
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if before:
        # Python runs a module of this name in every process that finds it.
        site = log_path.with_name(f"site-{log_path.name}")
        site.mkdir()
        (site / "sitecustomize.py").write_text(f"from pathlib import Path\n{before}", "utf-8")
        env["PYTHONPATH"] = str(site)
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=env,
            start_new_session=True,
        )
    return process, log_path


@contextlib.contextmanager
def running(folder: Path, store: Path, **settings: object) -> Iterator[Server]:
    """Run a service until the block ends."""
    process, log_path = launch(folder, store, **settings)  # type: ignore[arg-type]
    try:
        (line,) = wait_for_log(process, log_path, "serving")
        server = Server(process, int(str(line["address"]).rpartition(":")[2]), log_path)
        yield server
        server.channel.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
