"""Keep the workers of a service alive: start, restart, replace one by one, and drain them.

The supervisor itself uses no gRPC; it holds the port, and serves metrics and probes from the
reports of its workers. SIGTERM or SIGINT drains them; SIGHUP replaces each by a new one that serves
before the old one drains. So is one that has taken too much memory: gRPC never gives back what it
keeps for hostile connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from structlog.typing import FilteringBoundLogger

from numroute.errors import SettingError, WorkerError
from numroute.index import SnapshotStore
from numroute.logs import log_loop_faults, make_logger
from numroute.server.memory import KEEP_FREED, resident_bytes
from numroute.server.metrics import Refusal, Report, Reports, audit
from numroute.server.settings import ServerSettings, host_and_port

START_SECONDS_MAX = 60.0
"""How long a worker may take from its start until it serves, a slow disk included."""

FAILED_STARTS_MAX = 5
"""How many starts in a row may fail, while no worker serves, before the service gives up."""

BACK_OFF_SECONDS, BACK_OFF_SECONDS_MAX = 0.1, 10.0
"""The wait before the first restart of a worker that died; doubled for each further one."""

STEADY_SECONDS = 60.0
"""How long a worker must have served for its death to count as the first again."""

MEMORY_SECONDS = 1.0
"""How often the memory of the workers is checked."""

MEMORY_PAUSE_SECONDS = 10.0
"""The pause of these checks once one is too large: a low limit must not replace it each second."""

KILL_SECONDS = 5.0
"""How long after the drain limit a worker may take before it is killed."""

LINE_BYTES_MAX = 64 * 1024 * 1024
"""The longest line of a worker: its report with thousands of clients takes a few MB."""


@contextlib.contextmanager
def held_port(listen: str) -> Iterator[int]:
    """Keep ``listen`` from others; yield the port, chosen by the system where 0 was asked for.

    Only sockets with SO_REUSEPORT of the same user may share it. The sockets here never listen, so
    that no connection is ever given to them. Raises SettingError with the system's reason.
    """
    host, port = host_and_port(listen)
    with contextlib.ExitStack() as stack:
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            for family, kind, protocol, _, address in addresses:
                held = stack.enter_context(socket.socket(family, kind, protocol))
                # Closed connections of an earlier service do not keep the port.
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.bind((address[0], port, *address[2:]))
                # Bound exclusively and shared afterwards: a second supervisor is refused, though
                # its workers could share the port and would take half of the calls.
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                port = held.getsockname()[1]
        except OSError as error:
            raise SettingError(
                f"cannot listen on {listen}: {error.strerror or 'refused'}",
                hint="Stop what listens there, or choose another address",
            ) from None
        yield port


class Worker:
    """A worker process, from its start to its end.

    Attributes:
        refusal: Why it could not start, by its own account; None if it gave none.
        serves: Done once it answers calls.
        end: Done when it has ended, with the exit code, negative for a signal. Several wait for it:
            it must not be cancelled.
    """

    def __init__(self, process: asyncio.subprocess.Process, reports: Reports) -> None:
        """Watch a process that was just started, and keep its reports."""
        self.process = process
        self.refusal: SettingError | None = None
        self._reports = reports
        self.serves: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.end = asyncio.create_task(self._watch())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def _watch(self) -> int:
        pid, output = self.process.pid, self.process.stdout
        # A worker that is killed may leave half a line behind, without its end.
        while output is not None and (line := await output.readline()).endswith(b"\n"):
            message = msgspec.json.decode(line, type=Report | Refusal)
            if isinstance(message, Refusal):
                self.refusal = SettingError(message.reason, hint=message.hint)
                continue
            self._reports.receive(pid, message)
            if not self.serves.done():
                self.serves.set_result(None)
        code = await self.process.wait()
        self._reports.end(pid)
        return code


@dataclass(slots=True, eq=False)
class Supervisor:
    """Keeps as many workers serving as the settings ask for."""

    _settings: ServerSettings
    _reports: Reports
    _log: FilteringBoundLogger
    # By the worker's number, from 1; a worker that takes another's place has the same.
    _serving: dict[int, Worker] = field(default_factory=dict, init=False)
    _alive: set[Worker] = field(default_factory=set, init=False)
    _failed_starts: int = field(default=0, init=False)
    _all_serve: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises WorkerError when no worker can be kept alive, SettingError when they refuse to start.
        """
        log_loop_faults(self._log)
        stop, requested = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, requested.set)
        keeping = [self._keep(number) for number in range(1, self._settings.workers + 1)]
        tasks = [*map(asyncio.create_task, [*keeping, self._oversee(requested)])]
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            self._log.info("draining", drain_seconds=self._settings.drain_seconds)
        finally:
            for each in (stopped, *tasks):
                each.cancel()
            await asyncio.gather(stopped, *tasks, return_exceptions=True)
            await asyncio.gather(*(self._end(worker) for worker in self._alive))

    async def _keep(self, number: int) -> None:
        """Start one of the workers, and restart it each time that it dies."""
        wait = BACK_OFF_SECONDS
        while True:
            begun = time.monotonic()
            try:
                # A replacement may have come to serve meanwhile.
                if number not in self._serving:
                    await self._put(number)
                # Until one has died, not until another took its place.
                worker = None
                while worker is not self._serving[number]:
                    worker = self._serving[number]
                    code = await asyncio.shield(worker.end)
                del self._serving[number]
                self._log.error("worker died", worker=number, **_how(code))
            except (SettingError, WorkerError) as error:
                if isinstance(error, SettingError) and not self._all_serve.is_set():
                    raise
                self._log.error("worker failed to start", worker=number, reason=error.message)
                self._failed_starts += 1
                if self._failed_starts >= FAILED_STARTS_MAX and not self._serving:
                    if isinstance(error, SettingError):
                        raise
                    raise WorkerError(
                        f"{self._failed_starts} workers in a row died before they served",
                        hint="The log lines before this one say why",
                    ) from None
            if time.monotonic() - begun >= STEADY_SECONDS:
                wait = BACK_OFF_SECONDS
            await asyncio.sleep(wait)
            wait = min(2 * wait, BACK_OFF_SECONDS_MAX)

    async def _put(self, number: int) -> None:
        """Start a worker; when it serves, let the one whose place it takes drain.

        Raises SettingError when it refuses to serve, WorkerError when it ends without a reason.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                # -P: modules come from the environment, not from the current folder.
                *(sys.executable, "-P", "-m", "numroute.server.worker", str(number)),
                env=os.environ | KEEP_FREED,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
            )
        except (OSError, RuntimeError) as error:
            # Perhaps there is no memory for it at the moment, or no thread to wait for its end.
            reason = getattr(error, "strerror", None) or "the system refused"
            raise WorkerError(reason) from None
        worker = Worker(process, self._reports)
        self._alive.add(worker)
        worker.end.add_done_callback(lambda _: self._alive.discard(worker))
        if process.stdin is not None:
            process.stdin.write(pickle.dumps((self._settings, number)))
        either = (worker.serves, worker.end)
        await asyncio.wait(either, timeout=START_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
        if worker.end.done() or not worker.serves.done():
            worker.send(signal.SIGKILL)
            ((how, end),) = _how(await asyncio.shield(worker.end)).items()
            raise worker.refusal or WorkerError(f"it gave no reason and ended with {how} {end}")
        self._failed_starts = 0
        old = self._serving.get(number)
        self._serving[number] = worker
        if len(self._serving) == self._settings.workers:
            self._all_serve.set()
        if old is not None:
            await self._end(old)

    async def _oversee(self, requested: asyncio.Event) -> None:
        """Replace all workers each time ``requested`` is set, and meanwhile those grown too large.

        Begins when all workers serve.
        """
        await self._all_serve.wait()
        self._log.info("serving", address=self._settings.listen, workers=self._settings.workers)
        next_check = 0.0
        while True:
            # Not wait_for: in Python 3.11 it may swallow a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MEMORY_SECONDS):
                    await requested.wait()
            try:
                if requested.is_set():
                    requested.clear()
                    self._log.info("replacing workers", workers=len(self._serving))
                    for number in sorted(self._serving):
                        await self._put(number)
                    self._log.info("workers replaced", workers=len(self._serving))
                elif time.monotonic() >= next_check and (large := self._too_large()):
                    next_check = time.monotonic() + MEMORY_PAUSE_SECONDS
                    for number in large:
                        await self._put(number)
            except (SettingError, WorkerError) as error:
                self._log.error("workers not replaced", reason=error.message)

    def _too_large(self) -> list[int]:
        limit, found = self._settings.worker_memory, []
        for number, worker in sorted(self._serving.items()):
            taken = resident_bytes(worker.process.pid, private=True)
            if taken > limit:
                self._log.warning(
                    "worker too large", worker=number, memory_bytes=taken, limit_bytes=limit
                )
                found.append(number)
        return found

    async def _end(self, worker: Worker) -> None:
        """Let a worker drain, and kill it if it takes too long."""
        worker.send(signal.SIGTERM)
        await asyncio.wait({worker.end}, timeout=self._settings.drain_seconds + KILL_SECONDS)
        if not worker.end.done():
            self._log.error("worker killed", pid=worker.process.pid)
            worker.send(signal.SIGKILL)
            await asyncio.wait({worker.end})


def serve(settings: ServerSettings) -> int:
    """Serve until SIGTERM or SIGINT, then drain; return the process's exit code.

    Nothing is printed; events are logged on standard error, e.g. `serving` with the address once
    all workers answer calls. Call it in the main thread.

    Raises StoreMissingError, SettingError for a port in use, a certificate that is not valid and
    the like, and WorkerError when the workers die as often as they are started.
    """
    SnapshotStore(settings.store)
    log = make_logger()
    asyncio.run(_supervise(settings, log))
    log.info("stopped")
    return 0


async def _supervise(settings: ServerSettings, log: FilteringBoundLogger) -> None:
    """Keep the workers serving; hold the port, metrics and the audit until all have ended."""
    reports, ended = Reports(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        port = stack.enter_context(held_port(settings.listen))
        settings = replace(settings, listen=f"{settings.listen.rpartition(':')[0]}:{port}")
        if settings.metrics is not None:
            from numroute.server.monitor import Monitor  # noqa: PLC0415 - only with metrics

            monitor = Monitor(settings, reports, log)
            await monitor.start()
            stack.callback(monitor.close)
        if settings.security.identifies_clients:
            auditing = asyncio.create_task(audit(reports, log, ended))
            stack.push_async_callback(lambda: auditing)
        stack.callback(ended.set)
        await Supervisor(settings, reports, log).run()


def _how(code: int) -> dict[str, str | int]:
    return {"signal": signal.Signals(-code).name} if code < 0 else {"status": code}
