"""Clients in processes of their own; each asks one kind of questions and checks every answer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import multiprocessing
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from benchmarks.production.reports import Report
from numroute import wire
from numroute.client import AsyncClient
from numroute.client.channel import connection
from numroute.client.codec import Values, bulk_response
from numroute.client.security import PLAINTEXT, Security

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

    from numpy.typing import NDArray

    from benchmarks.production.vintages import Question
    from numroute.client.security import TokenSource

CHANNELS = 16
"""Connections of one client process. The kernel chooses the worker of each by chance: few of them
would leave one worker with most of the load."""

LATE_SECONDS_MAX = 2.0
"""How late a client with bounded calls under way may be; what was due earlier is left out and
counted: after a standstill of the machine nobody makes up for all the calls of that time."""

TIMEOUT_SECONDS = 30.0
STREAM_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a client is to do.

    Attributes:
        name: How it is called in the results.
        questions: What it asks, again and again.
        stream: Ask over a stream with the product's own client instead of call by call.
        rate: Calls a second, sent by the clock; None sends as fast as answers come.
        under_way: Calls under way where there is no rate.
        under_way_max: Calls under way at most where there is one; None for any number of them.
        retry: Send a refused call again, as the product's client does.
        security: What the client shows and wants to see.
    """

    name: str
    questions: Sequence[Question]
    stream: bool = False
    rate: float | None = None
    under_way: int = 4
    under_way_max: int | None = None
    retry: bool = True
    security: Security = PLAINTEXT


class Asker:
    """A client in a process of its own."""

    def __init__(self, task: Task, address: str, seconds: float, report_seconds: float) -> None:
        """Start asking, for so many seconds or until ``stop``."""
        context = multiprocessing.get_context("spawn")
        self.task = task
        self._ours, theirs = context.Pipe(duplex=False)
        self._stop = context.Event()
        self._process = context.Process(
            target=_run,
            args=(theirs, self._stop, task, address, seconds, report_seconds),
            daemon=True,
        )
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid or 0

    def started(self) -> None:
        """Wait until the first call was answered."""
        self._ours.recv()

    def reports(self) -> Iterator[Report]:
        """Return the reports that have come meanwhile."""
        with contextlib.suppress(EOFError):
            while self._ours.poll():
                yield self._ours.recv()

    def rest(self) -> Report:
        """Wait for its end and return all that was not reported yet."""
        whole = Report()
        with contextlib.suppress(EOFError):
            while True:
                whole.add(self._ours.recv())
        self._process.join()
        if self._process.exitcode:
            raise ChildProcessError(f"a client ended with status {self._process.exitcode}")
        return whole

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()


def ask_all(
    tasks: Sequence[Task], address: str, seconds: float, during: Callable[[], None] | None = None
) -> dict[str, Report]:
    """Let several clients ask at once and return what each has seen, by its name.

    ``during`` is called once all have had their first answer.
    """
    askers = [Asker(task, address, seconds, seconds) for task in tasks]
    for asker in askers:
        asker.started()
    if during is not None:
        during()
    return {asker.task.name: asker.rest() for asker in askers}


def _run(
    parent: Connection,
    stop: Event,
    task: Task,
    address: str,
    seconds: float,
    report_seconds: float,
) -> None:
    # Ctrl-C goes to the process that started this one; it says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is there now stays: no collection need look at it.
    gc.freeze()
    asyncio.run(_ask(parent, stop, task, address, seconds, report_seconds))


async def _ask(
    parent: Connection,
    stop: Event,
    task: Task,
    address: str,
    seconds: float,
    report_seconds: float,
) -> None:
    report = Report()
    made: contextlib.AsyncExitStack
    async with contextlib.AsyncExitStack() as made:
        ways = [await _way(made, task, address) for _ in range(CHANNELS)]
        for way in ways:
            await way.first()
        parent.send("started")
        begin = time.time()
        asking = asyncio.create_task(_ask_until(ways, task, begin + seconds, lambda: report))
        while not asking.done():
            await asyncio.wait({asking}, timeout=report_seconds)
            if not asking.done():
                sent, report = report, Report()
                parent.send(sent)
                if stop.is_set():
                    asking.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await asking
        if not asking.cancelled():
            asking.result()
    parent.send(report)
    parent.close()


class _Calls:
    """Asks call by call, over one connection, with the retry policy of the product's client."""

    def __init__(self, channel: grpc.aio.Channel, token: TokenSource, task: Task) -> None:
        self._token = token
        self._call = channel.unary_unary(wire.method_path("BulkLookup"))
        self._questions = itertools.cycle(task.questions)
        self._one = task.questions[0]

    async def first(self) -> None:
        """Connect."""
        await self._call(
            self._one.request,
            timeout=TIMEOUT_SECONDS,
            metadata=self._token.metadata(),
            wait_for_ready=True,
        )

    async def ask(self, due: float, report: Callable[[], Report]) -> None:
        """Ask once, and note what came."""
        question = next(self._questions)
        try:
            response = await self._call(
                question.request, timeout=TIMEOUT_SECONDS, metadata=self._token.metadata()
            )
        except grpc.aio.AioRpcError as error:
            report().fail(error.code().name, str(error.details()))
        else:
            report().note(question.answered_by(response), due)


class _Stream:
    """Asks over one stream of the product's client, which goes on over a restart."""

    def __init__(self, client: AsyncClient, task: Task) -> None:
        self._client = client
        self._questions = itertools.cycle(task.questions)
        self._under_way: asyncio.Queue[tuple[Question, float, asyncio.Event]] = asyncio.Queue()
        self._asked: asyncio.Queue[tuple[Question, float, asyncio.Event]] = asyncio.Queue()
        self._values = Values()
        self._one = task.questions[0]
        self._known: dict[int, dict[str, tuple[Any, Any]]] = {}

    async def first(self) -> None:
        """Connect."""
        await self._client.lookup(self._one.numbers)

    async def ask(self, due: float, _report: Callable[[], Report]) -> None:
        """Send one question on the stream and wait until its answer was noted."""
        answered = asyncio.Event()
        self._asked.put_nowait((next(self._questions), due, answered))
        await answered.wait()

    async def run(self, report: Callable[[], Report]) -> None:
        """Carry questions and answers, until cancelled."""
        while True:
            try:
                stream = self._client.stream(self._batches(), timeout=STREAM_TIMEOUT_SECONDS)
                async for answer in stream:
                    question, due, answered = self._under_way.get_nowait()
                    report().note(self._answered_by(question, answer), due)
                    answered.set()
            except Exception as error:  # noqa: BLE001 - whatever it is, the call has failed
                report().fail(type(error).__name__, str(error))
                while not self._under_way.empty():
                    self._under_way.get_nowait()[2].set()

    async def _batches(self) -> AsyncIterator[NDArray[np.uint64]]:
        while True:
            item = await self._asked.get()
            self._under_way.put_nowait(item)
            yield item[0].numbers

    def _answered_by(self, question: Question, answer: Any) -> str | None:  # noqa: ANN401
        known = self._known.get(id(question))
        if known is None:
            known = self._known[id(question)] = {
                name: self._columns(question, response)
                for name, response in question.answers.items()
            }
        indexes, routes = known[answer.snapshot.id]
        given = list(answer.routes)
        if not np.array_equal(answer.route_index, indexes) or given != routes:
            return None
        # The client gives the same objects next time, which are equal at a glance.
        known[answer.snapshot.id] = indexes, given
        return str(answer.snapshot.id)

    def _columns(self, question: Question, response: bytes) -> tuple[Any, Any]:
        chunk = bulk_response(
            response, len(question.numbers), with_range_holder=False, with_ported_at=False
        )
        return chunk.route_indexes, list(map(self._values.route, chunk.routes))


async def _way(made: contextlib.AsyncExitStack, task: Task, address: str) -> _Calls | _Stream:
    if task.stream:
        client = AsyncClient(address, timeout=TIMEOUT_SECONDS, security=task.security)
        return _Stream(await made.enter_async_context(client), task)
    found = connection(address, task.security)
    options = (
        *found.options,
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", int(task.retry)),
    )
    channel = (
        grpc.aio.insecure_channel(address, options=options)
        if found.credentials is None
        else grpc.aio.secure_channel(address, found.credentials, options=options)
    )
    await made.enter_async_context(channel)
    return _Calls(channel, found.token, task)


async def _ask_until(
    ways: Sequence[_Calls | _Stream], task: Task, end: float, report: Callable[[], Report]
) -> None:
    """Ask until the end; return when all that was asked is answered."""
    carrying = [asyncio.create_task(way.run(report)) for way in ways if isinstance(way, _Stream)]
    try:
        if task.rate is None:
            await asyncio.gather(
                *(
                    _one_after_the_other(way, end, report)
                    for way in itertools.islice(itertools.cycle(ways), task.under_way)
                )
            )
        else:
            await _by_the_clock(ways, task, end, report)
    finally:
        for each in carrying:
            each.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)


async def _one_after_the_other(
    way: _Calls | _Stream, end: float, report: Callable[[], Report]
) -> None:
    while time.time() < end:
        await way.ask(time.time(), report)


async def _by_the_clock(
    ways: Sequence[_Calls | _Stream], task: Task, end: float, report: Callable[[], Report]
) -> None:
    under_way: set[asyncio.Task[None]] = set()
    begin = time.time()
    try:
        for place, way in enumerate(itertools.cycle(ways)):
            due = begin + place / (task.rate or 1.0)
            if due >= end:
                break
            ahead = due - time.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            if task.under_way_max is not None:
                while len(under_way) >= task.under_way_max:
                    await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                if time.time() - due > LATE_SECONDS_MAX:
                    report().skipped += 1
                    continue
            call = asyncio.create_task(way.ask(due, report))
            under_way.add(call)
            call.add_done_callback(under_way.discard)
        while under_way:
            await asyncio.wait(set(under_way))
    finally:
        for call in set(under_way):
            call.cancel()
