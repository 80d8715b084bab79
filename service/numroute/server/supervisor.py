"""Keep several workers serving one port: start, restart, replace one by one, and drain them.

The supervisor itself answers nothing and uses no gRPC. SIGTERM or SIGINT drains all
workers; SIGHUP replaces them, each by a new one that serves before the old one drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from numroute.errors import SettingError, WorkerError
from numroute.index import SnapshotStore
from numroute.logs import fault_fields, make_logger
from numroute.server.observation import observed
from numroute.server.port import HeldPort
from numroute.server.worker import HINT, READY, REASON, settings_message

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from structlog.typing import FilteringBoundLogger

    from numroute.server.settings import ServerSettings

FAILED_STARTS_MAX = 5
"""After how many starts in a row that came to nothing, while no worker serves, to give up."""

BACK_OFF_SECONDS = 0.1
"""How long to wait before the first restart of a worker that died; doubled for each further one."""

BACK_OFF_SECONDS_MAX = 10.0

START_SECONDS_MAX = 60.0
"""How long a worker may take from its start until it serves, a slow disk included."""

KILL_SECONDS = 5.0
"""How long after the limit of the drain a worker may still take before it is killed."""


class Worker:
    """A worker process, from its start to its end.

    Attributes:
        number: Which of the workers it is, from 1; a worker that takes its place has it too.
        process: The process.
        refusal: Why it could not start, as it said itself; None if it said nothing.
    """

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        """Watch a process that was just started."""
        self.number = number
        self.process = process
        self.refusal: SettingError | None = None
        self._ready = asyncio.Event()
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
        # Others wait for the same end: one of them being cancelled must not end the watching.
        return await asyncio.shield(self._watching)

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
        said = self.process.stdout
        while said is not None and (line := await said.readline()):
            message: dict[str, Any] = json.loads(line)
            if message.get(READY):
                self._ready.set()
            else:
                self.refusal = SettingError(message[REASON], hint=message[HINT])
        return await self.process.wait()


class Supervisor:
    """Keeps as many workers serving as the settings say."""

    def __init__(self, settings: ServerSettings, log: FilteringBoundLogger) -> None:
        """Keep ``settings.workers`` workers on the port that the settings name."""
        self._settings = settings
        self._log = log
        self._serving: dict[int, Worker] = {}
        self._alive: set[Worker] = set()
        self._failed_starts = 0
        self._stopping = False

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; ``on_ready`` is called once all workers serve.

        Raises:
            WorkerError: No worker can be kept alive.
            SettingError: The workers refuse to start; the first one's own reason.
        """
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

    async def _keep(self, number: int, first: asyncio.Event) -> None:
        """Start one of the workers, and again each time that it dies."""
        deaths = 0
        while not self._stopping:
            worker = await self._start(number)
            if await worker.serves():
                deaths = self._failed_starts = 0
                if self._serving.setdefault(number, worker) is not worker:
                    # While it started, a replacement of the one that died has taken its place.
                    await self._end(worker)
                first.set()
                await self._until_death(number)
            else:
                await self._note_failed_start(worker, all_new=not first.is_set())
            await asyncio.sleep(min(BACK_OFF_SECONDS * 2**deaths, BACK_OFF_SECONDS_MAX))
            deaths += 1

    async def _until_death(self, number: int) -> None:
        """Return when the worker that serves has died, not when another took its place."""
        while True:
            worker = self._serving[number]
            code = await worker.ended()
            if self._stopping:
                return
            if self._serving[number] is worker:
                del self._serving[number]
                self._log.error("worker died", worker=number, **_how(code))
                return

    async def _note_failed_start(self, worker: Worker, *, all_new: bool) -> None:
        """Say that a worker did not come to serve; give up where that is how it will stay."""
        worker.kill()
        code = await worker.ended()
        if self._stopping:
            return
        self._failed_starts += 1
        refusal = worker.refusal
        self._log.error(
            "worker failed to start",
            worker=worker.number,
            reason=refusal.message if refusal else "it said nothing",
            **_how(code),
        )
        if refusal is not None and all_new:
            raise refusal
        if self._failed_starts >= FAILED_STARTS_MAX and not self._serving:
            raise refusal or WorkerError(
                f"{self._failed_starts} workers in a row died before they served",
                hint="The log lines before this one say why",
            )

    async def _start(self, number: int) -> Worker:
        """Start a process and tell it what it must know."""
        process = await asyncio.create_subprocess_exec(
            # -P: modules come from the environment, not from the current folder.
            *(sys.executable, "-P", "-m", "numroute.server.worker", str(number)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        worker = Worker(number, process)
        self._alive.add(worker)
        asyncio.create_task(self._forget(worker))  # noqa: RUF006 - it ends with the process
        if process.stdin is not None:
            process.stdin.write(settings_message(self._settings, number))
        return worker

    async def _forget(self, worker: Worker) -> None:
        await worker.ended()
        self._alive.discard(worker)

    async def _replacing(self, replace: asyncio.Event) -> None:
        """Replace all workers each time the event is set."""
        while True:
            await replace.wait()
            replace.clear()
            self._log.info("replacing workers", workers=len(self._serving))
            try:
                for number in sorted(self._serving):
                    await self._replace(number)
            except WorkerError as error:
                self._log.error("workers not replaced", reason=error.message)
            except Exception as fault:  # noqa: BLE001 - the workers that serve go on
                self._log.error("replacing failed", **fault_fields(fault))
            else:
                self._log.info("workers replaced", workers=len(self._serving))

    async def _replace(self, number: int) -> None:
        """Start a new worker, and let the old one drain when the new one serves."""
        fresh = await self._start(number)
        if not await fresh.serves():
            fresh.kill()
            raise WorkerError(
                str(fresh.refusal) if fresh.refusal else f"worker {number} died before it served"
            )
        old = self._serving.get(number)
        self._serving[number] = fresh
        if old is not None:
            await self._end(old)

    async def _end(self, worker: Worker) -> None:
        """Let a worker drain, and kill it if it takes too long."""
        worker.terminate()
        try:
            await asyncio.wait_for(worker.ended(), self._settings.drain_seconds + KILL_SECONDS)
        except TimeoutError:
            self._log.error("worker killed", worker=worker.number)
            worker.kill()
            await worker.ended()

    async def _end_all(self) -> None:
        # One may just be starting and be added while the others end.
        while self._alive:
            await asyncio.gather(*(self._end(worker) for worker in self._alive))


def supervise(settings: ServerSettings, *, on_ready: Callable[[int], None] | None = None) -> int:
    """Serve with several workers until SIGTERM or SIGINT; return the process's exit code.

    Args:
        settings: What to serve, where, and with how many workers.
        on_ready: Called with the port once all workers answer calls.

    Raises:
        StoreMissingError: There is no store at the path.
        SettingError: The address cannot be listened on, or the workers refuse the settings.
        WorkerError: No worker can be kept alive.
    """
    SnapshotStore(settings.store)
    log = make_logger()
    with HeldPort(settings) as port, observed(settings, log) as watched:
        host = settings.listen.rpartition(":")[0]
        shared = dataclasses.replace(watched, listen=f"{host}:{port.number}")

        def ready() -> None:
            log.info("serving", address=shared.listen, workers=settings.workers)
            if on_ready is not None:
                on_ready(port.number)

        asyncio.run(Supervisor(shared, log).run(ready))
    log.info("stopped")
    return 0


def _how(code: int) -> dict[str, Any]:
    """Return how a process ended, for the log."""
    return {"signal": signal.Signals(-code).name} if code < 0 else {"status": code}
