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
from numroute.client.security import PLAINTEXT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence

    from numroute.client.security import Security


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
def production(
    store: Path,
    workers: int,
    more: Sequence[str | Path] = (),
    security: Security = PLAINTEXT,
) -> Iterator[Production]:
    """Run ``numroute serve`` with so many workers, and further words, until the block ends."""
    address = free_address()
    words: list[str | Path] = [BIN / "numroute", "serve", "--store", store, "--listen", address]
    words += ["--workers", str(workers), *more]
    with server(words) as child:
        credentials = security.credentials()
        with (
            grpc.insecure_channel(address)
            if credentials is None
            else grpc.secure_channel(address, credentials)
        ) as channel:
            grpc.channel_ready_future(channel).result(START_SECONDS_MAX)
        running = Production(address=address, supervisor=child)
        while workers > 1 and len(running.workers()) < workers:
            time.sleep(0.05)
        yield running


def pin(pid: int, core: int) -> None:
    """Let all threads of a process, and those it will start, run on one core only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def processor_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process; 0 when it is gone."""
    total = 0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text("ascii").split()[0])
    return total / 1e9


class Used:
    """Tells our own use of the processors from everything else's."""

    def __init__(self, pids: Sequence[int]) -> None:
        """Count these processes as ours, always."""
        self._pids = tuple(pids)
        self._last: tuple[float, float, dict[int, float]] | None = None

    def by_others(self, workers: Sequence[int]) -> float | None:
        """Return how many processors others kept busy since the last time; None the first time.

        ``workers`` are ours as well, and may be other ones than the last time.
        """
        now = (
            time.monotonic(),
            busy_seconds(),
            {pid: processor_seconds(pid) for pid in (*self._pids, *workers)},
        )
        last, self._last = self._last, now
        if last is None:
            return None
        ours = sum(max(0.0, used - last[2].get(pid, 0.0)) for pid, used in now[2].items())
        return max(0.0, now[1] - last[1] - ours) / (now[0] - last[0])


def busy_seconds() -> float:
    """Return the processor time that the whole machine has spent since it was started."""
    user, nice, system, _idle, _iowait, irq, softirq = map(
        int, Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


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
