"""Starting the service, and calls one by one: raw messages and the product's client."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import Material
from benchmarks.processes import drop_from_page_cache, run
from benchmarks.report import Figure, Side, beside, rounds, take_turns
from benchmarks.service.asking import contest, empty_service, make_questions, warm_service
from numroute import AsyncClient, Client
from numroute.plan.load import serving

BATCHES = (1, 1_000, 65_536, 262_144)
IN_FLIGHT = (1, 4)
CHUNKS = (65_536, 262_144)
CLIENT_NUMBERS = 2 * CHUNKS[-1]
TEXTS = 1_000
TICK_SECONDS = 0.001


def start(material: Material, seconds: float) -> Sequence[Figure]:
    """Time from the start of ``numroute serve`` to its first right answer."""
    imports = "Python imports grpc, numpy and lmdb"
    times: dict[str, list[float]] = {
        imports: [],
        "`numroute serve`, snapshot in the page cache": [],
        "`numroute serve`, snapshot not in the page cache": [],
    }
    for _ in rounds(seconds):
        for name, values in times.items():
            if name == imports:
                values.append(run(sys.executable, "-c", "import grpc, numpy, lmdb").seconds)
                continue
            if "not in" in name:
                drop_from_page_cache(material.snapshot)
            else:
                material.snapshot.read_bytes()
            questions = make_questions(material, 1, count=1)
            begin = time.perf_counter()
            with serving(material.store) as service, service.bulk_lookup() as call:
                questions.learn(call, material.truth)
                values.append(time.perf_counter() - begin)
    return beside("From the start to the first answer", times, unit="s")


def calls(material: Material, seconds: float) -> Sequence[Figure]:
    """Compare ``BulkLookup`` with an empty handler that reads and sends the same bytes."""
    figures: list[Figure] = []
    questions = {batch: make_questions(material, batch) for batch in BATCHES}
    with warm_service(material) as service, service.bulk_lookup() as call:
        for each in questions.values():
            each.learn(call, material.truth)
        with empty_service(*questions.values()) as (empty, empty_call):
            for in_flight in IN_FLIGHT:
                for batch, each in questions.items():
                    answer = next(iter(each.answers[0]))
                    stored = make_questions(material, batch, count=1)
                    stored.answers[0][answer] = ""
                    name = f"{batch:,} a batch: "
                    figures += contest(
                        f"`BulkLookup`, {in_flight} under way",
                        {
                            f"{name}empty handler, {in_flight} under way": (
                                empty,
                                stored.send(empty_call),
                            ),
                            f"{name}`BulkLookup`, {in_flight} under way": (
                                service,
                                each.send(call),
                            ),
                        },
                        in_flight=in_flight,
                        numbers=batch,
                        seconds=seconds / len(BATCHES) / len(IN_FLIGHT),
                    )
    return figures


def client(material: Material, seconds: float) -> Sequence[Figure]:
    """Ask with the product's client: a large batch, the same over a stream, and texts."""
    numbers = material.draw(CLIENT_NUMBERS)
    batches = np.split(numbers, CLIENT_NUMBERS // CHUNKS[0])
    texts = [f"+{number}" for number in numbers[:TEXTS].tolist()]

    def right(found: Any) -> None:  # noqa: ANN401 - answers of one call or of several
        for asked, answer in zip(batches if len(found) > 1 else [numbers], found, strict=True):
            material.truth.check(asked, answer.route_index, answer.routes)

    def right_texts(found: Any) -> None:  # noqa: ANN401 - one answer per text
        material.truth.check(
            numbers[:TEXTS], np.arange(TEXTS), [each.route or each for each in found]
        )

    with contextlib.ExitStack() as stack:
        service = stack.enter_context(warm_service(material))
        asking = {
            chunk: stack.enter_context(Client(service.address, timeout=60, numbers_per_chunk=chunk))
            for chunk in CHUNKS
        }
        sides = {
            f"`Client.lookup`, {chunk:,} numbers a call": Side(
                run=functools.partial(lambda client: [client.lookup(numbers)], each),
                check=right,
                count=CLIENT_NUMBERS,
            )
            for chunk, each in asking.items()
        }
        sides |= {
            f"`Client.stream`, batches of {CHUNKS[0]:,}": Side(
                run=lambda: list(asking[CHUNKS[0]].stream(batches)),
                check=right,
                count=CLIENT_NUMBERS,
            ),
            f"`Client.lookup_text` of {TEXTS:,} texts": Side(
                run=lambda: asking[CHUNKS[0]].lookup_text(texts), check=right_texts, count=TEXTS
            ),
        }
        figures = take_turns(
            "The product's client", sides, unit="ns/number", scale=1e9, seconds=seconds / 2
        )
        holds = asyncio.run(_holds(service.address, numbers, seconds / 2))
    return [*figures, *beside("Longest wait of an event loop", holds, unit="ms")]


async def _holds(
    address: str, numbers: NDArray[np.uint64], seconds: float
) -> dict[str, list[float]]:
    """Return by how much a timer is late at most, beside large batches and without them."""
    holds: dict[str, list[float]] = {"idle": [], "beside `AsyncClient.lookup`": []}
    async with AsyncClient(address, timeout=60) as asking:
        expected = (await asking.lookup(numbers)).route_index
        for _ in rounds(seconds):
            for late in holds.values():
                late.append(0.0)
                lookup = asyncio.ensure_future(asking.lookup(numbers))
                if late is holds["idle"]:
                    await lookup
                end = time.perf_counter() + max(10 * TICK_SECONDS, seconds / 20)
                while time.perf_counter() < end or not lookup.done():
                    begin = time.perf_counter()
                    await asyncio.sleep(TICK_SECONDS)
                    late[-1] = max(late[-1], (time.perf_counter() - begin - TICK_SECONDS) * 1e3)
                assert np.array_equal((await lookup).route_index, expected)
    return holds
