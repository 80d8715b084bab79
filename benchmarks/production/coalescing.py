"""``python -m benchmarks.production.coalescing``: single numbers gathered, and batches on a stream.

Single numbers are looked up from one asyncio program in two ways, by turns, against one service:
one unary call per number as a program without the gathering client makes it (the yardstick), and
with the gathering client, as fast as it can and at shares of that rate. There a number comes when
it comes and does not wait for another's answer. In each way a task is made for every number.

Batches are looked up with ``lookup``, a unary call each, and with ``stream``, as many under way.

Every answer is compared with the right one. What the benchmark itself holds is frozen
(``gc.freeze``) or kept in arrays of plain numbers: the garbage collector would walk through it in
the middle of a call, for 10 ms and more. A program that wants short latencies does the same.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from benchmarks.children import end_on_sigterm
from benchmarks.figures import Figure, at_least, at_most, markdown
from benchmarks.machine import CpuUse, facts
from benchmarks.production import streaming
from benchmarks.production.singles import as_fast_as_it_goes, at_rate
from benchmarks.services import OPTIONS, numroute_serve
from benchmarks.small import make_small
from benchmarks.yardsticks.socket_echo import socket_echo
from numroute.client import AsyncClient
from numroute.plan.table import OTHERS_SHARE_MAX
from numroute.v1 import number_routing_pb2 as pb
from numroute.v1 import number_routing_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from benchmarks.production.singles import Rate
    from benchmarks.small import Small

UNARY_TASKS = 32
"""Tasks that make unary calls: more do not make it faster, and gRPC refuses some of many more."""

GATHERING_TASKS = 4_000
"""Tasks that share the gathering client."""

SHARES = (0.1, 0.25, 0.5)
"""Of the gathering client's highest rate: how much it is asked while latencies are taken."""

JUDGED_SHARE = 0.5
TIMES_UNARY_MIN = 20.0
P99_MILLISECONDS_MAX = 5.0
TIMEOUT_SECONDS = 5.0
SECTION = "Single numbers from one asyncio program"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was found; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each way is measured")
    parser.add_argument("--results", type=Path, help="folder for coalescing.md and coalescing.json")
    options = parser.parse_args(arguments)
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as folder:
        small = make_small(Path(folder))
        before = CpuUse.now()
        figures = measure(small, options.rounds, options.seconds)
        others = CpuUse.now().others_share(before)
    document = {
        "facts": facts(),
        "others_cpu_share": others,
        "figures": [figure.document() for figure in figures],
    }
    text = "\n".join(
        [
            "# Single numbers gathered into batches, and batches on a stream",
            "",
            *(f"- {name}: {value}" for name, value in facts().items()),
            f"- one worker, {options.rounds} rounds, each way {options.seconds:g} s a round",
            f"- CPU time that other processes used meanwhile: {others:.0%}",
            "",
            *_warning(others),
            markdown(figures),
        ]
    )
    print(text)
    if options.results is not None:
        options.results.mkdir(parents=True, exist_ok=True)
        (options.results / "coalescing.md").write_text(text, "utf-8")
        (options.results / "coalescing.json").write_text(
            json.dumps(document, indent=1) + "\n", "utf-8"
        )
    return 0


def _warning(others: float) -> list[str]:
    if others <= OTHERS_SHARE_MAX:
        return []
    return ["**Other work was running: these figures are not clean.**", ""]


def measure(small: Small, rounds: int, seconds: float) -> list[Figure]:
    """Measure so many rounds, each way for so many seconds."""
    with numroute_serve(small.store.path) as service:
        singles = asyncio.run(_singles(small, service.address, rounds, seconds))
        return [*singles, *asyncio.run(streaming.measure(small, service.address, rounds, seconds))]


async def _singles(small: Small, address: str, rounds: int, seconds: float) -> list[Figure]:
    unary: list[float] = []
    gathered: list[float] = []
    loaded: dict[float, list[Rate]] = {share: [] for share in SHARES}
    echoed: list[Rate] = []
    async with (
        grpc.aio.insecure_channel(address, options=OPTIONS) as channel,
        AsyncClient(address) as client,
    ):
        stub = pb_grpc.NumberRoutingStub(channel)

        def call(number: int) -> Awaitable[pb.BulkLookupResponse]:
            made: Awaitable[pb.BulkLookupResponse] = stub.BulkLookup(
                pb.BulkLookupRequest(numbers=[number]), timeout=TIMEOUT_SECONDS
            )
            return made

        numbers = small.queries.numbers.tolist()
        answers = await asyncio.gather(*map(client.lookup, numbers))
        known = dict(zip(numbers, answers, strict=True))
        async with socket_echo(known) as echo:
            gc.collect()
            gc.freeze()
            for _ in range(rounds):
                unary.append(await as_fast_as_it_goes(small, call, UNARY_TASKS, seconds))
                gathered.append(
                    await as_fast_as_it_goes(small, client.lookup, GATHERING_TASKS, seconds)
                )
                for share, found in loaded.items():
                    found.append(await at_rate(small, client.lookup, gathered[-1] * share, seconds))
                judged = gathered[-1] * JUDGED_SHARE
                echoed.append(await at_rate(small, echo.ask, judged, seconds))
    return [*_rates(unary, gathered), *_latencies(loaded), *_echoed(echoed)]


def _rates(unary: Sequence[float], gathered: Sequence[float]) -> Iterable[Figure]:
    times = [many / one for one, many in zip(unary, gathered, strict=True)]
    yield Figure(section=SECTION, name="a unary call each", unit="numbers/s", values=unary)
    yield Figure(section=SECTION, name="gathered", unit="numbers/s", values=gathered)
    yield Figure(
        section=SECTION,
        name="gathered, in times of unary calls",
        unit="",
        values=times,
        target=at_least(TIMES_UNARY_MIN),
    )


def _latencies(loaded: dict[float, list[Rate]]) -> Iterable[Figure]:
    for share, found in loaded.items():
        name = f"gathered, at {share:.0%} of that rate"
        yield Figure(
            section=SECTION, name=name, unit="numbers/s", values=[each.reached for each in found]
        )
        for what, rank in (("median", 50), ("p99", 99)):
            judged = rank == 99 and share == JUDGED_SHARE
            yield Figure(
                section=SECTION,
                name=f"{name}: {what}",
                unit="ms",
                values=[each.milliseconds(rank) for each in found],
                target=at_most(P99_MILLISECONDS_MAX) if judged else None,
            )
        yield Figure(
            section=SECTION,
            name=f"{name}: of it, the program's own lateness in asking, p99",
            unit="ms",
            values=[each.late_milliseconds(99) for each in found],
        )


def _echoed(found: Sequence[Rate]) -> Iterable[Figure]:
    name = f"yardstick: the same tasks and a bare socket's echo, at {JUDGED_SHARE:.0%} of that rate"
    for what, rank in (("median", 50), ("p99", 99), ("p99.9", 99.9)):
        yield Figure(
            section=SECTION,
            name=f"{name}: {what}",
            unit="ms",
            values=[each.milliseconds(rank) for each in found],
        )


if __name__ == "__main__":
    sys.exit(main())
