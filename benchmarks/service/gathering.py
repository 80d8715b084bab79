"""Single numbers from thousands of asyncio tasks, which the client gathers into batches."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.material import Material
from benchmarks.processes import module_server
from benchmarks.report import Figure, beside, rounds
from benchmarks.yardsticks import socket_echo
from benchmarks.yardsticks.socket_echo import SocketEcho
from numroute import AsyncClient
from numroute.plan.load import serving

TASKS = 4_000
UNARY_TASKS = 200
PACED_SECONDS = 0.5
PACED_SHARE = 0.25
"""Latencies are taken at this share of the rate at which all tasks were answered at once."""

TICK_SECONDS = 0.001

Lookup = Callable[[int], Awaitable[Any]]


def gathered(material: Material, seconds: float) -> Sequence[Figure]:
    """Compare gathered numbers with a bare socket, and with a call for each number."""
    numbers = material.draw(TASKS)
    with serving(material.store) as service, module_server(socket_echo.__name__) as (echo, _):
        return asyncio.run(_measure(material, numbers.tolist(), service.address, echo, seconds))


async def _measure(
    material: Material, numbers: list[int], address: str, echo: str, seconds: float
) -> list[Figure]:
    host, port = echo.rsplit(":", 1)
    transport, socket = await asyncio.get_running_loop().create_connection(
        SocketEcho, host, int(port)
    )
    async with AsyncClient(address) as client:

        async def unary(number: int) -> Any:  # noqa: ANN401 - a bulk answer
            return await client.lookup([number])

        ways: dict[str, tuple[Lookup, int]] = {
            "echo of a bare socket": (socket.lookup, TASKS),
            "`AsyncClient.lookup`, gathered": (client.lookup, TASKS),
            "a call for each number": (unary, UNARY_TASKS),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        waits: dict[str, list[float]] = {
            f"{name}, p99": [] for name, (_, tasks) in ways.items() if tasks == TASKS
        }
        for round_ in itertools.chain([-1], rounds(seconds)):
            for name, (lookup, tasks) in ways.items():
                begin = time.perf_counter()
                answers = await asyncio.gather(*map(lookup, numbers[:tasks]))
                spent = (time.perf_counter() - begin) / tasks
                if name.startswith("`AsyncClient"):
                    _check(material, numbers, answers)
                if round_ >= 0:
                    times[name].append(spent * 1e9)
            rate = PACED_SHARE / (times["`AsyncClient.lookup`, gathered"] or [1e6])[-1] * 1e9
            for name, values in waits.items() if round_ >= 0 else ():
                lookup, _ = ways[name.removesuffix(", p99")]
                values.append(1e3 * await _paced_p99(lookup, numbers, rate))
    transport.close()
    section = f"Single numbers from {TASKS:,} tasks"
    return [
        *beside(section, times, unit="ns/number"),
        *beside(f"{section}, at a quarter of that rate", waits, unit="ms"),
    ]


async def _paced_p99(lookup: Lookup, numbers: list[int], rate: float) -> float:
    """Start tasks by the clock, answered or not; return the p99 from when each was due."""
    due = np.arange(max(100, round(rate * PACED_SECONDS))) / rate
    waited = np.zeros(len(due))

    async def ask(place: int, begin: float) -> None:
        await lookup(numbers[place % len(numbers)])
        waited[place] = time.perf_counter() - begin - due[place]

    begin, started = time.perf_counter(), 0
    async with asyncio.TaskGroup() as tasks:
        while started < len(due):
            now = int(np.searchsorted(due, time.perf_counter() - begin, side="right"))
            for place in range(started, now):
                tasks.create_task(ask(place, begin))
            started = now
            await asyncio.sleep(TICK_SECONDS)
    return float(np.quantile(waited, 0.99))


def _check(material: Material, numbers: list[int], answers: Sequence[Any]) -> None:
    """Assert that each task got the answer to its own number."""
    routes = [each.route or each for each in answers]
    material.truth.check(np.array(numbers, np.uint64), np.arange(len(routes)), routes)
