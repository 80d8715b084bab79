"""Run a service in its own process, and load it: at a fixed rate, or as fast as it answers.

The benchmarks use the same load generator.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
from numpy.typing import NDArray

from numroute import wire
from numroute.errors import ServiceError
from numroute.server.memory import resident_bytes

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 20.0
CALL_SECONDS_MAX = 30.0

# As the product's client: a call that a stopping worker dropped is sent again; one refused for
# overload is not.
_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    (
        "grpc.service_config",
        json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _RETRY_POLICY}]}),
    ),
)

_OUTPUT_BYTES_SHOWN = 1_000
_POLL_SECONDS = 0.02
_COMMAND = "from numroute.cli import main; main()"

Done = Callable[[str], None]
"""Reports the end of a call: an empty text when it was answered, else the name of the failure."""

Send = Callable[[int, Done], None]
"""Starts the call with this position in the run, without waiting for its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was observed in one run.

    ``latency_seconds``: float64[calls], in the order in which they were due; NaN where a call
    failed. ``failures`` counts the failed calls by name.
    """

    wall_seconds: float
    cpu_seconds: float
    latency_seconds: NDArray[np.float64]
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        """The number of answered calls."""
        return len(self.latency_seconds) - self.failures.total()

    @property
    def cpu_per_call(self) -> float:
        """The service's CPU seconds per answered call."""
        return self.cpu_seconds / max(1, self.answered)

    def quantile(self, quantile: float) -> float:
        """Return a quantile of the answered calls' latency, in seconds."""
        return float(np.nanquantile(self.latency_seconds, quantile))

    def require_answers(self) -> None:
        """Raise ServiceError when calls failed."""
        failed, calls = self.failures.total(), len(self.latency_seconds)
        if failed:
            name, count = self.failures.most_common(1)[0]
            raise ServiceError(
                f"{failed} of {calls} calls failed, {count} with {name}",
                code="INTERNAL",
                hint="Other programs may take the processor: stop them, or measure when they are "
                "idle",
            )


def send_calls(
    send: Send,
    *,
    cpu: Callable[[], float],
    seconds: float,
    rate: float | None = None,
    in_flight: int = 2**31 - 1,
    calls_max: int = 10**6,
    seed: int = 0,
) -> Load:
    """Start ``rate`` calls a second on average, at random moments, answered or not.

    Without a rate, keep ``in_flight`` calls under way. More are never under way: further ones begin
    late. At a rate, latency counts from the moment when a call was due, so that neither a service
    nor a client that falls behind can hide it.
    """
    due: list[float] = []
    if rate is not None:
        gaps = np.random.default_rng(seed).exponential(1 / rate, max(2, round(rate * seconds)))
        due, calls_max, seconds = np.cumsum(gaps).tolist(), len(gaps), math.inf
    begun, ended = np.zeros(calls_max), np.zeros(calls_max)
    failures: Counter[str] = Counter()
    finished = threading.Semaphore(0)

    def end(place: int, failure: str) -> None:
        ended[place] = np.nan if failure else time.perf_counter()
        if failure:
            failures[failure] += 1
        finished.release()

    def wait() -> None:
        if not finished.acquire(timeout=2 * CALL_SECONDS_MAX):
            raise ServiceError("calls to the service do not end", code="DEADLINE_EXCEEDED")

    gc.collect()
    # A collection takes 10 ms now and then: keep it out of the latencies.
    gc.disable()
    try:
        used, begin, sent = cpu(), time.perf_counter(), 0
        while sent < calls_max and (not sent or time.perf_counter() - begin < seconds):
            if due and (ahead := begin + due[sent] - time.perf_counter()) > 0:
                time.sleep(ahead)
            if sent >= in_flight:
                wait()
            begun[sent] = begin + due[sent] if due else time.perf_counter()
            send(sent, functools.partial(end, sent))
            sent += 1
        for _ in range(min(sent, in_flight)):
            wait()
        wall, used = time.perf_counter() - begin, cpu() - used
    finally:
        gc.enable()
    return Load(
        wall_seconds=wall,
        cpu_seconds=used,
        latency_seconds=(ended - begun)[:sent],
        failures=failures,
    )


class Service(NamedTuple):
    """A running service: its address, and the process that ``numroute serve`` started as."""

    address: str
    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU time of its processes, of threads that have ended too."""
        total = 0.0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                # What clock_getcpuclockid(3) returns on Linux, in nanoseconds.
                total += time.clock_gettime((~pid << 3) | 2)
        return total

    def private_bytes(self) -> int:
        """Return the anonymous memory of its processes, which no file backs."""
        return sum(resident_bytes(pid, private=True) for pid in self.processes())

    @contextlib.contextmanager
    def bulk_lookup(self) -> Iterator[grpc.UnaryUnaryMultiCallable[bytes, bytes]]:
        """Open a plain channel; yield ``BulkLookup`` with serialised messages in and out."""
        with grpc.insecure_channel(self.address, options=CHANNEL_OPTIONS) as channel:
            yield channel.unary_unary(
                wire.method_path("BulkLookup"), request_serializer=None, response_deserializer=None
            )

    def processes(self) -> list[int]:
        """Return the ids of the process and of all its descendants."""
        pids = [self.pid]
        for pid in pids:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    pids += map(int, children.read_text("ascii").split())
        return pids


def sender(
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes],
    requests: Sequence[bytes],
    check: Callable[[int, bytes], bool] = lambda _place, _answer: True,
) -> Send:
    """Return a ``Send`` that sends these requests in turn; ``check`` judges each answer."""

    def finish(place: int, done: Done, future: grpc.Future[bytes]) -> None:
        error = future.exception()
        if error is not None:
            done(error.code().name if isinstance(error, grpc.Call) else type(error).__name__)
        else:
            done("" if check(place % len(requests), future.result()) else "wrong answer")

    def send(place: int, done: Done) -> None:
        future = call.future(requests[place % len(requests)], timeout=CALL_SECONDS_MAX)
        future.add_done_callback(functools.partial(finish, place, done))

    return send


@contextlib.contextmanager
def serving(
    store: Path, *options: str, cores: set[int] | None = None, workers: int = 1
) -> Iterator[Service]:
    """Run ``numroute serve`` on a free port of the loopback until the block ends.

    ``cores``: the processor cores that it may use. Raises ServiceError when it does not start.
    """
    command = ["serve", "--store", str(store), "--listen", "127.0.0.1:0"]
    command += ["--workers", str(workers), *options]
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(  # noqa: S603 - the product's own command
            [sys.executable, "-c", _COMMAND, *command],
            stderr=log,
            # Ctrl-C reaches this process alone, which then stops the child.
            start_new_session=True,
        )
        try:
            if cores:
                os.sched_setaffinity(child.pid, cores)
            yield Service(address=_address(child, log.fileno()), pid=child.pid)
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _address(child: subprocess.Popen[bytes], log: int) -> str:
    """Return the address that the service logs once all its workers serve."""
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end and child.poll() is None:
        for line in os.pread(log, 1 << 20, 0).splitlines(keepends=True):
            if line.startswith(b"{") and line.endswith(b"\n"):
                entry = json.loads(line)
                if entry.get("event") == "serving":
                    return str(entry["address"])
        time.sleep(_POLL_SECONDS)
    output = os.pread(log, _OUTPUT_BYTES_SHOWN, 0).decode("utf-8", "replace").strip()
    raise ServiceError(f"the measured service did not start: {output}", code="UNAVAILABLE")
