"""Clients in processes of their own; each asks one kind of questions and checks every answer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import multiprocessing
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from numroute import wire
from numroute.client import AsyncClient
from numroute.client.channel import connection
from numroute.client.codec import Values, bulk_response
from numroute.client.security import Security

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

    from numpy.typing import NDArray

    from benchmarks.production.vintages import Question

CHANNELS = 16
"""Connections of one client process. The kernel chooses the worker of each by chance: few of them
would leave one worker with most of the load."""

TIMEOUT_SECONDS = 30.0
STREAM_TIMEOUT_SECONDS = 60.0
KEPT_FAILURES = 5


@dataclass(slots=True)
class Report:
    """What a client has seen since its last report.

    Attributes:
        answers: Right ones.
        wrong: Answers that are wholly of neither snapshot.
        failed: Calls that failed, retries included, by status.
        failures: The first few texts of them.
        by_snapshot: Answers by the snapshot that gave them.
        due: When each answered call was to be sent, seconds on ``time.time``'s clock.
        latency: From then to its answer, seconds.
    """

    answers: int = 0
    wrong: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    by_snapshot: Counter[str] = field(default_factory=Counter)
    due: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)

    def note(self, snapshot: str | None, due: float) -> None:
        """Count an answer that was just received."""
        if snapshot is None:
            self.wrong += 1
            return
        self.answers += 1
        self.by_snapshot[snapshot] += 1
        self.due.append(due)
        self.latency.append(time.time() - due)

    def fail(self, status: str, text: str) -> None:
        """Count a call that failed."""
        self.failed[status] += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(text)

    def add(self, other: Report) -> None:
        """Take in what another report says."""
        self.answers += other.answers
        self.wrong += other.wrong
        self.failed += other.failed
        self.failures = (self.failures + other.failures)[:KEPT_FAILURES]
        self.by_snapshot += other.by_snapshot
        self.due += other.due
        self.latency += other.latency

    @property
    def failed_calls(self) -> int:
        """How many calls failed."""
        return sum(self.failed.values())

    def percentile_ms(self, percentile: float) -> float:
        """Return a percentile of the latencies, in milliseconds; 0 when there are none."""
        return float(np.percentile(self.latency, percentile)) * 1e3 if self.latency else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a client is to do.

    Attributes:
        name: How it is called in the results.
        questions: What it asks, again and again.
        stream: Ask over a stream with the product's own client instead of call by call.
        rate: Calls a second, sent by the clock; None sends as fast as answers come.
        under_way: Calls under way where there is no rate.
        retry: Send a refused call again, as the product's client does.
    """

    name: str
    questions: Sequence[Question]
    stream: bool = False
    rate: float | None = None
    under_way: int = 4
    retry: bool = True


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
    # Nothing here makes cycles worth a pause in the middle of a latency.
    gc.disable()
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

    def __init__(self, channel: grpc.aio.Channel, task: Task) -> None:
        self._call = channel.unary_unary(wire.method_path("BulkLookup"))
        self._questions = itertools.cycle(task.questions)
        self._one = task.questions[0]

    async def first(self) -> None:
        """Connect."""
        await self._call(self._one.request, timeout=TIMEOUT_SECONDS, wait_for_ready=True)

    async def ask(self, due: float, report: Callable[[], Report]) -> None:
        """Ask once, and note what came."""
        question = next(self._questions)
        try:
            response = await self._call(question.request, timeout=TIMEOUT_SECONDS)
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
        right = np.array_equal(answer.route_index, indexes) and list(answer.routes) == routes
        return answer.snapshot.id if right else None

    def _columns(self, question: Question, response: bytes) -> tuple[Any, Any]:
        chunk = bulk_response(
            response, len(question.numbers), with_range_holder=False, with_ported_at=False
        )
        return chunk.route_indexes, list(map(self._values.route, chunk.routes))


async def _way(made: contextlib.AsyncExitStack, task: Task, address: str) -> _Calls | _Stream:
    if task.stream:
        client = await made.enter_async_context(AsyncClient(address, timeout=TIMEOUT_SECONDS))
        return _Stream(client, task)
    options = connection(address, Security()).options
    channel = grpc.aio.insecure_channel(
        address,
        options=(
            *options,
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", int(task.retry)),
        ),
    )
    await made.enter_async_context(channel)
    return _Calls(channel, task)


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
            await _by_the_clock(ways, task.rate, end, report)
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
    ways: Sequence[_Calls | _Stream], rate: float, end: float, report: Callable[[], Report]
) -> None:
    under_way: set[asyncio.Task[None]] = set()
    begin = time.time()
    try:
        for place, way in enumerate(itertools.cycle(ways)):
            due = begin + place / rate
            if due >= end:
                break
            ahead = due - time.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            call = asyncio.create_task(way.ask(due, report))
            under_way.add(call)
            call.add_done_callback(under_way.discard)
        while under_way:
            await asyncio.wait(set(under_way))
    finally:
        for call in set(under_way):
            call.cancel()
