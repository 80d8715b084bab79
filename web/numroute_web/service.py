"""What the handlers share: the snapshot in service, who may ask, the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from numroute import wire
from numroute.errors import SettingError
from numroute.v1 import number_routing_pb2 as pb
from numroute_web.answers import Encoder

if TYPE_CHECKING:
    from datetime import datetime

    from litestar import Request
    from structlog.typing import FilteringBoundLogger

    from numroute.server.follower import Follower
    from numroute.server.past import PastSnapshots
    from numroute.server.view import View
    from numroute_web.admission import Admission
    from numroute_web.jobs import JobStore
    from numroute_web.runner import Runner
    from numroute_web.sessions import Sessions
    from numroute_web.settings import WebSettings
    from numroute_web.webhooks import Webhooks


@dataclass(slots=True, kw_only=True)
class Service:
    """The parts of a running service; ``stopping`` ends what would stay open."""

    settings: WebSettings
    log: FilteringBoundLogger
    follower: Follower
    past: PastSnapshots
    admission: Admission
    jobs: JobStore
    runner: Runner
    sessions: Sessions
    webhooks: Webhooks
    stopping: bool = False
    _encoder: Encoder | None = field(default=None, init=False)

    @property
    def is_secure(self) -> bool:
        """Whether it serves TLS itself, so that cookies may insist on it."""
        return self.settings.security.tls is not None

    def encoder(self, view: View) -> Encoder:
        """Return the encoder of a view; that of the latest view is kept."""
        if self._encoder is None or self._encoder.view is not view:
            self._encoder = Encoder(view)
        return self._encoder

    async def view_at(self, as_of: datetime | None) -> View:
        """Return the snapshot that was current then, to be used at once in a ``with`` statement.

        Raises:
            NoSnapshotError: There is none in service.
            SettingError: The time has no time zone.
            SnapshotNotKeptError: The store no longer keeps that of the time.
        """
        if as_of is None:
            return self.follower.current()
        if as_of.tzinfo is None:
            raise SettingError("as_of has no time zone", hint="Write it as 2026-08-23T00:00:00Z")
        return await self.past.at(pb.ExplainRequest(as_of=wire.time_message(as_of)))


def service_of(request: Request[Any, Any, Any]) -> Service:
    """Return the service that a request came to."""
    return cast("Service", request.app.state.service)
