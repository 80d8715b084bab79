"""Lookups over gRPC: one server process, one client process, beside an empty handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.asking import CLIENT, IN_FLIGHT, ONE_BY_ONE, UNREAD, Contest, turns_of
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.queries import MOBILE_MIX, load_queries, load_truth
from benchmarks.services import TIMEOUT_SECONDS, empty_service, numroute_serve
from benchmarks.timing import take_turns
from numroute.client.channel import CALLS_IN_FLIGHT

if TYPE_CHECKING:
    from benchmarks.asking import Batches, Exchange, Way
    from benchmarks.figures import Target
    from benchmarks.services import Service
    from benchmarks.speed.options import Options
    from benchmarks.timing import Pair

NUMBERS_PER_CALL = 65_536
CALLS_PER_TURN = 16
SMALL_BATCHES = (1, 100, 1_000)
SMALL_CALLS_PER_TURN = 100
"""Turns are kept short, a twentieth of a second: what disturbs one side soon disturbs the other."""

ROUNDS_TIMES = 5
"""Turns so short vary more, so that there must be more of them."""

SECTION_LARGE = f"gRPC, {NUMBERS_PER_CALL:,} numbers a call, {CALLS_IN_FLIGHT} calls under way"
SECTION_SMALL = "gRPC, small calls"
LARGE_WAYS = {
    IN_FLIGHT: "requests made and answers read into arrays",
    CLIENT: CLIENT.name,
    UNREAD: UNREAD.name,
}

SHARE_MIN = 0.4
MILLIONS_PER_SECOND_MIN = 20.0
TIMES_EMPTY_MAX = 1.25


def measure(options: Options) -> list[Figure]:
    """Time the service and the empty handler in turn; this process is the client of both."""
    queries = load_queries(options.work, MOBILE_MIX)
    large = turns_of(queries, NUMBERS_PER_CALL, CALLS_PER_TURN)
    small = [turns_of(queries, size, SMALL_CALLS_PER_TURN) for size in SMALL_BATCHES]
    rounds = options.rounds * ROUNDS_TIMES
    with numroute_serve(options.store) as service:
        exchanges = {
            turns[0].numbers.shape[1]: _exchange(service, turns[0]) for turns in (large, *small)
        }
        with empty_service(options.work / "exchanges", dict(exchanges.values())) as empty:
            contest = Contest(service, empty, exchanges, load_truth(options.work))
            figures = _large(contest, large, rounds)
            for turns in small:
                figures += _small(contest, turns, rounds)
    return figures


def _exchange(service: Service, batches: Batches) -> Exchange:
    """Return a request and the service's answer to it."""
    request = batches.requests[0]
    return request, service.call(request, timeout=TIMEOUT_SECONDS)


def _large(contest: Contest, turns: list[Batches], rounds: int) -> list[Figure]:
    pairs: dict[Way, Pair] = {
        way: contest.pair(way, turns, count=turns[0].numbers.size) for way in LARGE_WAYS
    }
    take_turns(list(pairs.values()), rounds)
    figures = []
    for way, pair in pairs.items():
        judged = way is IN_FLIGHT
        figures += [
            _rate(f"{LARGE_WAYS[way]}: empty handler", pair.yardstick_seconds),
            _rate(
                f"{LARGE_WAYS[way]}: `BulkLookup`",
                pair.subject_seconds,
                at_least(MILLIONS_PER_SECOND_MIN) if judged else None,
            ),
            Figure(
                section=SECTION_LARGE,
                name=f"{LARGE_WAYS[way]}: share of the empty handler's rate",
                unit="",
                values=pair.speed_shares(),
                target=at_least(SHARE_MIN) if judged else None,
            ),
        ]
    return figures


def _rate(name: str, seconds_per_number: list[float], target: Target | None = None) -> Figure:
    return Figure(
        section=SECTION_LARGE,
        name=name,
        unit="million numbers/s",
        values=[1 / seconds / 1e6 for seconds in seconds_per_number],
        target=target,
    )


def _small(contest: Contest, turns: list[Batches], rounds: int) -> list[Figure]:
    count, size = turns[0].numbers.shape
    pairs: dict[Way, Pair] = {
        way: contest.pair(way, turns, count=count) for way in (ONE_BY_ONE, IN_FLIGHT)
    }
    take_turns(list(pairs.values()), rounds)
    figures = []
    for way, pair in pairs.items():
        what = f"{size:,} number{'s' * (size > 1)} a call, {way.name}"
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
