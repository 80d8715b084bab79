"""Who may ask: each request passes the guards that a gRPC call passes.

On the page a cookie stands for the token that its owner logged in with. Sessions live in memory:
after a restart people log in again. The token is checked at every request, so that withdrawing it
ends its sessions.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from grpc import StatusCode
from litestar import Request
from litestar.datastructures import Cookie

from numroute.errors import NumrouteError
from numroute.files import Watched
from numroute.server.auth import AUTHORIZATION, ClientTable
from numroute.server.guard import Call, Guard, status_of
from numroute.server.quota import SECONDS_PER_DAY, Quota
from numroute_web.problems import ProblemError

HttpRequest = Request[Any, Any, Any]

COOKIE: Final = "numroute_session"
SESSION_SECONDS: Final = 12 * 3_600
"""How long a session lasts."""

SESSIONS_MAX: Final = 10_000
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


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
        clients: Watched[ClientTable],
        quota: Quota | None,
        sessions: Sessions,
    ) -> None:
        """Ask these guards, in this order."""
        self._sessions = sessions
        self._guards = guards
        self._clients = clients
        self._quota = quota

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
        return _Admitted(Call(method, context, self._guards), self._guards)

    def limit_headers(self, client: str) -> dict[str, str]:
        """Return the ``RateLimit`` headers of a client; none without limits.

        They are those of draft-ietf-httpapi-ratelimit-headers: numbers, not requests.
        """
        limits = self._clients.content.clients.get(client)
        if limits is None or not limits.limited or self._quota is None:
            return {}
        policies, states = [], []
        if limits.rate is not None:
            policies.append(f'"rate";q={limits.rate};w=1')
        if limits.daily is not None:
            left = max(0, limits.daily - self._quota.used_today(client))
            until_midnight = SECONDS_PER_DAY - int(time.time()) % SECONDS_PER_DAY
            policies.append(f'"daily";q={limits.daily};w={SECONDS_PER_DAY}')
            states.append(f'"daily";r={left};t={until_midnight}')
        headers = {"RateLimit-Policy": ", ".join(policies)}
        if states:
            headers["RateLimit"] = ", ".join(states)
        return headers


class Sessions:
    """The sessions of the people who are logged in."""

    def __init__(self) -> None:
        """Start without any."""
        self._tokens: dict[bytes, tuple[str, float]] = {}

    def begin(self, token: str, *, is_secure: bool) -> Cookie:
        """Begin a session of a token, and return its cookie."""
        now = time.monotonic()
        for key in [key for key, (_, end) in self._tokens.items() if end <= now]:
            del self._tokens[key]
        if len(self._tokens) >= SESSIONS_MAX:
            del self._tokens[next(iter(self._tokens))]
        secret = secrets.token_urlsafe(32)
        self._tokens[_key(secret)] = token, now + SESSION_SECONDS
        return _cookie(secret, SESSION_SECONDS, is_secure=is_secure)

    def end(self, request: HttpRequest, *, is_secure: bool) -> Cookie:
        """End a request's session, and return the cookie that removes its own."""
        self._tokens.pop(_key(request.cookies.get(COOKIE, "")), None)
        return _cookie("", 0, is_secure=is_secure)

    def authorization(self, request: HttpRequest) -> str | None:
        """Return a request's own authorization or, without one, that of its session."""
        own = request.headers.get("authorization")
        secret = request.cookies.get(COOKIE)
        if own is not None or secret is None:
            return own
        token, end = self._tokens.get(_key(secret), ("", 0.0))
        return f"Bearer {token}" if end > time.monotonic() else None


def require_same_origin(request: HttpRequest) -> None:
    """Refuse a request that another site's page makes a browser send. Raises ProblemError."""
    if request.method in SAFE_METHODS or "authorization" in request.headers:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        # No browser: those send one of the two with every request that changes something.
        is_allowed = COOKIE not in request.cookies
    else:
        is_allowed = site in {None, "same-origin", "none"} and (
            origin is None or urlsplit(origin).netloc == request.headers.get("host")
        )
    if not is_allowed:
        raise ProblemError(
            "forbidden", HTTPStatus.FORBIDDEN, "the request comes from a page of another site"
        )


def _key(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _cookie(value: str, seconds: int, *, is_secure: bool) -> Cookie:
    return Cookie(
        key=COOKIE,
        value=value,
        max_age=seconds,
        path="/",
        httponly=True,
        samesite="strict",
        secure=is_secure,
    )
