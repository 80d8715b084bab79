"""``numroute serve`` in a process of its own: started, watched and always ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from numroute import wire
from numroute.client.channel import OPTIONS
from numroute.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 20.0
OUTPUT_BYTES_SHOWN = 1_000
_WAIT_SECONDS = 0.02

_START = "from numroute.cli import main; main()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service: its process, and ``BulkLookup`` with serialised messages in and out."""

    pid: int
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes]

    def cpu_seconds(self) -> float:
        """Return the CPU time that all its threads have taken.

        /proc/PID/task/TID/schedstat counts nanoseconds, where /proc/PID/stat counts ticks of 10 ms.
        """
        total = 0
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += int((thread / "schedstat").read_text("ascii").split()[0])
        return total / 1e9

    def private_bytes(self) -> int:
        """Return its anonymous memory: what no other process shares and no file backs."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
        return 0


@contextlib.contextmanager
def serving(store: Path, cores: set[int]) -> Iterator[Service]:
    """Run the service on these cores, on a free port of the loopback, until the block ends.

    Raises ServiceError when it does not start.
    """
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(  # noqa: S603 - the product's own command
            [
                *(sys.executable, "-c", _START, "serve", "--store", store),
                # What is measured is one process.
                *("--listen", "127.0.0.1:0", "--workers", "1"),
            ],
            stderr=log,
            # Ctrl-C reaches this process alone, which then ends the child in its own order.
            start_new_session=True,
        )
        try:
            os.sched_setaffinity(child.pid, cores)
            address = _address(child, log.fileno())
            with grpc.insecure_channel(address, options=OPTIONS) as channel:
                grpc.channel_ready_future(channel).result(START_SECONDS_MAX)
                yield Service(
                    pid=child.pid,
                    call=channel.unary_unary(
                        wire.method_path("BulkLookup"),
                        request_serializer=None,
                        response_deserializer=None,
                    ),
                )
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _address(child: subprocess.Popen[bytes], log: int) -> str:
    """Return the address that the service's log says it listens on."""
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end and child.poll() is None:
        for line in os.pread(log, 1 << 20, 0).splitlines(keepends=True):
            if line.startswith(b"{") and line.endswith(b"\n"):
                entry = json.loads(line)
                if entry.get("event") == "serving":
                    return str(entry["address"])
        time.sleep(_WAIT_SECONDS)
    said = os.pread(log, OUTPUT_BYTES_SHOWN, 0).decode("utf-8", "replace").strip()
    raise ServiceError(f"the service to be measured did not start: {said}", code="UNAVAILABLE")
