"""Who may ask: clients, the hashes of their tokens, their certificates and their limits.

They stand in a tokens file in TOML, see docs/security.md. Tokens themselves are stored nowhere.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import secrets
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from structlog.typing import FilteringBoundLogger

from numroute.errors import InputError, NumrouteError, SettingError, UnauthenticatedError
from numroute.files import file_state, read_private_file
from numroute.logs import error_fields
from numroute.server.guard import STREAM, Call, Guard
from numroute.server.settings import Security

TOKEN_PREFIX = "nr_"  # noqa: S105 - the start of every token, by which scanners recognise one
TOKEN_BYTES = 32
TOKEN_LENGTH_MAX = 512
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE = "A name has at most 64 letters, digits, dots, dashes and underscores"
LIMIT_MAX = 10**15

LINES_VARIABLE = "NUMROUTE_TOKEN_LINES"
"""The name by which errors call the text that is in no file."""

AUTHORIZATION = "authorization"
SCHEME = "bearer "

REPEAT_SECONDS = 60.0
"""How often a refusal with one reason, from one host, is logged."""

REMEMBERED_REFUSALS_MAX = 1_000
"""How many reasons and hosts are remembered for that."""

REMEMBERED_TOKENS_MAX = 4_096
"""How many valid tokens are found without hashing them."""

_OLD_LINE = re.compile(r"^\s*[A-Za-z0-9][A-Za-z0-9._-]*(\s+\w+=\S+)+\s*(#.*)?$", re.MULTILINE)
"""A line of the old format, ``messaging sha256=9f86d081... rate=5``."""

_Limit = Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)]


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hash of a client's token.

    Attributes:
        sha256: SHA-256 of the token's text, in hexadecimal.
        expires: When it expires; None for never.
    """

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    @property
    def expired(self) -> bool:
        """Whether it has expired."""
        return self.expires is not None and self.expires.timestamp() <= time.time()


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client may ask for; None is no limit.

    Attributes:
        rate: Numbers per second, in the long run.
        burst: Numbers at once after a pause; by default one second's worth.
        daily: Numbers per day, from midnight to midnight UTC.
    """

    rate: _Limit | None = None
    burst: _Limit | None = None
    daily: _Limit | None = None

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.rate is not None or self.daily is not None


class Client(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client that may ask, within its limits.

    Attributes:
        tokens: Its tokens, expired ones included.
        certificates: The certificate names that stand for it.
    """

    tokens: tuple[Token, ...] = ()
    certificates: tuple[str, ...] = ()


class ClientTable:
    """All clients of a service; immutable, replaced as a whole when the file changes.

    Attributes:
        clients: The clients by name.
    """

    def __init__(self, clients: Mapping[str, Client]) -> None:
        """Index clients by token and by certificate name."""
        self.clients = clients
        self._tokens = {
            bytes.fromhex(token.sha256): (name, token)
            for name, client in clients.items()
            for token in client.tokens
        }
        self._certificates = {
            certificate: name
            for name, client in clients.items()
            for certificate in client.certificates
        }
        self.with_authorization = functools.lru_cache(REMEMBERED_TOKENS_MAX)(
            lambda value: self.with_token(_bearer_token(value))
        )
        """Return the client's name and the entry of the token in an ``authorization``."""

    @property
    def token_count(self) -> int:
        """How many tokens there are, expired ones included."""
        return len(self._tokens)

    def with_token(self, token: bytes) -> tuple[str, Token]:
        """Return the name of a token's client and the token's entry, which may have expired.

        The time that this takes reveals nothing of the hashes: a dict compares 64 secret bits,
        drawn anew by each process, before it compares the digest, and a match is compared in
        constant time.

        Raises:
            UnauthenticatedError: Unknown token.
        """
        digest = hashlib.sha256(token).digest()
        match = self._tokens.get(digest)
        if match is None or not hmac.compare_digest(bytes.fromhex(match[1].sha256), digest):
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


class Clients:
    """The clients of the tokens file and of the settings; a changed file is read again.

    Attributes:
        table: The current clients.
    """

    def __init__(self, security: Security, log: FilteringBoundLogger) -> None:
        """Read the file; raises as ``read_clients``, and for a limit that cannot be counted."""
        self._path = security.tokens
        self._text = security.token_lines
        self._counts_usage = security.state is not None
        self._log = log
        self._state = None if self._path is None else file_state(self._path)
        self._refusal = ""
        self.table = self._read()

    def poll(self) -> None:
        """Use a changed file if it is valid; otherwise keep the clients and log why."""
        if self._path is None:
            return
        state = file_state(self._path)
        if state == self._state and not self._refusal:
            return
        self._state = state
        try:
            table = self._read()
        except NumrouteError as error:
            if self._refusal != str(error):
                self._refusal = str(error)
                self._log.error("tokens refused", **error_fields(error))
            return
        self._refusal = ""
        self.table = table
        self._log.info("tokens in use", clients=len(table.clients), tokens=table.token_count)

    def _read(self) -> ClientTable:
        table = read_clients(self._path, self._text)
        limited = next((name for name, client in table.clients.items() if client.limited), None)
        if limited is not None and not self._counts_usage:
            raise SettingError(
                f"client {limited} has a limit, and there is no folder to count in",
                hint="Give one with --state that survives a restart",
            )
        return table


class Authentication(Guard):
    """A guard that admits known clients and records their names.

    A token decides if one is sent. Without one the client's certificate does: by the tokens file's
    ``certificates`` where there are tokens, else by its common name.
    """

    def __init__(self, clients: Clients, security: Security, log: FilteringBoundLogger) -> None:
        """Admit the table's clients; without tokens, those with a certificate of the authority."""
        self._clients = clients
        self._log = log
        self._has_tokens = security.has_tokens
        self._has_ca = security.has_client_ca
        self._logged: dict[tuple[str, str], float] = {}

    def begin(self, call: Call) -> None:
        """Set the call's client, or refuse the call."""
        try:
            call.client = self._client(call)
        except UnauthenticatedError as error:
            self._log_refusal(call, error)
            raise

    def numbers(self, call: Call, count: int) -> None:  # noqa: ARG002 - a guard's signature
        """Check again at each question of a stream, which may outlive its client's token."""
        if call.method == STREAM:
            self.begin(call)

    def check(self, call: Call) -> None:
        """Refuse a call that has outlived its client's token."""
        self.begin(call)

    def _client(self, call: Call) -> str:
        for key, value in call.metadata:
            if key == AUTHORIZATION:
                client, token = self._clients.table.with_authorization(value)
                if token.expired:
                    raise UnauthenticatedError(
                        f"the token of client {client} has expired",
                        reason="expired_token",
                        client=client,
                        hint="Ask the service's operators for a new token",
                    )
                return client
        if self._has_ca:
            auth = call.auth_context()
            common_name = _texts(auth, "x509_common_name")
            if not self._has_tokens:
                if common_name and NAME.fullmatch(common_name[0]):
                    return common_name[0]
            else:
                names = common_name + _texts(auth, "x509_subject_alternative_name")
                named = self._clients.table.with_certificate(names)
                if named is not None:
                    return named
            raise UnauthenticatedError(
                "the certificate names no client of this service, and there is no token",
                reason="unknown_certificate",
                hint="Ask the service's operators to add its name, or send a token",
            )
        raise UnauthenticatedError(
            "there is no token",
            reason="no_token",
            hint="Send it as metadata, `authorization: Bearer TOKEN`",
        )

    def _log_refusal(self, call: Call, error: UnauthenticatedError) -> None:
        """Log a refusal, but not each of thousands."""
        host = call.peer.rpartition(":")[0]
        key = (error.reason, host)
        now = time.monotonic()
        if now - self._logged.get(key, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        if len(self._logged) >= REMEMBERED_REFUSALS_MAX:
            self._logged.clear()
        self._logged[key] = now
        self._log.warning(
            "call refused",
            reason=error.reason,
            peer=host,
            method=call.method,
            client=error.client or None,
        )


def new_token() -> tuple[str, str]:
    """Return a random token of 256 bits and the SHA-256 of its text, in hexadecimal."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    return token, hashlib.sha256(token.encode()).hexdigest()


def token_entry(client: str, sha256: str, expires: datetime | None = None) -> str:
    """Return the entry of a tokens file for a token's hash."""
    key = client if re.fullmatch(r"[A-Za-z0-9_-]+", client) else f'"{client}"'
    entry = f'[[clients.{key}.tokens]]\nsha256 = "{sha256}"\n'
    if expires is not None:
        entry += f"expires = {expires.astimezone(UTC).isoformat()}\n"
    return entry


def read_clients(path: Path | None, text: str) -> ClientTable:
    """Return the clients of a tokens file, of a text of the same form, or of both.

    Raises:
        SettingError: The file cannot be read, or others can read it.
        InputError: One of them is not valid, or a client is in both.
    """
    more = _parse(text, LINES_VARIABLE)
    if path is None:
        return _checked(more, LINES_VARIABLE)
    try:
        content = read_private_file(path, "the tokens file").decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(path, "the text is not UTF-8", hint="Is it a tokens file?") from None
    clients = _parse(content, path)
    if twice := clients.keys() & more.keys():
        raise InputError(
            path,
            f"clients.{min(twice)} is also in {LINES_VARIABLE}",
            hint="Remove one of the two",
        )
    return _checked(clients | more, path)


def parse_clients(text: str, source: Path | str) -> ClientTable:
    """Return the clients of a tokens file's text; ``source`` names it in errors.

    Raises:
        InputError: The text is not valid; the message names the line or the key.
    """
    return _checked(_parse(text, source), source)


def _parse(text: str, source: Path | str) -> dict[str, Client]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        if _OLD_LINE.search(text):
            raise InputError(
                source,
                "this tokens file is in the old format; it is TOML now",
                hint="Write each line `CLIENT sha256=HASH` as the two lines "
                '`[[clients.CLIENT.tokens]]` and `sha256 = "HASH"`; rate, burst, daily and '
                "certificates go under `[clients.CLIENT]`. Tokens stay valid",
            ) from None
        reason = _masked(str(error))
        raise InputError(source, f"this is not TOML: {reason}", hint="Correct the line") from None
    entries: Any = document.pop("clients", {})
    if document or not isinstance(entries, dict):
        raise InputError(
            source,
            "a tokens file has one table, `clients`",
            hint="Put each client in a table `[clients.NAME]`",
        )
    return {name: _client(name, entry, source) for name, entry in entries.items()}


def _masked(text: str) -> str:
    """Return a text without the tokens that somebody wrote into the file by mistake."""
    return re.sub(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]+", "…", text)


def _client(name: str, entry: object, source: Path | str) -> Client:
    key = f"clients.{_masked(name)}"
    if not NAME.fullmatch(name):
        raise InputError(source, f"{key} is not a client's name", hint=NAME_RULE)
    try:
        found = msgspec.convert(entry, Client)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at `$")
        hint = "The keys are tokens (with sha256 and expires), certificates, rate, burst and daily"
        if at.endswith(".sha256`"):
            hint = (
                "Make a token and its entry with `numroute token new CLIENT`. If the token itself "
                "stands here, replace it: it has been written to a file"
            )
        reason = _masked(f"{key}{at.rstrip('`')}: {reason}")
        raise InputError(source, reason, hint=hint) from None
    if found.burst is not None and found.rate is None:
        raise InputError(source, f"{key} has a burst but no rate", hint="Give a rate as well")
    if not found.tokens and not found.certificates and not found.limited:
        raise InputError(
            source, f"{key} is empty", hint="Give the client tokens, certificates or limits"
        )
    return msgspec.structs.replace(found, burst=found.burst or found.rate)


def _checked(clients: dict[str, Client], source: Path | str) -> ClientTable:
    """Return a table of clients in which no two share a token or a certificate."""
    owners: dict[str, str] = {}
    for name, client in clients.items():
        for secret, what in (
            *((token.sha256, "a token") for token in client.tokens),
            *((each, f"certificate {each}") for each in client.certificates),
        ):
            if secret in owners:
                raise InputError(
                    source,
                    f"clients.{name}: {what} is also in clients.{owners[secret]}",
                    hint="Remove one of the two",
                )
            owners[secret] = name
    return ClientTable(clients)


def _bearer_token(value: str | bytes) -> bytes:
    """Return the token in an ``authorization``.

    Raises:
        UnauthenticatedError: It holds no bearer token.
    """
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


def _texts(auth: Mapping[str, Sequence[bytes]], key: str) -> list[str]:
    return [value.decode("utf-8", "replace") for value in auth.get(key, ())]
