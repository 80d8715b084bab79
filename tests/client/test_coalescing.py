"""Single numbers gathered into batches: when each is sent, and how each ends."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.oracle import FIRST, LAST

import numroute
from numroute.client import Coalescing
from numroute.client.coalescing import TASKS_WOKEN_AT_ONCE, Coalescer
from numroute.errors import ServiceError
from numroute.v1 import number_routing_pb2 as pb


class Service:
    """Stands in for a service: keeps each batch until the test decides how it ends."""

    def __init__(self) -> None:
        """Begin without batches."""
        self.batches: list[list[int]] = []
        self.timeouts: list[float] = []
        self._ends: list[asyncio.Future[None]] = []

    async def send(self, request: bytes, seconds: float) -> bytes:
        """Take a batch, and answer each number with an operator named like it."""
        numbers = list(pb.BulkLookupRequest.FromString(request).numbers)
        self.batches.append(numbers)
        self.timeouts.append(seconds)
        self._ends.append(asyncio.get_running_loop().create_future())
        await self._ends[-1]
        response = pb.BulkLookupResponse(route_indexes=range(len(numbers)))
        response.snapshot.id = "s"
        for number in numbers:
            response.routes.add(status=pb.STATUS_NOT_PORTED).operator.code = f"m{number}"
        return response.SerializeToString()

    def answer(self, batch: int = -1) -> None:
        """Let a batch be answered."""
        self._ends[batch].set_result(None)

    def fail(self, batch: int = -1) -> None:
        """Let a batch fail."""
        self._ends[batch].set_exception(ServiceError("it failed", code="INTERNAL"))

    def given_up(self, batch: int = -1) -> bool:
        """Return whether a batch was given up."""
        return self._ends[batch].cancelled()


@pytest.fixture
def service() -> Service:
    """Return a service that keeps what it gets."""
    return Service()


def gather(service: Service, **limits: object) -> Coalescer:
    """Return a coalescer in front of a service; it waits long by default."""
    return Coalescer(
        service.send,
        "t",
        Coalescing(**({"wait_seconds": 60.0} | limits)),
        with_range_holder=False,
        with_ported_at=False,
    )


async def turns(count: int = 5) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


def asking(coalescer: Coalescer, *numbers: int, seconds: float = 60.0) -> list[asyncio.Task]:
    """Begin a task per number."""

    async def ask(number: int) -> object:
        try:
            return await coalescer.ask(number, seconds)
        except asyncio.CancelledError:
            coalescer.abandoned()
            raise

    return [asyncio.ensure_future(ask(number)) for number in numbers]


def code(task: asyncio.Task) -> str:
    """Return the operator's code of a task's answer."""
    return task.result().route.operator.code


async def test_a_lone_number_is_sent_at_once(service) -> None:
    """While nothing is under way a number does not wait for others."""
    (task,) = asking(gather(service), 7)
    await turns()
    assert service.batches == [[7]]
    service.answer()
    await task
    assert code(task) == "m7"


async def test_numbers_of_one_moment_travel_together(service) -> None:
    """All tasks that ask in the same turn of the loop are in one batch, in their order."""
    tasks = asking(gather(service), *range(900))
    await turns()
    assert service.batches == [list(range(900))]
    service.answer()
    await asyncio.gather(*tasks)
    assert [code(task) for task in tasks] == [f"m{number}" for number in range(900)]


async def test_while_a_batch_is_under_way_others_gather(service) -> None:
    """What comes meanwhile waits, until the batch ends, it is full or has waited long enough."""
    coalescer = gather(service, numbers_max=3, in_flight_max=2)
    tasks = asking(coalescer, 1)
    await turns()
    tasks += asking(coalescer, 2, 3)
    await turns()
    assert service.batches == [[1]]
    tasks += asking(coalescer, 4)
    await turns()
    assert service.batches == [[1], [2, 3, 4]]
    tasks += asking(coalescer, 5, 6, 7, 8)
    await turns()
    assert len(service.batches) == 2
    service.answer(0)
    await turns()
    assert service.batches[2:] == [[5, 6, 7]]
    service.answer(1)
    service.answer(2)
    await turns()
    assert service.batches[3:] == [[8]]
    service.answer(3)
    await asyncio.gather(*tasks)


async def test_a_large_batch_leaves_the_loop_to_others(service) -> None:
    """The tasks of a batch are woken a few at a time; other tasks run in between."""
    tasks = asking(gather(service), *range(1_000))
    await turns()
    service.answer()
    done = [0]
    while done[-1] < len(tasks):
        await asyncio.sleep(0)
        done.append(sum(task.done() for task in tasks))
    assert max(after - before for before, after in pairwise(done)) <= TASKS_WOKEN_AT_ONCE


async def test_a_batch_given_up_while_it_is_handed_out(service) -> None:
    """A task cancelled while its batch is handed out takes nothing from the others."""
    coalescer = gather(service)
    tasks = asking(coalescer, *range(300))
    await turns()
    service.answer()
    while not tasks[0].done():  # noqa: ASYNC110 - turn by turn
        await asyncio.sleep(0)
    tasks[-1].cancel()
    await asyncio.wait(tasks)
    assert [code(task) for task in tasks[:-1]] == [f"m{number}" for number in range(299)]
    (task,) = asking(coalescer, 7)
    await turns()
    assert service.batches[-1] == [7]
    service.answer()
    await task


async def test_no_number_waits_longer_than_is_set(service) -> None:
    """A batch that is not full leaves after the time that is set, though another is under way."""
    coalescer = gather(service, wait_seconds=0.02)
    tasks = asking(coalescer, 1)
    await turns()
    tasks += asking(coalescer, 2)
    while len(service.batches) < 2:  # noqa: ASYNC110 - the stand-in announces nothing
        await asyncio.sleep(0.005)
    service.answer(0)
    service.answer(1)
    await asyncio.gather(*tasks)


async def test_a_cancelled_task_takes_nothing_from_the_others(service) -> None:
    """Before its number is sent it is left out; afterwards the others get their answers."""
    coalescer = gather(service)
    before = asking(coalescer, 1, 2, 3)
    await asyncio.sleep(0)
    before[1].cancel()
    await turns()
    after = asking(coalescer, 4, 5)
    await turns()
    service.answer()
    await turns()
    assert 2 not in service.batches[0] or before[1].cancelled()
    assert [code(before[0]), code(before[2])] == ["m1", "m3"]
    after[0].cancel()
    await turns()
    service.answer()
    await turns()
    assert after[0].cancelled()
    assert code(after[1]) == "m5"


async def test_a_batch_that_nobody_waits_for_is_given_up(service) -> None:
    """When all its tasks are cancelled, a batch makes room for others."""
    coalescer = gather(service, in_flight_max=1)
    tasks = asking(coalescer, 1, 2)
    await turns()
    waiting = asking(coalescer, 3)
    for task in tasks:
        task.cancel()
    await turns(10)
    assert service.given_up(0)
    assert service.batches == [[1, 2], [3]]
    service.answer()
    await asyncio.gather(*waiting)


async def test_each_task_has_its_own_deadline(service) -> None:
    """Of one batch, a task with a short deadline fails in time; the others are answered."""
    coalescer = gather(service)
    patient = asking(coalescer, 1, seconds=60.0)
    hasty = asking(coalescer, 2, seconds=0.05) + asking(coalescer, 3, seconds=0.02)
    begun = time.monotonic()
    for task in hasty:
        with pytest.raises(ServiceError, match=r"did not answer within 0\.0[25] s") as caught:
            await task
        assert caught.value.code == "DEADLINE_EXCEEDED"
    assert time.monotonic() - begun < 30
    assert service.timeouts[0] > 50
    service.answer()
    await asyncio.gather(*patient)


async def test_a_deadline_after_an_answered_later_one(service) -> None:
    """A timer set for a number that was answered holds up no earlier deadline."""
    coalescer = gather(service)
    first = asking(coalescer, 1, seconds=60.0)
    await turns()
    service.answer()
    await asyncio.gather(*first)
    (hasty,) = asking(coalescer, 2, seconds=0.02)
    async with asyncio.timeout(20):
        with pytest.raises(ServiceError, match="did not answer"):
            await hasty


async def test_deadlines_in_the_queue_are_kept(service) -> None:
    """A number that could not be sent in time fails, and is not sent any more."""
    coalescer = gather(service, in_flight_max=1)
    first = asking(coalescer, 1)
    await turns()
    late = asking(coalescer, 2, 3, seconds=0.02)
    for task in late:
        with pytest.raises(ServiceError, match="did not answer"):
            await task
    last = asking(coalescer, 4)
    service.answer()
    await turns()
    assert service.batches == [[1], [4]]
    service.answer()
    await asyncio.gather(*first, *last)


async def test_an_error_reaches_the_tasks_of_its_batch_only(service) -> None:
    """Each task of a failed batch gets an error of its own, those of another one their answers."""
    coalescer = gather(service, numbers_max=2)
    tasks = asking(coalescer, 1, 2, 3, 4)
    await turns()
    assert service.batches == [[1, 2], [3, 4]]
    service.fail(0)
    service.answer(1)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(each) for each in found[:2]] == ["it failed"] * 2
    assert found[0] is not found[1]
    assert [code(task) for task in tasks[2:]] == ["m3", "m4"]


async def test_nonsense_reaches_the_tasks_of_its_batch() -> None:
    """An answer that cannot be understood is an error for each task, and the client goes on."""

    async def send(request: bytes, seconds: float) -> bytes:
        return b"\xff"

    service = Service()
    service.send = send
    with pytest.raises(ServiceError, match="cannot be understood"):
        await gather(service).ask(1, 60.0)


async def test_flush_waits_for_all(service) -> None:
    """A flush sends what waits and ends when every task has its answer."""
    coalescer = gather(service, numbers_max=2, in_flight_max=1)
    tasks = asking(coalescer, 1, 2, 3)
    await turns()
    flushing = asyncio.ensure_future(coalescer.flush())
    await turns()
    assert not flushing.done()
    service.answer(0)
    await turns(10)
    service.answer(1)
    await flushing
    assert [code(task) for task in tasks] == ["m1", "m2", "m3"]


@pytest.mark.parametrize(
    "limits", [{"numbers_max": 0}, {"numbers_max": 500_001}, {"wait_seconds": -1.0}]
)
def test_limits_that_cannot_work_are_refused(limits) -> None:
    """A batch has 1 to 500,000 numbers, and no wait is negative."""
    with pytest.raises(ValueError, match="must"):
        Coalescing(**limits)


async def test_wrong_numbers_hurt_no_others(server, registry) -> None:
    """A wrong number is refused in the task that asks; the others are answered."""
    async with numroute.AsyncClient(server.target) as client:
        good, negative, large, flag = await asyncio.gather(
            client.lookup(FIRST),
            client.lookup(-1),
            client.lookup(2**64),
            client.lookup(True),  # noqa: FBT003 - the mistake
            return_exceptions=True,
        )
    assert good.status is registry.answer(FIRST)[0].status
    assert isinstance(negative, ValueError)
    assert isinstance(large, ValueError)
    assert isinstance(flag, TypeError)


async def test_close_answers_who_waits(server, registry) -> None:
    """Closing the client answers the single numbers that are waited for, and takes no more."""
    client = numroute.AsyncClient(server.target)
    await client.lookup(FIRST)
    numbers = list(range(FIRST, FIRST + 5_000))
    tasks = [asyncio.ensure_future(client.lookup(number)) for number in numbers]
    await asyncio.sleep(0)
    await client.close()
    answers = await asyncio.gather(*tasks)
    assert [answer.status for answer in answers] == [
        registry.answer(number)[0].status for number in numbers
    ]
    with pytest.raises(ServiceError, match="client is closed"):
        await client.lookup(FIRST)


async def test_an_answer_carries_its_number(server, registry) -> None:
    """Each answer names its number and prints its status; the route is decoded once."""
    ported = next(iter(registry.ported))
    async with numroute.AsyncClient(server.target) as client:
        first, second = await client.lookup(ported), await client.lookup(ported)
        unallocated = await client.lookup(1)
    assert (first.number, str(first.status)) == (ported, "PORTED")
    assert first.route is second.route
    assert (unallocated.number, f"{unallocated.status}", unallocated.route) == (
        1,
        "UNALLOCATED",
        None,
    )


@given(
    st.lists(
        st.tuples(st.integers(FIRST - 5, LAST + 5), st.booleans(), st.integers(0, 3)), max_size=60
    )
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_tasks_that_come_and_go(server, registry, asked) -> None:
    """A task that waits to the end gets the oracle's answer, whichever others give up."""

    async def run() -> None:
        async with numroute.AsyncClient(
            server.target, timeout=60.0, coalescing=Coalescing(numbers_max=7, in_flight_max=2)
        ) as client:
            kept = []
            for number, gives_up, pauses in asked:
                task = asyncio.ensure_future(client.lookup(number))
                for _ in range(pauses):
                    await asyncio.sleep(0)
                if gives_up:
                    task.cancel()
                else:
                    kept.append((number, task))
            for number, task in kept:
                assert (await task).status is registry.answer(number)[0].status

    asyncio.run(run())
