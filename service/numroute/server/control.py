"""The calls about the snapshot rather than about numbers: what it is, what it knows, and why."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from numroute import wire
from numroute.answers import explain_text
from numroute.server.describe import description
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from numroute.server.follower import Follower
    from numroute.server.guard import Call
    from numroute.server.past import PastSnapshots


class Control:
    """``Explain``, ``GetSnapshot`` and ``ListOperators``."""

    def __init__(self, follower: Follower, past: PastSnapshots) -> None:
        """Answer from the follower's snapshot, or from one of the past."""
        self._follower = follower
        self._past = past

    async def explain(self, request: bytes, call: Call) -> bytes:
        """Answer an ``ExplainRequest`` with an ``ExplainResponse``."""
        message = pb.ExplainRequest.FromString(request)
        with await self._past.at(message) as served:
            call.ask(1)
            found = explain_text(
                served.snapshot, served.ref(), message.number, message.default_region or None
            )
        return wire.explanation_message(found).SerializeToString()

    async def get_snapshot(self, request: bytes, _call: Call) -> bytes:
        """Answer a ``GetSnapshotRequest`` with a ``GetSnapshotResponse``."""
        pb.GetSnapshotRequest.FromString(request)
        with self._follower.serving() as served:
            return description(served, now=time.time()).SerializeToString()

    async def list_operators(self, request: bytes, _call: Call) -> bytes:
        """Answer a ``ListOperatorsRequest`` with a ``ListOperatorsResponse``."""
        pb.ListOperatorsRequest.FromString(request)
        with self._follower.serving() as served:
            # The first time every route of the snapshot is read, which takes a while.
            operators = await asyncio.to_thread(served.operators)
            reference = pb.ListOperatorsResponse(snapshot=wire.snapshot_ref_message(served.ref()))
        return operators + reference.SerializeToString()
