"""Sessions of the page: a cookie stands for the token that its owner logged in with.

They live in memory: after a restart people log in again. The token is checked at every request, so
that one that was withdrawn ends its sessions.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from litestar.datastructures import Cookie

from numroute_web.problems import ProblemError

if TYPE_CHECKING:
    from litestar import Request

COOKIE: Final = "numroute_session"
SESSION_SECONDS: Final = 12 * 3_600
"""How long a session lasts."""

SESSIONS_MAX: Final = 10_000
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


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

    def end(self, request: Request[Any, Any, Any], *, is_secure: bool) -> Cookie:
        """End a request's session, and return the cookie that removes its own."""
        self._tokens.pop(_key(request.cookies.get(COOKIE, "")), None)
        return _cookie("", 0, is_secure=is_secure)

    def authorization(self, request: Request[Any, Any, Any]) -> str | None:
        """Return a request's own authorization or, without one, that of its session."""
        own = request.headers.get("authorization")
        secret = request.cookies.get(COOKIE)
        if own is not None or secret is None:
            return own
        token, end = self._tokens.get(_key(secret), ("", 0.0))
        return f"Bearer {token}" if end > time.monotonic() else None


def require_same_origin(request: Request[Any, Any, Any]) -> None:
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
