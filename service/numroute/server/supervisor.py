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
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from numroute.errors import SettingError, WorkerError
from numroute.index import SnapshotStore
from numroute.logs import fault_fields, log_loop_faults, make_logger
from numroute.server.memory import KEEP_FREED, own_bytes
from numroute.server.metrics import Audit, Reports
from numroute.server.port import HeldPort
from numroute.server.worker import Message, settings_message

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from structlog.typing import FilteringBoundLogger

    from numroute.server.settings import ServerSettings

START_SECONDS_MAX = 60.0
"""How long a worker may take from its start until it serves, a slow disk included."""

FAILED_STARTS_MAX = 5
"""How many starts in a row may fail, while no worker serves, before the service gives up."""

BACK_OFF_SECONDS = 0.1
"""The wait before the first restart of a worker that died; doubled for each further one."""

BACK_OFF_SECONDS_MAX = 10.0

STEADY_SECONDS = 60.0
"""How long a worker must have served for its death to count as the first again."""

DOUBLINGS_MAX = 16
"""A limit on the doubling of waits, so that numbers stay finite."""

MEMORY_SECONDS = 1.0
"""How often the memory of the workers is checked."""

MEMORY_PAUSE_SECONDS, MEMORY_PAUSE_SECONDS_MAX = 10.0, 600.0
"""The pause of these checks after a worker was replaced for its memory; doubled each time in a row
that the new worker did not come to serve."""

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
    """

    def __init__(self, number: int, process: asyncio.subprocess.Process, reports: Reports) -> None:
        """Watch a process that was just started, and keep its reports."""
        self.number = number
        self.process = process
        self.refusal: SettingError | None = None
        self._reports = reports
        self._ready = asyncio.Event()
        self._replaced = asyncio.Event()
        self._watching = asyncio.create_task(self._watch())

    async def serves(self) -> bool:
        """Return whether it serves, as soon as that is known."""
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait(
            {ready, self._watching},
            timeout=START_SECONDS_MAX,
            return_when=asyncio.FIRST_COMPLETED,
        )
        ready.cancel()
        return self._ready.is_set() and not self._watching.done()

    async def ended(self) -> int:
        """Wait for its end and return the exit code, negative for a signal."""
        # Others wait for the same end: cancelling one of them must not end the watching.
        return await asyncio.shield(self._watching)

    def replace(self) -> None:
        """Mark it as replaced by another worker."""
        self._replaced.set()

    async def ended_or_replaced(self) -> None:
        """Wait until it has ended or was replaced."""
        replaced = asyncio.create_task(self._replaced.wait())
        try:
            await asyncio.wait({replaced, self._watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            replaced.cancel()

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def _watch(self) -> int:
        pid, output = self.process.pid, self.process.stdout
        # A worker that is killed may leave half a line behind, without its end.
        while output is not None and (line := await output.readline()).endswith(b"\n"):
            message = msgspec.json.decode(line, type=Message)
            if message.report is not None:
                self._reports.receive(self.number, pid, message.report)
            elif message.ready:
                self._ready.set()
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
        self._failed_replacements = 0
        self._stopping = False

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
        numbers = range(1, self._settings.workers + 1)
        first = {number: asyncio.Event() for number in numbers}
        keeping = [
            asyncio.create_task(self._keep(number, event)) for number, event in first.items()
        ]
        try:
            started = asyncio.gather(*(event.wait() for event in first.values()))
            await self._unless_over(started, stop, keeping)
            if not stop.is_set():
                on_ready()
            await self._unless_over(self._replacing(replace), stop, keeping)
            self._log.info("draining", drain_seconds=self._settings.drain_seconds)
        finally:
            self._stopping = True
            await self._end_all()
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)

    async def _unless_over(
        self,
        work: Coroutine[Any, Any, Any] | asyncio.Future[Any],
        stop: asyncio.Event,
        keeping: list[asyncio.Task[None]],
    ) -> None:
        """Do work until it is done, a stop signal comes, or a worker cannot be kept."""
        doing, stopped = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
        await asyncio.wait({doing, stopped, *keeping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (doing, stopped):
            task.cancel()
        await asyncio.gather(doing, stopped, return_exceptions=True)
        for task in keeping:
            if task.done():
                task.result()
        if doing.done() and not stop.is_set():
            # Else a fault in the work would look like a stop.
            doing.result()

    async def _keep(self, number: int, first: asyncio.Event) -> None:
        """Start one of the workers, and restart it each time that it dies."""
        deaths = 0
        while not self._stopping:
            served = await self._serve_once(number, first)
            deaths = 0 if served >= STEADY_SECONDS else min(deaths + 1, DOUBLINGS_MAX)
            wait = BACK_OFF_SECONDS * 2 ** max(0, deaths - 1)
            await asyncio.sleep(min(wait, BACK_OFF_SECONDS_MAX))

    async def _serve_once(self, number: int, first: asyncio.Event) -> float:
        """Start a worker and return when it, or the last that took its place, has died.

        Returns for how many seconds they served.
        """
        try:
            worker = await self._start(number)
        except OSError as error:
            # The system cannot start a process at the moment, perhaps for lack of memory.
            self._log.error("worker failed to start", worker=number, reason=error.strerror)
            self._count_failed_start(None)
            return 0.0
        if not await worker.serves():
            await self._note_failed_start(worker, all_new=not first.is_set())
            return 0.0
        begun = time.monotonic()
        self._failed_starts = 0
        if self._serving.setdefault(number, worker) is not worker:
            # While it started, a replacement of the one that died has taken its place.
            await self._end(worker)
        first.set()
        await self._until_death(number)
        return time.monotonic() - begun

    async def _until_death(self, number: int) -> None:
        """Return when the worker that serves has died, not when another took its place."""
        while True:
            worker = self._serving[number]
            await worker.ended_or_replaced()
            if self._stopping:
                return
            if self._serving[number] is worker:
                code = await worker.ended()
                del self._serving[number]
                self._log.error("worker died", worker=number, **_how(code))
                return

    async def _note_failed_start(self, worker: Worker, *, all_new: bool) -> None:
        """Log that a worker did not come to serve; give up where that will not change."""
        worker.kill()
        code = await worker.ended()
        if self._stopping:
            return
        refusal = worker.refusal
        if refusal is not None and all_new:
            raise refusal
        self._log.error(
            "worker failed to start",
            worker=worker.number,
            reason=refusal.message if refusal else "it gave no reason",
            **_how(code),
        )
        self._count_failed_start(refusal)

    def _count_failed_start(self, refusal: SettingError | None) -> None:
        """Give up where no worker can be made to serve."""
        self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS_MAX and not self._serving:
            raise refusal or WorkerError(
                f"{self._failed_starts} workers in a row died before they served",
                hint="The log lines before this one say why",
            )

    async def _start(self, number: int) -> Worker:
        """Start a process and send it its settings."""
        process = await asyncio.create_subprocess_exec(
            # -P: modules come from the environment, not from the current folder.
            *(sys.executable, "-P", "-m", "numroute.server.worker", str(number)),
            env=os.environ | KEEP_FREED,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
        )
        worker = Worker(number, process, self._reports)
        self._alive.add(worker)
        asyncio.create_task(self._forget(worker))  # noqa: RUF006 - it ends with the process
        if process.stdin is not None:
            process.stdin.write(settings_message(self._settings, number))
        return worker

    async def _forget(self, worker: Worker) -> None:
        await worker.ended()
        self._alive.discard(worker)

    async def _replacing(self, requested: asyncio.Event) -> None:
        """Replace all workers each time the event is set, and meanwhile those grown too large."""
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
                doublings = min(self._failed_replacements, DOUBLINGS_MAX)
                pause = MEMORY_PAUSE_SECONDS * 2**doublings
                next_check = time.monotonic() + min(pause, MEMORY_PAUSE_SECONDS_MAX)

    def _too_large(self) -> list[int]:
        """Return and log the numbers of the workers that have taken too much memory."""
        found = []
        for number, worker in sorted(self._serving.items()):
            taken = own_bytes(worker.process.pid)
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
                await self._replace(number)
        except WorkerError as error:
            self._log.error("workers not replaced", reason=error.message)
        except Exception as fault:  # noqa: BLE001 - the workers that serve go on
            self._log.error("replacing failed", **fault_fields(fault))
        else:
            self._failed_replacements = 0
            return True
        self._failed_replacements += 1
        return False

    async def _replace(self, number: int) -> None:
        """Start a new worker, and let the old one drain when the new one serves."""
        fresh = await self._start(number)
        if not await fresh.serves():
            fresh.kill()
            raise WorkerError(
                str(fresh.refusal) if fresh.refusal else f"worker {number} did not come to serve"
            )
        old = self._serving.get(number)
        self._serving[number] = fresh
        if old is not None:
            old.replace()
            await self._end(old)

    async def _end(self, worker: Worker) -> None:
        """Let a worker drain, and kill it if it takes too long."""
        worker.terminate()
        try:
            async with asyncio.timeout(self._settings.drain_seconds + KILL_SECONDS):
                await worker.ended()
        except TimeoutError:
            self._log.error("worker killed", worker=worker.number)
            worker.kill()
            await worker.ended()

    async def _end_all(self) -> None:
        # A worker may just be starting and be added while the others end.
        while self._alive:
            await asyncio.gather(*(self._end(worker) for worker in self._alive))


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
    with HeldPort(settings) as port:
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


def _how(code: int) -> dict[str, Any]:
    """Return how a process ended, for the log."""
    return {"signal": signal.Signals(-code).name} if code < 0 else {"status": code}
