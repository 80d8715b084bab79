"""Who may ask: clients, the hashes of their tokens, their certificates and their limits.

They stand in a tokens file in TOML, see docs/security.md. Tokens themselves are stored nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from structlog.typing import FilteringBoundLogger

from numroute.errors import InputError, SettingError, UnauthenticatedError
from numroute.files import Watched, read_setting_file
from numroute.server.guard import Call, Guard
from numroute.server.settings import Security

TOKEN_PREFIX = "nr_"  # noqa: S105 - the start of every token, by which scanners recognise one
TOKEN_LENGTH_MAX = 512
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE = "A name has at most 64 letters, digits, dots, dashes and underscores"

LINES_VARIABLE = "NUMROUTE_TOKEN_LINES"
"""The environment variable that holds tokens instead of a file; errors name it."""

AUTHORIZATION = "authorization"
SCHEME = "bearer "

REPEAT_SECONDS = 60.0
"""How often a refusal with one reason, from one host, is logged."""

REFUSALS_MAX = 1_000
"""How many reasons and hosts are remembered for that."""

_Limit = Annotated[int, msgspec.Meta(ge=1, le=10**15)]


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SHA-256 of the text of a client's token, in hexadecimal, and when the token expires."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    @property
    def expired(self) -> bool:
        """Whether the token has expired."""
        return self.expires is not None and self.expires.timestamp() <= time.time()


class Client(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client that may ask, within its limits in numbers; None is no limit.

    ``certificates`` are the certificate names that stand for it. ``rate``: a second on average,
    ``burst``: at once after a pause, ``daily``: from midnight to midnight UTC.
    """

    tokens: tuple[Token, ...] = ()
    certificates: tuple[str, ...] = ()
    rate: _Limit | None = None
    burst: _Limit | None = None
    daily: _Limit | None = None

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.rate is not None or self.daily is not None


class ClientTable:
    """All clients of a service by name; immutable, replaced as a whole when the file changes."""

    def __init__(self, clients: dict[str, Client], source: Path | str) -> None:
        """Index clients by token and certificate; raise InputError where two share one."""
        self.clients = clients
        self._tokens: dict[str, tuple[str, Token]] = {}
        self._certificates: dict[str, str] = {}
        for name, client in clients.items():
            for token in client.tokens:
                other, _ = self._tokens.setdefault(token.sha256, (name, token))
                _require_single(name, other, "a token", source)
            for certificate in client.certificates:
                other = self._certificates.setdefault(certificate, name)
                _require_single(name, other, f"certificate {certificate}", source)

    @property
    def token_count(self) -> int:
        """How many tokens there are, expired ones included."""
        return len(self._tokens)

    def with_token(self, token: bytes) -> tuple[str, Token]:
        """Return the name of a token's client and the token's entry, which may have expired.

        The time that this takes reveals nothing of the hashes: a dict compares 64 secret bits,
        drawn anew by each process, before it compares the digest, and a match is compared in
        constant time. Raises UnauthenticatedError.
        """
        digest = hashlib.sha256(token).hexdigest()
        match = self._tokens.get(digest)
        if match is None or not hmac.compare_digest(match[1].sha256, digest):
            raise UnauthenticatedError(
                "the token is unknown",
                reason="unknown_token",
                hint="Ask the service's operators for a token",
            )
        return match

    def with_certificate(self, names: Iterable[str]) -> str | None:
        """Return the client that one of a certificate's names stands for, or None."""
        known = self._certificates
        return next((known[name] for name in names if name in known), None)


@dataclass(eq=False)
class Authentication(Guard):
    """A guard that admits the clients of a table and records their names.

    A token decides if one is sent. Without one the client's certificate does: by the tokens file's
    ``certificates`` where there are tokens, else by its common name.
    """

    _clients: Watched[ClientTable]
    _security: Security
    _log: FilteringBoundLogger
    # The reasons and hosts that have been logged since ``_logged_since``.
    _logged: set[tuple[str, str]] = field(default_factory=set, init=False)
    _logged_since: float = field(default=0.0, init=False)

    def begin(self, call: Call) -> None:
        """Set the call's client, or refuse the call."""
        try:
            call.client = self._client(call)
        except UnauthenticatedError as error:
            self._log_refusal(call, error)
            raise

    def check(self, call: Call) -> None:
        """Refuse a call that has outlived its client's token."""
        self.begin(call)

    def _client(self, call: Call) -> str:
        for key, value in call.context.invocation_metadata() or ():
            if key == AUTHORIZATION:
                client, token = self._clients.content.with_token(_bearer_token(value))
                if token.expired:
                    raise UnauthenticatedError(
                        f"the token of client {client} has expired",
                        reason="expired_token",
                        client=client,
                        hint="Ask the service's operators for a new token",
                    )
                return client
        if not self._security.has_client_ca:
            raise UnauthenticatedError(
                "there is no token",
                reason="no_token",
                hint="Send it as metadata, `authorization: Bearer TOKEN`",
            )
        certificate = call.context.auth_context()
        common_names, others = (
            [value.decode("utf-8", "replace") for value in certificate.get(key, ())]
            for key in ("x509_common_name", "x509_subject_alternative_name")
        )
        if self._security.has_tokens:
            named = self._clients.content.with_certificate(common_names + others)
        else:
            named = next(filter(NAME.fullmatch, common_names[:1]), None)
        if named is None:
            raise UnauthenticatedError(
                "the certificate names no client of this service, and there is no token",
                reason="unknown_certificate",
                hint="Ask the service's operators to add its name, or send a token",
            )
        return named

    def _log_refusal(self, call: Call, error: UnauthenticatedError) -> None:
        now = time.monotonic()
        if now - self._logged_since >= REPEAT_SECONDS or len(self._logged) >= REFUSALS_MAX:
            self._logged, self._logged_since = set(), now
        host = call.context.peer().rpartition(":")[0]
        if (error.reason, host) in self._logged:
            return
        self._logged.add((error.reason, host))
        self._log.warning(
            "call refused",
            reason=error.reason,
            peer=host,
            method=call.method,
            client=error.client or None,
        )


def new_token() -> tuple[str, str]:
    """Return a random token of 256 bits and the SHA-256 of its text, in hexadecimal."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    return token, hashlib.sha256(token.encode()).hexdigest()


def token_entry(client: str, sha256: str, expires: datetime | None = None) -> str:
    """Return the entry of a tokens file for a token's hash."""
    key = f'"{client}"' if "." in client else client
    entry = f'[[clients.{key}.tokens]]\nsha256 = "{sha256}"\n'
    if expires is not None:
        entry += f"expires = {expires.astimezone(UTC).isoformat()}\n"
    return entry


def service_clients(security: Security) -> ClientTable:
    """Return the clients of a service; raises as ``read_clients``, and for uncountable limits."""
    table = read_clients(security.tokens, security.token_lines)
    limited = next((name for name, client in table.clients.items() if client.limited), None)
    if limited is not None and security.state is None:
        raise SettingError(
            f"client {limited} has a limit, and there is no folder to count in",
            hint="Give one with --state that survives a restart",
        )
    return table


def read_clients(path: Path | None, text: str) -> ClientTable:
    """Return the clients of a tokens file, of a text of the same form, or of both.

    Raises SettingError for a file that cannot be read or that others can read, and InputError for
    what is not valid; its message names the line or the key.
    """
    table = parse_clients(text, LINES_VARIABLE)
    if path is None:
        return table
    try:
        content = read_setting_file(path, "the tokens file", private=True).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(path, "the text is not UTF-8", hint="Is it a tokens file?") from None
    in_file = parse_clients(content, path).clients
    for name in in_file.keys() & table.clients.keys():
        raise InputError(
            path, f"clients.{name} is also in {LINES_VARIABLE}", hint="Remove one of the two"
        )
    return ClientTable(in_file | table.clients, path)


def parse_clients(text: str, source: Path | str) -> ClientTable:
    """Return the clients of a tokens file's text; ``source`` names it in an InputError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            source,
            f"this is not TOML: {_masked(str(error))}",
            hint="Correct the line. In a file in the old format write each line `CLIENT "
            "sha256=HASH` as the two lines `[[clients.CLIENT.tokens]]` and `sha256 = "
            '"HASH"`; rate, burst, daily and certificates go under `[clients.CLIENT]`. Tokens '
            "stay valid",
        ) from None
    entries: Any = document.pop("clients", {})
    if document or not isinstance(entries, dict):
        raise InputError(
            source,
            "a tokens file has one table, `clients`",
            hint="Put each client in a table `[clients.NAME]`",
        )
    clients = {name: _client(name, entry, source) for name, entry in entries.items()}
    return ClientTable(clients, source)


def _client(name: str, entry: object, source: Path | str) -> Client:
    key = f"clients.{_masked(name)}"
    if not NAME.fullmatch(name):
        raise InputError(source, f"{key} is not a client's name", hint=NAME_RULE)
    try:
        client = msgspec.convert(entry, Client)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at `$")
        raise InputError(
            source,
            _masked(f"{key}{at.rstrip('`')}: {reason}"),
            hint="The keys are tokens (with sha256 and expires), certificates, rate, burst and "
            "daily; `numroute token new CLIENT` makes a token and its entry. A token that stands "
            "here itself has been written to a file: replace it",
        ) from None
    if client.burst is not None and client.rate is None:
        raise InputError(source, f"{key} has a burst but no rate", hint="Give a rate as well")
    if client == Client():
        raise InputError(
            source, f"{key} is empty", hint="Give the client tokens, certificates or limits"
        )
    return msgspec.structs.replace(client, burst=client.burst or client.rate)


def _masked(text: str) -> str:
    """Return a text without the tokens that somebody wrote into the file by mistake."""
    return re.sub(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]+", "…", text)


def _require_single(name: str, other: str, what: str, source: Path | str) -> None:
    if other != name:
        raise InputError(
            source,
            f"clients.{name}: {what} is also in clients.{other}",
            hint="Remove one of the two",
        )


def _bearer_token(value: str | bytes) -> bytes:
    if (
        not isinstance(value, str)
        or len(value) > TOKEN_LENGTH_MAX
        or value[: len(SCHEME)].lower() != SCHEME
    ):
        raise UnauthenticatedError(
            "the authorization is not a bearer token",
            reason="malformed_token",
            hint="Send it as metadata, `authorization: Bearer TOKEN`",
        )
    return value[len(SCHEME) :].strip().encode()
