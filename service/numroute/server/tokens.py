"""Who may ask: clients, the hashes of their tokens, their certificates and their limits.

One line names a client and some facts about it; a client may have several lines::

    messaging  sha256=9f86d081...  expires=2027-01-01T00:00:00Z
    messaging  rate=200000  burst=400000  daily=50000000
    billing    certificate=billing.internal

A value with blanks is quoted as in a shell; ``#`` begins a comment. Tokens themselves are stored
nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import shlex
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from numroute.errors import InputError, UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

TOKEN_PREFIX = "nr_"  # noqa: S105 - what every token begins with, so that scanners know one
TOKEN_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LIMIT_MAX = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may ask for; None is no limit.

    Attributes:
        rate: Numbers per second, in the long run.
        burst: Numbers at once after a pause; one second's worth when a rate but no burst is given.
        daily: Numbers per day, from midnight to midnight UTC.
    """

    rate: float | None = None
    burst: float | None = None
    daily: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.rate is not None or self.daily is not None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client that may ask."""

    name: str
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token's hash.

    Attributes:
        client: Whose it is.
        digest: SHA-256 of the token's text.
        expires: When it ends, in seconds since the epoch; infinite when it does not.
    """

    client: Client
    digest: bytes
    expires: float = math.inf

    def require_valid(self) -> None:
        """Refuse a token that has ended.

        Raises:
            UnauthenticatedError: It has expired.
        """
        if self.expires <= time.time():
            raise UnauthenticatedError(
                f"the token of client {self.client.name} has expired",
                reason="expired_token",
                client=self.client.name,
                hint="Ask the service's operators for a new token",
            )


def new_token() -> tuple[str, str]:
    """Return a random token of 256 bits and the SHA-256 of its text, in hexadecimal."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    return token, hashlib.sha256(token.encode()).hexdigest()


def token_line(client: str, sha256: str, expires: datetime | None = None) -> str:
    """Return the line of a tokens file for a token's hash."""
    line = f"{client} sha256={sha256}"
    return line if expires is None else f"{line} expires={expires.astimezone(UTC).isoformat()}"


class ClientTable:
    """All clients of a service; immutable, replaced as a whole when the file changes."""

    def __init__(
        self, clients: Iterable[Client], tokens: Iterable[Token], names: Mapping[str, str]
    ) -> None:
        """Take clients, tokens, and the client's name of each certificate's name."""
        self.clients = {client.name: client for client in clients}
        self._tokens = {token.digest: token for token in tokens}
        self._names = dict(names)

    @property
    def token_count(self) -> int:
        """How many tokens there are, expired ones included."""
        return len(self._tokens)

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens, expired ones included, in the file's order."""
        return tuple(self._tokens.values())

    @property
    def certificate_names(self) -> Mapping[str, str]:
        """The client's name for each name that a certificate may bear."""
        return self._names

    def of_token(self, token: bytes) -> Token:
        """Return the token that this is, which may have expired.

        The time that this takes says nothing of the hashes: a dict compares 64 secret bits, drawn
        anew by each process, before it compares the digest, and what it finds is compared in
        constant time.

        Raises:
            UnauthenticatedError: It is none of the table's.
        """
        digest = hashlib.sha256(token).digest()
        found = self._tokens.get(digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise UnauthenticatedError(
                "the token is not known",
                reason="unknown_token",
                hint="Ask the service's operators for a token",
            )
        return found

    def of_certificate(self, names: Iterable[str]) -> Client | None:
        """Return the client that one of a certificate's names stands for, or None."""
        for name in names:
            client = self._names.get(name)
            if client is not None:
                return self.clients[client]
        return None


def parse_clients(text: str, source: Path | str) -> ClientTable:
    """Return the table that a tokens file holds.

    Args:
        text: The file's content.
        source: What error texts call it.

    Raises:
        InputError: A line is not understood or contradicts another; the text names the line.
    """
    parser = _Parser(source)
    for number, line in enumerate(text.splitlines(), 1):
        parser.line = number
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            raise parser.error(
                "a quotation mark is missing", 'Quote what holds blanks: certificate="A B"'
            ) from None
        if words:
            parser.take(words)
    return parser.table()


@dataclass(slots=True)
class _Parser:
    source: Path | str
    line: int = 0
    limits: dict[str, dict[str, float]] = field(default_factory=dict)
    tokens: dict[bytes, tuple[str, float]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def take(self, words: list[str]) -> None:
        """Take one line in."""
        client = words[0]
        if not NAME.fullmatch(client):
            raise self.error(
                "the line does not begin with a client's name",
                "A name has at most 64 letters, digits, dots, dashes and underscores",
            )
        if len(words) == 1:
            # The word may be a token that somebody wrote here by mistake.
            raise self.error(
                "the line has one word, which says nothing of a client",
                f"After the client's name write one of {', '.join(_KEYS)}, as KEY=VALUE",
            )
        limits = self.limits.setdefault(client, {})
        facts: dict[str, str] = {}
        for word in words[1:]:
            key, equals, value = word.partition("=")
            if not equals or key not in _KEYS or key in facts:
                # The word itself may be a token that somebody wrote here by mistake.
                raise self.error(
                    f"fact {len(facts) + 1} of client {client} is not understood",
                    f"Write each of {', '.join(_KEYS)} at most once, as KEY=VALUE",
                )
            facts[key] = value
        if "expires" in facts and "sha256" not in facts:
            raise self.error(f"client {client} has a time but no token", "Give sha256=... as well")
        for key in _LIMITS & facts.keys():
            if key in limits:
                raise self.error(f"client {client} has {key} twice", "Remove one")
            limits[key] = self._limit(client, key, facts[key])
        if "sha256" in facts:
            self._take_token(client, facts["sha256"], facts.get("expires"))
        certificate = facts.get("certificate")
        if certificate and self.names.setdefault(certificate, client) != client:
            raise self.error(f"certificate {certificate} is that of two clients", "Remove one")

    def table(self) -> ClientTable:
        """Return what was taken in."""
        clients = {}
        for name, limits in self.limits.items():
            if "burst" in limits and "rate" not in limits:
                raise self.error(f"client {name} has a burst but no rate", "Give rate=... as well")
            clients[name] = Client(
                name=name,
                limits=Limits(
                    rate=limits.get("rate"),
                    burst=limits.get("burst", limits.get("rate")),
                    daily=int(limits["daily"]) if "daily" in limits else None,
                ),
            )
        tokens = [
            Token(client=clients[client], digest=digest, expires=expires)
            for digest, (client, expires) in self.tokens.items()
        ]
        return ClientTable(clients.values(), tokens, self.names)

    def error(self, reason: str, hint: str) -> InputError:
        """Return an error at the line."""
        return InputError(self.source, reason, line=self.line, hint=hint)

    def _limit(self, client: str, key: str, value: str) -> float:
        if not value.isascii() or not value.isdecimal() or not 0 < int(value) <= LIMIT_MAX:
            raise self.error(
                f"{key} of client {client} is no whole number from 1 to {LIMIT_MAX}",
                "Leave it out for no limit; remove a client's tokens to shut it out",
            )
        return float(value)

    def _take_token(self, client: str, sha256: str, expires: str | None) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise self.error(
                f"sha256 of client {client} is no hash: 64 digits from 0 to f",
                "Make a token and its line with `numroute token new CLIENT`. If the token itself "
                "stands here, replace it: it has been written to a file",
            )
        digest = bytes.fromhex(sha256)
        if digest in self.tokens:
            raise self.error(f"the token of client {client} stands here twice", "Remove one")
        self.tokens[digest] = (client, self._time(client, expires))

    def _time(self, client: str, text: str | None) -> float:
        if text is None:
            return math.inf
        try:
            time_ = datetime.fromisoformat(text)
        except ValueError:
            time_ = None
        if time_ is None or time_.tzinfo is None:
            raise self.error(
                f"expires of client {client} is no time with a time zone",
                "Write it as 2027-01-01T00:00:00Z",
            )
        return time_.timestamp()


_LIMITS = frozenset({"rate", "burst", "daily"})
_KEYS = ("sha256", "expires", "certificate", "rate", "burst", "daily")
