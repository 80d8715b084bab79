"""The standard health service (grpc.health.v1): one state for the whole server.

The library's own servicer is not used because its ``Watch`` ends only when the client goes away:
one load balancer that watches would make every drain last its full limit.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from numroute import wire

SERVICES = frozenset({health.OVERALL_HEALTH, wire.SERVICE_NAME})
"""The names that can be asked for: the whole server, and the one service."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpc_health ships no types
    """NOT_SERVING until there is a snapshot, while its data is too old, and once the drain begins.

    Attributes:
        unready: Why the service should get no calls; empty when it is ready.
    """

    def __init__(self) -> None:
        """Start with NOT_SERVING."""
        self.unready = "it has not started"
        self._changed = asyncio.Event()
        self._draining = False

    def set_unready(self, unready: str) -> None:
        """Report NOT_SERVING for this reason, SERVING for an empty one, until the drain."""
        if not self._draining and unready != self.unready:
            self.unready = unready
            self._changed.set()
            self._changed = asyncio.Event()

    def drain(self) -> None:
        """Report NOT_SERVING from now on, and end every ``Watch`` after that."""
        self.set_unready("it is draining")
        self._draining = True

    async def Check(  # noqa: N802 - the name is gRPC's
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """Answer with the current state."""
        if request.service not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, "this server has no such service")
        return health_pb2.HealthCheckResponse(status=_NOT_SERVING if self.unready else _SERVING)

    async def Watch(  # noqa: N802 - the name is gRPC's
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Report the current state and each change, until the drain."""
        if request.service not in SERVICES:
            # Not kept open: the request, of up to 4 MB, would stay in memory with it.
            unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            await context.write(health_pb2.HealthCheckResponse(status=unknown))
            return
        reported = None
        while True:
            changed, state = self._changed, _NOT_SERVING if self.unready else _SERVING
            if state != reported:
                await context.write(health_pb2.HealthCheckResponse(status=state))
                reported = state
            elif self._draining:
                return
            else:
                await changed.wait()
