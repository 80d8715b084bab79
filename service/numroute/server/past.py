"""Past snapshots, opened to answer questions with ``as_of``."""

from __future__ import annotations

import asyncio
from datetime import datetime

from numroute import wire
from numroute.errors import NoSnapshotError, SettingError, SnapshotNotKeptError
from numroute.server.follower import Follower
from numroute.server.limits import PAST_IDLE_SECONDS, PAST_SNAPSHOTS_MAX
from numroute.server.view import View
from numroute.v1 import number_routing_pb2 as pb


class PastSnapshots:
    """Opens the snapshots that ``as_of`` asks for, and closes them when they are unused."""

    def __init__(self, follower: Follower) -> None:
        """Take the present from the follower, the past from its store."""
        self._follower = follower
        self._opening = asyncio.Lock()
        # In the order of their last use.
        self._open: dict[str, tuple[View, asyncio.TimerHandle]] = {}

    async def at(self, request: pb.LookupRequest | pb.ExplainRequest) -> View:
        """Return the snapshot of a request's ``as_of``, to be used at once in a ``with`` statement.

        Without ``as_of`` that is the one in service.

        Raises:
            NoSnapshotError: There is no ``as_of``, and no snapshot in service.
            SettingError: ``as_of`` is not a valid time.
            SnapshotNotKeptError: No snapshot was current then, or the store no longer keeps it.
        """
        if not request.HasField("as_of"):
            return self._follower.current()
        try:
            moment = wire.time_value(request.as_of)
        except (OverflowError, ValueError):
            raise SettingError(
                "as_of is not a valid time", hint="Give a time between the years 1 and 9999"
            ) from None
        # One at a time: a hundred questions about one day open one file.
        async with self._opening:
            return await self._at(moment)

    def close(self) -> None:
        """Close all snapshots, each when its last request ends."""
        for snapshot_id in list(self._open):
            self._retire(snapshot_id)

    async def _at(self, moment: datetime) -> View:
        store = self._follower.store
        try:
            # In a thread: the disk may be slow, and requests go on meanwhile.
            snapshot_id = await asyncio.to_thread(store.current_at, moment)
            current = self._follower.view
            if current is not None and current.id == snapshot_id:
                return current
            if snapshot_id in self._open:
                view, closing = self._open.pop(snapshot_id)
                closing.cancel()
            else:
                opened = await asyncio.to_thread(store.open_past, snapshot_id, moment)
                if len(self._open) >= PAST_SNAPSHOTS_MAX:
                    self._retire(next(iter(self._open)))
                view = self._follower.view_of(opened)
        except NoSnapshotError as error:
            raise SnapshotNotKeptError(store.path, error.reason, hint=error.hint) from None
        # An open file keeps its disk space, even after it was pruned.
        closing = asyncio.get_running_loop().call_later(
            PAST_IDLE_SECONDS, self._retire, snapshot_id
        )
        self._open[snapshot_id] = view, closing
        return view

    def _retire(self, snapshot_id: str) -> None:
        view, closing = self._open.pop(snapshot_id)
        closing.cancel()
        view.retire()
