"""Runs queued jobs in worker processes, and removes those whose time is over."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import sys
from typing import Final

import msgspec
from structlog.typing import FilteringBoundLogger

from numroute.logs import fault_fields
from numroute_campaign.run import Sample
from numroute_web.jobs import Job, JobStore
from numroute_web.options import ListOptions
from numroute_web.problems import ProblemError, problem_of
from numroute_web.settings import WebSettings
from numroute_web.worker import Message, Task, too_large

PREVIEW_SECONDS_MAX: Final = 30.0
PREVIEWS_MAX: Final = 2
"""How many previews are made at once."""

RETRY_SECONDS: Final = 2.0
"""How long to wait before the end of a job is recorded again, if the disk was full."""

SWEEP_SECONDS: Final = 30.0
"""How often jobs whose time is over are looked for."""

LINE_BYTES_MAX: Final = 64 << 20
"""The longest line of a worker: a summary names every operator and output file."""


class Runner:
    """Runs the jobs of a store, up to `list_workers` at once."""

    def __init__(
        self,
        settings: WebSettings,
        jobs: JobStore,
        log: FilteringBoundLogger,
    ) -> None:
        """Run the jobs of this store."""
        self._settings = settings
        self._jobs = jobs
        self._log = log
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._previews = asyncio.Semaphore(PREVIEWS_MAX)
        self._stopping = False

    def wake(self) -> None:
        """Look for queued jobs now."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run jobs until ``stop`` is set; those under way are queued again."""
        waiting = asyncio.create_task(stop.wait())
        waiting.add_done_callback(lambda _: self._wake.set())
        while not stop.is_set():
            self._wake.clear()
            try:
                await self._look()
            except sqlite3.Error as fault:
                # A full disk, say: there may be room next time.
                self._log.error("jobs not checked", **fault_fields(fault))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), SWEEP_SECONDS)
        self._stopping = True
        for process in self._processes.values():
            process.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self) -> None:
        """Start what is queued and there is room for; remove what has expired."""
        while len(self._tasks) < self._settings.list_workers and (job := self._jobs.take_next()):
            task = asyncio.create_task(self._run(job))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        for expired in self._jobs.expired():
            # Once a client finds no such list any more, nothing of it remains.
            await self._remove_files(expired)
            self._jobs.forget(expired.id)

    async def remove(self, job: Job) -> None:
        """Remove a job, also while it runs."""
        process = self._processes.get(job.id)
        # The row goes first: a worker that ends now changes nothing any more.
        self._jobs.forget(job.id)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await self._remove_files(job)

    async def _remove_files(self, job: Job) -> None:
        await asyncio.to_thread(shutil.rmtree, self._jobs.path(job.id), ignore_errors=True)

    async def preview(self, job: Job, options: ListOptions) -> Sample:
        """Return how the first rows of a job's list would be routed. Raises ProblemError."""
        async with self._previews:
            task = self._task(job, options, is_preview=True)
            try:
                async with asyncio.timeout(PREVIEW_SECONDS_MAX):
                    message = await self._do("", task)
            except TimeoutError:
                message = Message(problem=too_large())
        if message.fault is not None:
            self._log.error("list failed", **message.fault)
        if message.preview is None:
            problem = message.problem or too_large()
            raise ProblemError.of(problem)
        return message.preview

    async def _run(self, job: Job) -> None:
        out = self._jobs.path(job.id) / "out"
        await asyncio.to_thread(shutil.rmtree, out, ignore_errors=True)
        try:
            message = await self._do(job.id, self._task(job, job.options))
        except Exception as fault:  # noqa: BLE001 - the job ends with it, the service goes on
            message = Message(problem=problem_of(fault), fault=dict(fault_fields(fault)))
        if self._stopping:
            self._jobs.requeue(job.id)
            return
        problem = message.problem
        if message.summary is None and problem is None:
            problem = too_large()
        if message.fault is not None:
            self._log.error("list failed", **message.fault)
        # One that cannot be recorded before the service stops runs again.
        while not self._stopping:
            try:
                self._jobs.finish(job.id, message.summary, problem)
            except sqlite3.Error as fault:
                self._log.error("job not recorded", **fault_fields(fault))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _do(self, job_id: str, task: Task) -> Message:
        """Start a process for a task and return its last message."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "numroute_web.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # An interpreter that dies may print what it was reading.
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_BYTES_MAX,
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        last = Message()
        if job_id:
            self._processes[job_id] = process
        try:
            with contextlib.suppress(ConnectionError):
                process.stdin.write(msgspec.json.encode(task) + b"\n")
                await process.stdin.drain()
            while line := await process.stdout.readline():
                last = msgspec.json.decode(line, type=Message)
                if job_id and last.rows:
                    with contextlib.suppress(sqlite3.Error):
                        self._jobs.progress(job_id, last.rows, last.share)
            await process.wait()
        finally:
            self._processes.pop(job_id, None)
            if process.returncode is None:
                process.kill()
                await process.wait()
        return last

    def _task(self, job: Job, options: ListOptions, *, is_preview: bool = False) -> Task:
        choices = self._settings.choices
        return Task(
            folder=str(self._jobs.path(job.id)),
            name=job.name,
            store=str(self._settings.store),
            choices=None if choices is None else str(choices),
            options=options,
            is_preview=is_preview,
        )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
