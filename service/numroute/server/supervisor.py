"""Keep the workers of a service alive: start, restart, replace one by one, and drain them.

The supervisor itself answers no calls and uses no gRPC; it holds the port, and serves metrics and
probes from the reports of its workers. SIGTERM or SIGINT drains all workers; SIGHUP replaces them,
each by a new one that serves before the old one drains. A worker that has taken too much memory is
replaced as well: gRPC never gives back what it keeps for hostile connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from structlog.typing import FilteringBoundLogger

from numroute.errors import SettingError, WorkerError
from numroute.index import SnapshotStore
from numroute.logs import log_loop_faults, make_logger
from numroute.server.memory import KEEP_FREED, resident_bytes
from numroute.server.metrics import Audit, Reports
from numroute.server.port import HeldPort
from numroute.server.settings import ServerSettings
from numroute.server.worker import Message

START_SECONDS_MAX = 60.0
"""How long a worker may take from its start until it serves, a slow disk included."""

FAILED_STARTS_MAX = 5
"""How many starts in a row may fail, while no worker serves, before the service gives up."""

BACK_OFF_SECONDS = 0.1
"""The wait before the first restart of a worker that died; doubled for each further one."""

BACK_OFF_SECONDS_MAX = 10.0

STEADY_SECONDS = 60.0
"""How long a worker must have served for its death to count as the first again."""

MEMORY_SECONDS = 1.0
"""How often the memory of the workers is checked."""

MEMORY_PAUSE_SECONDS = 10.0
"""The pause of these checks after workers were replaced for their memory."""

KILL_SECONDS = 5.0
"""How long after the drain limit a worker may take before it is killed."""

LINE_BYTES_MAX = 64 * 1024 * 1024
"""The longest line of a worker: its report with thousands of clients takes a few MB."""


class Worker:
    """A worker process, from its start to its end.

    Attributes:
        number: The worker's number, from 1; the worker that replaces it has the same.
        process: The process.
        refusal: Why it could not start, by its own account; None if it gave none.
        end: Done when it has ended, with the exit code, negative for a signal. Several wait for it:
            it must not be cancelled.
    """

    def __init__(self, number: int, process: asyncio.subprocess.Process, reports: Reports) -> None:
        """Watch a process that was just started, and keep its reports."""
        self.number = number
        self.process = process
        self.refusal: SettingError | None = None
        self._reports = reports
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.end = asyncio.create_task(self._watch())

    async def serves(self) -> bool:
        """Return whether it serves, as soon as that is known."""
        either: set[asyncio.Future[Any]] = {self._ready, self.end}
        await asyncio.wait(either, timeout=START_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
        return self._ready.done() and not self.end.done()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def _watch(self) -> int:
        pid, output = self.process.pid, self.process.stdout
        # A worker that is killed may leave half a line behind, without its end.
        while output is not None and (line := await output.readline()).endswith(b"\n"):
            message = msgspec.json.decode(line, type=Message)
            if message.report is not None:
                self._reports.receive(pid, message.report)
            elif message.ready:
                self._ready.set_result(None)
            else:
                self.refusal = SettingError(message.reason, hint=message.hint)
        code = await self.process.wait()
        self._reports.end(pid)
        return code


class Supervisor:
    """Keeps as many workers serving as the settings ask for."""

    def __init__(
        self, settings: ServerSettings, reports: Reports, log: FilteringBoundLogger
    ) -> None:
        """Keep ``settings.workers`` workers on the settings' port."""
        self._settings = settings
        self._reports = reports
        self._log = log
        self._serving: dict[int, Worker] = {}
        self._alive: set[Worker] = set()
        self._failed_starts = 0

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; ``on_ready`` is called once all workers serve.

        Raises:
            WorkerError: No worker can be kept alive.
            SettingError: The workers refuse to start; the first one's own reason.
        """
        log_loop_faults(self._log)
        stop, replace = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, replace.set)
        first = {number: asyncio.Event() for number in range(1, self._settings.workers + 1)}
        tasks = [
            *(asyncio.create_task(self._keep(number, event)) for number, event in first.items()),
            asyncio.create_task(self._oversee(first.values(), on_ready, replace)),
        ]
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

    async def _keep(self, number: int, first: asyncio.Event) -> None:
        """Start one of the workers, and restart it each time that it dies."""
        wait = BACK_OFF_SECONDS
        while True:
            begun = time.monotonic()
            try:
                worker = await self._start(number)
            except (SettingError, WorkerError) as error:
                if isinstance(error, SettingError) and not first.is_set():
                    raise
                self._note_failed_start(number, error)
            else:
                self._failed_starts = 0
                first.set()
                other = self._serving.setdefault(number, worker)
                if other is not worker:
                    # Meanwhile a replacement came to serve.
                    await self._end(worker)
                await self._until_death(number)
            if time.monotonic() - begun >= STEADY_SECONDS:
                wait = BACK_OFF_SECONDS
            await asyncio.sleep(wait)
            wait = min(2 * wait, BACK_OFF_SECONDS_MAX)

    async def _start(self, number: int) -> Worker:
        """Start a worker; return it as soon as it serves.

        Raises:
            SettingError: It refuses to serve, for its own reason.
            WorkerError: It cannot be started, or ended without a reason.
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
        worker = Worker(number, process, self._reports)
        self._alive.add(worker)
        worker.end.add_done_callback(lambda _: self._alive.discard(worker))
        if process.stdin is not None:
            process.stdin.write(pickle.dumps((self._settings, number)))
        if not await worker.serves():
            worker.send(signal.SIGKILL)
            code = await asyncio.shield(worker.end)
            how, end = _how(code)
            raise worker.refusal or WorkerError(f"it gave no reason and ended with {how} {end}")
        return worker

    async def _until_death(self, number: int) -> None:
        """Return when a worker has died, not when another took its place."""
        while True:
            worker = self._serving[number]
            code = await asyncio.shield(worker.end)
            if self._serving[number] is worker:
                del self._serving[number]
                self._log.error("worker died", worker=number, **dict([_how(code)]))
                return

    def _note_failed_start(self, number: int, error: SettingError | WorkerError) -> None:
        """Log that a worker did not come to serve; give up where none can be made to."""
        self._log.error("worker failed to start", worker=number, reason=error.message)
        self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS_MAX and not self._serving:
            if isinstance(error, SettingError):
                raise error
            raise WorkerError(
                f"{self._failed_starts} workers in a row died before they served",
                hint="The log lines before this one say why",
            )

    async def _oversee(
        self,
        first: Iterable[asyncio.Event],
        on_ready: Callable[[], None],
        requested: asyncio.Event,
    ) -> None:
        """Replace all workers each time ``requested`` is set, and meanwhile those grown too large.

        Begins when all workers serve, with ``on_ready``.
        """
        await asyncio.gather(*(event.wait() for event in first))
        on_ready()
        next_check = 0.0
        while True:
            # Not wait_for: in Python 3.11 it may swallow a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MEMORY_SECONDS):
                    await requested.wait()
            if requested.is_set():
                requested.clear()
                self._log.info("replacing workers", workers=len(self._serving))
                if await self._replace_each(sorted(self._serving)):
                    self._log.info("workers replaced", workers=len(self._serving))
            elif time.monotonic() >= next_check and (large := self._too_large()):
                await self._replace_each(large)
                next_check = time.monotonic() + MEMORY_PAUSE_SECONDS

    def _too_large(self) -> list[int]:
        """Return and log the numbers of the workers that have taken too much memory."""
        found = []
        for number, worker in sorted(self._serving.items()):
            taken = resident_bytes(worker.process.pid, private=True)
            if taken > self._settings.worker_memory:
                self._log.warning(
                    "worker too large",
                    worker=number,
                    memory_bytes=taken,
                    limit_bytes=self._settings.worker_memory,
                )
                found.append(number)
        return found

    async def _replace_each(self, numbers: Iterable[int]) -> bool:
        """Replace workers one by one; return whether that went well."""
        try:
            for number in numbers:
                fresh = await self._start(number)
                # The old one drains when the new one serves, if it has not died meanwhile.
                old = self._serving.get(number)
                self._serving[number] = fresh
                if old is not None:
                    await self._end(old)
        except (SettingError, WorkerError) as error:
            self._log.error("workers not replaced", reason=error.message)
            return False
        return True

    async def _end(self, worker: Worker) -> None:
        """Let a worker drain, and kill it if it takes too long."""
        worker.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._settings.drain_seconds + KILL_SECONDS):
                await asyncio.shield(worker.end)
        except TimeoutError:
            self._log.error("worker killed", worker=worker.number)
            worker.send(signal.SIGKILL)
            await asyncio.shield(worker.end)


def serve(settings: ServerSettings, *, on_ready: Callable[[int], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then drain; return the process's exit code.

    Nothing is printed; events are logged on standard error. Call it in the main thread.

    Args:
        settings: The settings of the service.
        on_ready: Called with the port once all workers answer calls.

    Raises:
        StoreMissingError: There is no store at the path.
        SettingError: An address cannot be listened on, e.g. because the port is in use, or the
            workers refuse the settings, e.g. because a certificate is not valid.
        WorkerError: The workers die as often as they are started.
    """
    SnapshotStore(settings.store)
    log = make_logger()
    with contextlib.closing(HeldPort(settings)) as port:
        host = settings.listen.rpartition(":")[0]
        shared = dataclasses.replace(settings, listen=f"{host}:{port.number}")

        def ready() -> None:
            log.info("serving", address=shared.listen, workers=settings.workers)
            if on_ready is not None:
                on_ready(port.number)

        asyncio.run(_supervise(shared, log, ready))
    log.info("stopped")
    return 0


async def _supervise(
    settings: ServerSettings, log: FilteringBoundLogger, on_ready: Callable[[], None]
) -> None:
    """Keep the workers serving, with metrics, probes and the audit until after the last of them."""
    reports = Reports()
    with contextlib.ExitStack() as stack:
        if settings.metrics is not None:
            from numroute.server.monitor import Monitor  # noqa: PLC0415 - only with metrics

            monitor = Monitor(settings, reports, log)
            await monitor.start()
            stack.callback(monitor.close)
            log.info("metrics served", address=monitor.address)
        if settings.security.identifies_clients:
            stack.callback(Audit(reports, log).close)
        await Supervisor(settings, reports, log).run(on_ready)


def _how(code: int) -> tuple[str, str | int]:
    """Return how a process ended, for the log."""
    return ("signal", signal.Signals(-code).name) if code < 0 else ("status", code)
