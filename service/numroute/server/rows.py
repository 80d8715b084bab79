"""A row answer: a few texts in any human format, each answered by a message of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from numroute import e164, wire
from numroute.model import Operator, Status
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.index import Snapshot
    from numroute.server.served import ServedSnapshot

PIECE_TEXTS = 64
"""How many texts are answered before other requests get their turn: about 2 ms."""

_NOBODY = Operator()
_WITH_ROUTE = frozenset({Status.PORTED, Status.NOT_PORTED})


async def row_answers(
    served: ServedSnapshot, texts: Sequence[str], default_region: str | None
) -> pb.LookupResponse:
    """Return one answer per text, in order.

    The caller holds a lease on ``served`` until this returns.
    """
    response = pb.LookupResponse(snapshot=wire.snapshot_ref_message(served.ref()))
    for start in range(0, len(texts), PIECE_TEXTS):
        if start:
            await asyncio.sleep(0)
        piece = texts[start : start + PIECE_TEXTS]
        response.answers.extend(_piece_answers(served.snapshot, piece, default_region))
    return response


def _piece_answers(
    snapshot: Snapshot, texts: Sequence[str], default_region: str | None
) -> list[pb.LookupAnswer]:
    parsed = [e164.parse(text, default_region) for text in texts]
    numbers = np.array([each.number for each in parsed], np.uint64)
    columns = snapshot.lookup(numbers, ported_at=True, range_route=True)
    rows = columns.route.tolist()
    times = [0] * len(rows) if columns.ported_at is None else columns.ported_at.tolist()
    range_rows = rows if columns.range_route is None else columns.range_route.tolist()
    answers = []
    for text, each, row, ported_at, range_row in zip(
        texts, parsed, rows, times, range_rows, strict=True
    ):
        route = snapshot.route(row)
        range_holder = snapshot.route(range_row).operator
        answers.append(
            pb.LookupAnswer(
                input=text,
                number=each.number,
                status=pb.Status.Name(route.status),
                invalid_reason=pb.InvalidReason.Name(each.reason),
                route=wire.route_message(route, with_status=False)
                if route.status in _WITH_ROUTE
                else None,
                ported_at=Timestamp(seconds=ported_at) if ported_at else None,
                range_holder=None
                if range_holder == _NOBODY
                else wire.operator_message(range_holder),
            )
        )
    return answers
