"""Who may ask: each request passes the guards that a gRPC call passes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from grpc import StatusCode

from numroute.errors import NumrouteError
from numroute.server.auth import AUTHORIZATION
from numroute.server.guard import Call
from numroute.server.quota import SECONDS_PER_DAY
from numroute.server.statuses import status_of
from numroute_web.sessions import require_same_origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from litestar import Request

    from numroute.server.auth import Clients
    from numroute.server.guard import Guard
    from numroute.server.quota import Usage
    from numroute_web.sessions import Sessions

    HttpRequest = Request[Any, Any, Any]


class _HttpContext:
    """What guards read of a call's context, taken from an HTTP request."""

    __slots__ = ("_authorization", "_client")

    def __init__(self, request: HttpRequest, authorization: str | None) -> None:
        self._client = request.client
        self._authorization = authorization

    def peer(self) -> str:
        client = self._client
        return f"http:{client.host}:{client.port}" if client else "http:"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        value = self._authorization
        return () if value is None else ((AUTHORIZATION, value),)

    def auth_context(self) -> dict[str, Any]:
        return {}

    def time_remaining(self) -> None:
        return None


class _Admitted:
    """A call between its guards; not a generator, whose switches would take longer than they."""

    __slots__ = ("_call", "_guards")

    def __init__(self, call: Call, guards: Sequence[Guard]) -> None:
        self._call = call
        self._guards = guards

    def __enter__(self) -> Call:
        call = self._call
        try:
            for guard in self._guards:
                guard.begin(call)
                call.begun += 1
        except Exception as error:
            self._end(error)
            raise
        return call

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        call = self._call
        if error is None:
            call.status = StatusCode.OK
        elif isinstance(error, Exception):
            call.error = error
            call.status = (
                status_of(error) if isinstance(error, NumrouteError) else StatusCode.INTERNAL
            )
        for guard in reversed(self._guards[: call.begun]):
            guard.end(call, call.status)


class Admission:
    """Lets requests in, counts their numbers, and says what a client has left."""

    def __init__(
        self,
        guards: Sequence[Guard],
        clients: Clients,
        usage: Usage | None,
        sessions: Sessions,
    ) -> None:
        """Ask these guards, in this order."""
        self._sessions = sessions
        self._guards = guards
        self._on_numbers = [guard.numbers for guard in guards]
        self._clients = clients
        self._usage = usage

    def call(
        self, method: str, request: HttpRequest, *, authorization: str | None = None
    ) -> AbstractContextManager[Call]:
        """Begin a call named ``method``, yield it, and end it with the status of its error.

        Raises:
            NumrouteError: A guard refuses the call, or a page of another site makes it.
        """
        require_same_origin(request)
        authorization = authorization or self._sessions.authorization(request)
        context: Any = _HttpContext(request, authorization)  # what guards use of a gRPC context
        return _Admitted(Call(method, context, self._on_numbers), self._guards)

    def limit_headers(self, client: str) -> dict[str, str]:
        """Return the ``RateLimit`` headers of a client; none without limits.

        They are those of draft-ietf-httpapi-ratelimit-headers: numbers, not requests.
        """
        known = self._clients.table.clients.get(client)
        if known is None or not known.limits.any or self._usage is None:
            return {}
        limits = known.limits
        policies, states = [], []
        if limits.rate is not None:
            policies.append(f'"rate";q={limits.rate};w=1')
        if limits.daily is not None:
            left = max(0, limits.daily - self._usage.used_today(client))
            until_midnight = SECONDS_PER_DAY - int(time.time()) % SECONDS_PER_DAY
            policies.append(f'"daily";q={limits.daily};w={SECONDS_PER_DAY}')
            states.append(f'"daily";r={left};t={until_midnight}')
        headers = {"RateLimit-Policy": ", ".join(policies)}
        if states:
            headers["RateLimit"] = ", ".join(states)
        return headers
