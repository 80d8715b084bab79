"""Lookups over gRPC: one server process, one client process, beside an empty handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import asking
from benchmarks.asking import Answers, Batches, Fixed
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.queries import MOBILE_MIX, load_queries, load_truth
from benchmarks.services import (
    TIMEOUT_SECONDS,
    Service,
    bulk_request,
    empty_service,
    numroute_serve,
)
from benchmarks.timing import Pair, Side, take_turns
from numroute.client.channel import CALLS_IN_FLIGHT

if TYPE_CHECKING:
    from benchmarks.figures import Target
    from benchmarks.speed.options import Options

NUMBERS_PER_CALL = 65_536
SMALL_BATCHES = (1, 100, 1_000)
CALLS_PER_TURN = 500
"""A small call is too short to be timed alone."""

SECTION_LARGE = f"gRPC, {NUMBERS_PER_CALL:,} numbers a call, {CALLS_IN_FLIGHT} calls under way"
SECTION_SMALL = "gRPC, small calls"

SHARE_MIN = 0.4
MILLIONS_PER_SECOND_MIN = 20.0
TIMES_EMPTY_MAX = 1.25


def measure(options: Options) -> list[Figure]:
    """Time the service and the empty handler in turn; this process is the client of both."""
    queries = load_queries(options.work, MOBILE_MIX)
    answers = Answers(load_truth(options.work))
    large = Batches.of(queries, NUMBERS_PER_CALL, len(queries.numbers))
    small = [Batches.of(queries, size, CALLS_PER_TURN) for size in SMALL_BATCHES]
    with numroute_serve(options.store) as service:
        stored = {batches.size: _exchange(service, batches) for batches in (large, *small)}
        with empty_service(options.work / "exchanges", dict(stored.values())) as empty:
            contest = _Contest(service, empty, stored, answers)
            figures = _large(contest, large, options.rounds)
            for batches in small:
                figures += _small(contest, batches, options.rounds)
    return figures


class _Contest:
    """Makes pairs of the service and the empty handler, asked in the same way."""

    def __init__(
        self,
        service: Service,
        empty: Service,
        stored: dict[int, tuple[bytes, bytes]],
        answers: Answers,
    ) -> None:
        self._service = service
        self._empty = empty
        self._answers = answers
        self._fixed = {size: Fixed(answer, size) for size, (_, answer) in stored.items()}

    def one_by_one(self, batches: Batches) -> Pair:
        return Pair(
            yardstick=Side(
                run=lambda: asking.ask_one_by_one(self._empty, batches),
                check=self._fixed[batches.size].check,
                count=len(batches.numbers),
            ),
            subject=Side(
                run=lambda: asking.ask_one_by_one(self._service, batches),
                check=lambda chunks: self._answers.check(batches, chunks),
                count=len(batches.numbers),
            ),
        )

    def in_flight(self, batches: Batches) -> Pair:
        return Pair(
            yardstick=Side(
                run=lambda: asking.ask_in_flight(self._empty, batches),
                check=self._fixed[batches.size].check,
                count=len(batches.numbers),
            ),
            subject=Side(
                run=lambda: asking.ask_in_flight(self._service, batches),
                check=lambda chunks: self._answers.check(batches, chunks),
                count=len(batches.numbers),
            ),
        )

    def unread(self, batches: Batches) -> Pair:
        requests = list(map(bulk_request, batches.numbers))
        return Pair(
            yardstick=Side(
                run=lambda: asking.send_in_flight(self._empty, requests),
                check=self._fixed[batches.size].check_bytes,
                count=len(requests),
            ),
            subject=Side(
                run=lambda: asking.send_in_flight(self._service, requests),
                check=lambda responses: self._answers.check_bytes(batches, responses),
                count=len(requests),
            ),
        )

    def client(self, batches: Batches) -> Pair:
        return Pair(
            yardstick=Side(
                run=lambda: asking.ask_with_client(self._empty, batches),
                check=self._fixed[batches.size].check_answer,
                count=len(batches.numbers),
            ),
            subject=Side(
                run=lambda: asking.ask_with_client(self._service, batches),
                check=lambda answer: self._answers.check_answer(batches, answer),
                count=len(batches.numbers),
            ),
        )


def _exchange(service: Service, batches: Batches) -> tuple[bytes, bytes]:
    """Return a request and the service's answer to it."""
    request = bulk_request(batches.numbers[0])
    return request, service.call(request, timeout=TIMEOUT_SECONDS)


def _large(contest: _Contest, batches: Batches, rounds: int) -> list[Figure]:
    pairs = {
        "requests made and answers read into arrays": contest.in_flight(batches),
        "the whole `numroute.Client`": contest.client(batches),
        "stored requests, answers left unread": contest.unread(batches),
    }
    take_turns(list(pairs.values()), rounds)
    figures = []
    for way, pair in pairs.items():
        asked_for = way == next(iter(pairs))
        figures += [
            _rate(f"empty handler; {way}", pair.yardstick_seconds),
            _rate(
                f"`BulkLookup`; {way}",
                pair.subject_seconds,
                at_least(MILLIONS_PER_SECOND_MIN) if asked_for else None,
            ),
            Figure(
                section=SECTION_LARGE,
                name=f"share of the empty handler's rate; {way}",
                unit="",
                values=pair.speed_shares(),
                target=at_least(SHARE_MIN) if asked_for else None,
            ),
        ]
    return figures


def _rate(name: str, seconds_per_call: list[float], target: Target | None = None) -> Figure:
    return Figure(
        section=SECTION_LARGE,
        name=name,
        unit="million numbers/s",
        values=[NUMBERS_PER_CALL / seconds / 1e6 for seconds in seconds_per_call],
        target=target,
    )


def _small(contest: _Contest, batches: Batches, rounds: int) -> list[Figure]:
    pairs = {
        "one after the other": contest.one_by_one(batches),
        f"{CALLS_IN_FLIGHT} under way": contest.in_flight(batches),
    }
    take_turns(list(pairs.values()), rounds)
    figures = []
    for way, pair in pairs.items():
        what = f"{batches.size:,} number{'s' * (batches.size > 1)} a call, {way}"
        figures += [
            _microseconds(f"{what}: empty handler", pair.yardstick_seconds),
            _microseconds(f"{what}: `BulkLookup`", pair.subject_seconds),
            Figure(
                section=SECTION_SMALL,
                name=f"{what}: times the empty handler's time",
                unit="",
                values=pair.time_ratios(),
                target=at_most(TIMES_EMPTY_MAX),
            ),
        ]
    return figures


def _microseconds(name: str, seconds_per_call: list[float]) -> Figure:
    return Figure(
        section=SECTION_SMALL,
        name=name,
        unit="µs/call",
        values=[seconds * 1e6 for seconds in seconds_per_call],
    )
