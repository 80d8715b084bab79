"""The service with its processes, as it is started in production, and what each of them holds."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from benchmarks.children import BIN, free_address, server
from benchmarks.services import START_SECONDS_MAX

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a process holds at a moment.

    Attributes:
        rss: Bytes in memory, pages of the snapshot's file included.
        private: Bytes of anonymous memory: shared with nobody, backed by no file.
        files: Open file descriptors.
        threads: Threads.
    """

    rss: int
    private: int
    files: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """A running service: where it listens, and the process that supervises its workers."""

    address: str
    supervisor: subprocess.Popen[bytes]

    def workers(self) -> list[int]:
        """Return the ids of the worker processes."""
        pid = self.supervisor.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        return [int(child) for child in children] or [pid]

    def replace_workers(self) -> None:
        """Ask for a rolling restart, and return when all workers are others."""
        before = set(self.workers())
        self.supervisor.send_signal(signal.SIGHUP)
        while before & set(self.workers()):
            time.sleep(0.05)


@contextlib.contextmanager
def production(store: Path, workers: int, more: Sequence[str] = ()) -> Iterator[Production]:
    """Run ``numroute serve`` with so many workers until the block ends."""
    address = free_address()
    words: list[str | Path] = [BIN / "numroute", "serve", "--store", store, "--listen", address]
    words += ["--workers", str(workers), *more]
    with server(words) as child:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(START_SECONDS_MAX)
        running = Production(address=address, supervisor=child)
        while workers > 1 and len(running.workers()) < workers:
            time.sleep(0.05)
        yield running


def holding(pid: int) -> Holding | None:
    """Return what a process holds; None if it has just ended."""
    try:
        fields = {}
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]:
            name, _, value = line.partition(":")
            fields[name] = int(value.split()[0]) * 1024
        return Holding(
            rss=fields["Rss"],
            private=fields["Anonymous"],
            files=len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208 - only the count is needed
            threads=len(os.listdir(f"/proc/{pid}/task")),  # noqa: PTH208
        )
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return None
