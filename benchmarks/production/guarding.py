"""``python -m benchmarks.production.guarding``: what metrics, tokens, limits and TLS cost.

One worker without any of it and one with some are asked in turns, a twentieth of a second each, by
the same client; every answer is compared with the right one. What is judged is the ratio of the two
rates, and beside it stand the processor times of the workers, which the client does not blur.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from benchmarks.children import BIN, end_on_sigterm, free_address, server
from benchmarks.figures import Figure, at_least, markdown
from benchmarks.machine import facts
from benchmarks.plans import ROOT
from benchmarks.production.protection import make_protection
from benchmarks.production.vintages import BULK, LARGE, ensure_vintages
from benchmarks.production.workers import processor_seconds
from numroute import wire
from numroute.client.channel import CALLS_IN_FLIGHT, OPTIONS
from numroute.errors import NumrouteError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.production.vintages import Question, Vintages

WORK = ROOT / ".benchmarks" / "guarding"
RESULTS = ROOT / "benchmarks" / "results"
PORTED = 200_000
START_SECONDS_MAX = 30.0
TIMEOUT_SECONDS = 30.0

CALLS_PER_TURN = {BULK: 200, LARGE: 16}
GUARDED_SHARE_MIN = 0.95
"""Of the bare service's rate, at batches of 1,000: metrics and auth cost at most 5 %."""

TLS_SHARE_MIN = 0.6
"""Of the bare service's rate, at batches of 65,536: TLS costs at most 40 % of bulk throughput."""


@dataclass(slots=True)
class Contestant:
    """A running service, and how fast it has been.

    Attributes:
        process: The worker's process id.
        call: ``BulkLookup``, serialised messages in and out.
        metadata: What each call sends along.
        rates: Calls per second, one per turn.
        processor: Seconds of processor time per call of the service, one per turn.
    """

    process: int
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes]
    metadata: tuple[tuple[str, str], ...]
    rates: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def turn(self, questions: Sequence[Question], calls: int, *, kept: bool) -> None:
        """Ask so many questions, a few at once, and check each answer."""
        under_way: deque[tuple[Question, grpc.Future[bytes]]] = deque()
        used, begin = processor_seconds(self.process), time.perf_counter()
        for number in range(calls):
            if len(under_way) == CALLS_IN_FLIGHT:
                _check(*under_way.popleft())
            question = questions[number % len(questions)]
            under_way.append(
                (
                    question,
                    self.call.future(
                        question.request, timeout=TIMEOUT_SECONDS, metadata=self.metadata
                    ),
                )
            )
        while under_way:
            _check(*under_way.popleft())
        if kept:
            self.rates.append(calls / (time.perf_counter() - begin))
            self.processor.append((processor_seconds(self.process) - used) / calls)


def _check(question: Question, call: grpc.Future[bytes]) -> None:
    if question.answered_by(call.result()) is None:
        raise ServiceError("a wrong answer", code="DATA_LOSS")


@contextlib.contextmanager
def contestant(
    store: Path, *words: str | Path, ca: Path | None, token: str
) -> Iterator[Contestant]:
    """Run one worker with these further words of its command line."""
    address = free_address()
    command: list[str | Path] = [
        *(BIN / "numroute", "serve", "--store", store, "--listen", address, "--workers", "1"),
        *words,
    ]
    with server(command) as child, contextlib.ExitStack() as stack:
        channel = (
            grpc.insecure_channel(address, options=OPTIONS)
            if ca is None
            else grpc.secure_channel(
                f"localhost:{address.rpartition(':')[2]}",
                grpc.ssl_channel_credentials(ca.read_bytes()),
                options=OPTIONS,
            )
        )
        stack.enter_context(channel)
        grpc.channel_ready_future(channel).result(START_SECONDS_MAX)
        call = channel.unary_unary(
            wire.method_path("BulkLookup"), request_serializer=None, response_deserializer=None
        )
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        yield Contestant(child.pid, call, metadata)


def measure(vintages: Vintages, rounds: int) -> list[Figure]:
    """Ask the bare service and each other one in turns."""
    figures: list[Figure] = []
    store = vintages.store
    with tempfile.TemporaryDirectory() as name:
        made = make_protection(Path(name))
        metrics = ("--metrics", "127.0.0.1:0")
        with contextlib.ExitStack() as stack:

            def run(*words: str | Path, secure: bool = False, known: bool = False) -> Contestant:
                return stack.enter_context(
                    contestant(
                        store,
                        *words,
                        ca=made.ca if secure else None,
                        token=made.token if known else "",
                    )
                )

            services = {
                "bare": run(),
                # What it differs by from the first is the error of the measurement.
                "bare again": run(),
                "metrics": run(*metrics),
                "metrics, tokens and limits": run(*metrics, *made.guards, known=True),
                "TLS": run(*made.tls, secure=True),
                "TLS, metrics, tokens and limits": run(
                    *metrics, *made.guards, *made.tls, secure=True, known=True
                ),
            }
            for kind, targets in (
                (BULK, {"metrics, tokens and limits": GUARDED_SHARE_MIN}),
                (LARGE, {"TLS": TLS_SHARE_MIN}),
            ):
                figures += _contest(services, vintages.questions[kind], kind, targets, rounds)
    return figures


def _contest(
    services: dict[str, Contestant],
    questions: Sequence[Question],
    kind: str,
    targets: dict[str, float],
    rounds: int,
) -> list[Figure]:
    calls = CALLS_PER_TURN[kind]
    for each in services.values():
        each.rates.clear()
        each.processor.clear()
        each.turn(questions, calls, kept=False)
    names, rng = list(services), random.Random(1)  # noqa: S311 - no secret
    for _ in range(rounds):
        # What a turn leaves behind in the caches would favour whoever always came after the same.
        rng.shuffle(names)
        for name in names:
            services[name].turn(questions, calls, kept=True)
    bare = services["bare"]
    section = f"{len(questions[0].numbers):,} numbers a call, {CALLS_IN_FLIGHT} calls under way"
    figures = [
        Figure(section=section, name="bare: rate", unit="calls/s", values=list(bare.rates)),
        Figure(
            section=section,
            name="bare: processor time of the service",
            unit="µs/call",
            values=[seconds * 1e6 for seconds in bare.processor],
        ),
    ]
    for name, each in services.items():
        if each is bare:
            continue
        shares = [mine / its for mine, its in zip(each.rates, bare.rates, strict=True)]
        more = [
            (mine - its) * 1e6 for mine, its in zip(each.processor, bare.processor, strict=True)
        ]
        target = at_least(targets[name]) if name in targets else None
        figures += [
            Figure(
                section=section,
                name=f"{name}: share of the bare rate",
                unit="",
                values=shares,
                target=target,
            ),
            Figure(
                section=section,
                name=f"{name}: more processor time",
                unit="µs/call",
                values=more,
            ),
        ]
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=WORK, help="folder for the store")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each service")
    parser.add_argument("--ported", type=int, default=PORTED, help="ported numbers in the store")
    parser.add_argument("--results", type=Path, help="folder for guarding.md and guarding.json")
    options = parser.parse_args(arguments)
    end_on_sigterm()
    try:
        figures = measure(ensure_vintages(options.work, options.ported), options.rounds)
    except NumrouteError as error:
        print(error, file=sys.stderr)
        return 1
    text = "\n".join(
        [
            "# What protection and observation cost",
            "",
            *(f"- {name}: {value}" for name, value in facts().items()),
            f"- {options.ported:,} ported numbers, one worker, {options.rounds} turns of each",
            "",
            markdown(figures),
        ]
    )
    print(text)
    if options.results is not None:
        options.results.mkdir(parents=True, exist_ok=True)
        (options.results / "guarding.md").write_text(text, "utf-8")
        document = {"facts": facts(), "figures": [figure.document() for figure in figures]}
        (options.results / "guarding.json").write_text(json.dumps(document, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
