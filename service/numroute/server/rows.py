"""A row answer: a few texts in any human format, each answered by a message of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from numroute import wire
from numroute.answers import answer_texts
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.server.served import ServedSnapshot

PIECE_TEXTS = 64
"""How many texts are answered before other requests get their turn: about 2 ms."""


async def row_answers(
    served: ServedSnapshot, texts: Sequence[str], default_region: str | None
) -> pb.LookupResponse:
    """Return one answer per text, in order.

    The caller holds a lease on ``served`` until this returns.
    """
    ref = served.ref()
    response = pb.LookupResponse(snapshot=wire.snapshot_ref_message(ref))
    for start in range(0, len(texts), PIECE_TEXTS):
        if start:
            await asyncio.sleep(0)
        piece = texts[start : start + PIECE_TEXTS]
        answers = answer_texts(served.snapshot, ref, piece, default_region)
        served.answers.add_few(answer.status for answer in answers)
        response.answers.extend(wire.answer_message(answer) for answer in answers)
    return response
