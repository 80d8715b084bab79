"""A bulk answer: columns of bytes, joined without a message object per number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from numroute import wire
from numroute.index.kernel import distinct_rows
from numroute.index.snapshot import Answers
from numroute.server.view import View
from numroute.v1 import number_routing_pb2 as pb

PIECE_NUMBERS = 131_072
"""How many numbers are looked up between two checks that somebody still waits: some 5 ms."""

_ROUTE_INDEXES = pb.BulkLookupResponse.ROUTE_INDEXES_FIELD_NUMBER
_HOLDER_INDEXES = pb.BulkLookupResponse.RANGE_HOLDER_INDEXES_FIELD_NUMBER
_PORTED_AT = pb.BulkLookupResponse.PORTED_AT_FIELD_NUMBER

_ONE_NUMBER = bytes((pb.BulkLookupRequest.NUMBERS_FIELD_NUMBER << 3 | 2, 8))
"""How a request of one number that asks for nothing else begins: the number follows."""
_FIRST_ROUTE = b"".join(wire.packed_field(_ROUTE_INDEXES, np.zeros(1, wire.FIXED32)))


def only_number(request: bytes) -> int | None:
    """Return the number of a serialised ``BulkLookupRequest`` that has one and no options."""
    if len(request) == len(_ONE_NUMBER) + 8 and request.startswith(_ONE_NUMBER):
        return int.from_bytes(request[len(_ONE_NUMBER) :], "little")
    return None


def answer_one(view: View, number: int) -> bytes:
    """Return what :func:`bulk_answer` returns for one number, in a tenth of its time."""
    row, _, _ = view.snapshot.lookup_one(number)
    view.answers.add_one(view.fields.status.item(row))
    return _FIRST_ROUTE + view.fields.route(row) + view.ref_field()


def bulk_answer(
    view: View,
    numbers: NDArray[np.uint64],
    *,
    with_range_holder: bool,
    with_ported_at: bool,
    require_wanted: Callable[[], None] | None = None,
) -> bytes:
    """Return the serialised ``BulkLookupResponse`` for uint64[n] numbers.

    The caller holds a lease on ``view`` until this returns. ``require_wanted`` is called before
    each piece of a large batch; an exception that it raises ends the work.
    """
    pieces = []
    for start in range(0, max(1, len(numbers)), PIECE_NUMBERS):
        if require_wanted is not None:
            require_wanted()
        pieces.append(
            view.snapshot.lookup(
                numbers[start : start + PIECE_NUMBERS],
                ported_at=with_ported_at,
                range_route=with_range_holder,
            )
        )
    answers = pieces[0] if len(pieces) == 1 else Answers.joined(pieces)
    distinct, times, indexes = distinct_rows(answers.route, view.snapshot.route_count)
    fields: list[bytes | memoryview] = [
        *wire.packed_field(_ROUTE_INDEXES, indexes),
        view.fields.routes(distinct),
        view.ref_field(),
    ]
    if answers.range_route is not None:
        fields += _range_holder_fields(view, answers.range_route)
    if answers.ported_at is not None:
        ported_at = answers.ported_at.astype(wire.FIXED32, copy=False)
        fields += wire.packed_field(_PORTED_AT, ported_at)
    view.answers.add(view.fields.status.take(distinct), times)
    return b"".join(fields)


def _range_holder_fields(view: View, rows: NDArray[np.integer]) -> tuple[bytes | memoryview, ...]:
    # Many routes belong to one operator: the few distinct routes become operators first.
    distinct, _, indexes = distinct_rows(rows, view.snapshot.route_count)
    holders = view.fields.holders(distinct)
    distinct_holders, _, holder_indexes = distinct_rows(holders, view.fields.holder_count)
    return (
        *wire.packed_field(_HOLDER_INDEXES, holder_indexes.take(indexes)),
        view.fields.holder_fields(distinct_holders),
    )
