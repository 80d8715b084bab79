"""Lookups over gRPC over the batch size, beside an empty handler and beside an answer in rows."""

from __future__ import annotations

from collections import deque
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.asking import IN_FLIGHT, ONE_BY_ONE, Contest, turns_of
from benchmarks.queries import MOBILE_MIX, load_queries, load_truth
from benchmarks.services import TIMEOUT_SECONDS, empty_service, numroute_serve, row_service
from benchmarks.suite.prepare import store_of
from benchmarks.suite.results import Row, in_turn, rows_against
from benchmarks.timing import Side
from numroute import wire
from numroute.client.channel import CALLS_IN_FLIGHT
from numroute.client.codec import Values, bulk_response
from numroute.model import Status
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.asking import Batches
    from benchmarks.oracle import Truth
    from benchmarks.services import Service
    from benchmarks.suite.scale import Scale

EMPTY = "empty handler"
BULK = "`BulkLookup`"
ROWS = "answer in rows"

NUMBERS_PER_TURN = 1 << 20
CALLS_PER_TURN_MAX = 50
ROW_BATCH_MAX = 10_000
"""A row takes some 200 bytes: more rows do not fit into a message that the client reads."""

PROCESS_BATCHES = (1_000, 65_536)
PROCESS_CALLS_IN_FLIGHT = 2 * CALLS_IN_FLIGHT


def over_batches(scale: Scale) -> list[Row]:
    """Measure calls one after the other and several under way, over the batch size."""
    folder, store = scale.folder(scale.main), store_of(scale, scale.main)
    queries, truth = load_queries(folder, MOBILE_MIX), load_truth(folder)
    rows: list[Row] = []
    all_turns = {
        batch: turns_of(queries, batch, max(1, min(CALLS_PER_TURN_MAX, NUMBERS_PER_TURN // batch)))
        for batch in scale.batches
    }
    with numroute_serve(store) as service, row_service(store) as in_rows:
        exchanges = {
            batch: (
                turns[0].requests[0],
                service.call(turns[0].requests[0], timeout=TIMEOUT_SECONDS),
            )
            for batch, turns in all_turns.items()
        }
        with empty_service(folder / "exchanges", dict(exchanges.values())) as empty:
            contest = Contest(service, empty, exchanges, truth)
            for batch, turns in all_turns.items():
                for way in (ONE_BY_ONE, IN_FLIGHT):
                    pair = contest.pair(way, turns, count=turns[0].numbers.size)
                    sides = {EMPTY: pair.yardstick, BULK: pair.subject}
                    if way is ONE_BY_ONE and batch <= ROW_BATCH_MAX:
                        sides[ROWS] = _row_side(in_rows, turns, truth)
                    rows += rows_against(
                        f"gRPC, over batch size, {way.name}",
                        EMPTY,
                        in_turn(sides, scale.grpc_rounds),
                        label=f", {batch:,} a call",
                        where={"batch": batch, "ported": scale.main, "way": way.name},
                    )
    return rows


def over_processes(scale: Scale) -> list[Row]:
    """Measure one server process and two, asked by one client process that reads nothing."""
    folder, store = scale.folder(scale.main), store_of(scale, scale.main)
    queries, truth = load_queries(folder, MOBILE_MIX), load_truth(folder)
    rows: list[Row] = []
    with numroute_serve(store) as first, numroute_serve(store) as second:
        for batch in PROCESS_BATCHES:
            calls = max(1, min(CALLS_PER_TURN_MAX * 2, NUMBERS_PER_TURN // batch))
            turns = turns_of(queries, batch, calls)
            sides = {
                "1 server process": _spread_side([first], turns, truth),
                "2 server processes": _spread_side([first, second], turns, truth),
            }
            rows += rows_against(
                f"gRPC, server processes, {PROCESS_CALLS_IN_FLIGHT} calls under way",
                "1 server process",
                in_turn(sides, scale.grpc_rounds),
                label=f", {batch:,} a call",
                where={"batch": batch, "ported": scale.main},
            )
    return rows


def check_response(truth: Truth, values: Values, expected: Any, response: bytes) -> None:  # noqa: ANN401 - uint32[n]
    """Compare a serialised answer with the oracle's, uint32[n]."""
    chunk = bulk_response(response, len(expected), with_range_holder=False, with_ported_at=False)
    truth.check(expected, chunk.route_indexes, list(map(values.route, chunk.routes)))


def _spread_side(services: Sequence[Service], turns: Sequence[Batches], truth: Truth) -> Side:
    """Return calls that go to the services in turn, several under way."""
    coming = cycle(turns)
    values = Values()

    def run() -> tuple[Batches, list[bytes]]:
        batches = next(coming)
        under_way: deque[Any] = deque()
        responses = []
        for service, request in zip(cycle(services), batches.requests, strict=False):
            if len(under_way) == PROCESS_CALLS_IN_FLIGHT:
                responses.append(under_way.popleft().result())
            under_way.append(service.call.future(request, timeout=TIMEOUT_SECONDS))
        return batches, responses + [call.result() for call in under_way]

    def check(found: tuple[Batches, list[bytes]]) -> None:
        batches, responses = found
        for expected, response in zip(batches.expected, responses, strict=True):
            check_response(truth, values, expected, response)

    return Side(run=run, check=check, count=turns[0].numbers.size)


def _row_side(service: Service, turns: Sequence[Batches], truth: Truth) -> Side:
    """Return calls one after the other whose answers are rows, parsed as any client does."""
    coming = cycle(turns)

    def run() -> tuple[Batches, list[pb.LookupResponse]]:
        batches = next(coming)
        return batches, [
            pb.LookupResponse.FromString(service.call(request, timeout=TIMEOUT_SECONDS))
            for request in batches.requests
        ]

    def check(found: tuple[Batches, list[pb.LookupResponse]]) -> None:
        batches, responses = found
        routes: dict[tuple[int, bytes], int] = {}
        # The clock has stopped: one batch of a turn is compared number by number.
        answers = responses[0].answers
        assert [len(response.answers) for response in responses] == [len(answers)] * len(responses)
        assert [answer.number for answer in answers] == batches.numbers[0].tolist()
        kinds = [(answer.status, answer.route.SerializeToString()) for answer in answers]
        indexes = np.array([routes.setdefault(kind, len(routes)) for kind in kinds])
        known = [
            wire.route_value(pb.Route.FromString(data), status=Status(status))
            for status, data in routes
        ]
        truth.check(batches.expected[0], indexes, known)

    return Side(run=run, check=check, count=turns[0].numbers.size)
