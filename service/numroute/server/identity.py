"""Find out who asks, by token or certificate, and refuse who is not known."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from numroute.errors import UnauthenticatedError
from numroute.server.guard import STREAM, Guard
from numroute.server.tokens import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from numroute.server.clients import Clients
    from numroute.server.guard import Call
    from numroute.server.security import Security
    from numroute.server.tokens import Token

REPEAT_SECONDS = 60.0
"""How often a refusal of one kind, from one host, is logged."""

REMEMBERED_REFUSALS_MAX = 1_000
"""How many kinds and hosts are remembered for that."""

REMEMBERED_TOKENS_MAX = 4_096
"""How many right tokens are known by sight, until the clients' table is another."""

AUTHORIZATION = "authorization"
SCHEME = "bearer "
TOKEN_LENGTH_MAX = 512


class Identity(Guard):
    """A guard that lets known clients in and says who they are.

    A token decides where one is sent. Without one the client's certificate does: by the tokens
    file's ``certificate=`` lines where there are tokens, else by its common name.
    """

    def __init__(self, clients: Clients, security: Security, log: FilteringBoundLogger) -> None:
        """Let in the table's clients; without tokens, whoever the authority vouches for."""
        self._clients = clients
        self._log = log
        self._has_tokens = security.has_tokens
        self._has_ca = security.has_client_ca
        self._refusals: dict[tuple[str, str], tuple[float, int]] = {}
        self._table = clients.table
        self._seen: dict[str | bytes, Token] = {}

    def begin(self, call: Call) -> None:
        """Set the call's client, or refuse it."""
        try:
            call.client = self._client(call)
        except UnauthenticatedError as error:
            self._tell(call, error)
            raise

    def numbers(self, call: Call, count: int) -> None:  # noqa: ARG002 - as a guard has it
        """Look again at each question of a stream, which may outlive its client's token."""
        if call.method == STREAM:
            self.begin(call)

    def _client(self, call: Call) -> str:
        for key, value in call.metadata:
            if key == AUTHORIZATION:
                return self._of_authorization(value)
        if self._has_ca:
            auth = call.auth_context()
            common_name = _texts(auth, "x509_common_name")
            if not self._has_tokens:
                if common_name and NAME.fullmatch(common_name[0]):
                    return common_name[0]
            else:
                names = common_name + _texts(auth, "x509_subject_alternative_name")
                client = self._clients.table.of_certificate(names)
                if client is not None:
                    return client.name
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

    def _of_authorization(self, value: str | bytes) -> str:
        """Return the client whose token this is; one that was right is known by sight again.

        To know it costs no time that tells: a dict compares 64 secret bits of its keys first.
        """
        if self._clients.table is not self._table:
            self._table = self._clients.table
            self._seen.clear()
        token = self._seen.get(value)
        if token is None:
            token = self._table.of_token(_bearer_token(value))
            if len(self._seen) >= REMEMBERED_TOKENS_MAX:
                self._seen.clear()
            self._seen[value] = token
        token.require_valid()
        return token.client.name

    def _tell(self, call: Call, error: UnauthenticatedError) -> None:
        """Log a refusal, but not each of thousands."""
        host = call.peer.rpartition(":")[0]
        key = (error.reason, host)
        now = time.monotonic()
        last, untold = self._refusals.get(key, (-REPEAT_SECONDS, 0))
        if now - last < REPEAT_SECONDS:
            self._refusals[key] = (last, untold + 1)
            return
        if len(self._refusals) >= REMEMBERED_REFUSALS_MAX:
            self._refusals.clear()
        self._refusals[key] = (now, 0)
        self._log.warning(
            "call refused",
            reason=error.reason,
            peer=host,
            method=call.method,
            client=error.client or None,
            untold=untold,
        )


def _bearer_token(value: str | bytes) -> bytes:
    """Return the token in an ``authorization``.

    Raises:
        UnauthenticatedError: It is no bearer token.
    """
    if (
        not isinstance(value, str)
        or len(value) > TOKEN_LENGTH_MAX
        or value[: len(SCHEME)].lower() != SCHEME
    ):
        raise UnauthenticatedError(
            "the authorization is no bearer token",
            reason="malformed_token",
            hint="Send it as metadata, `authorization: Bearer TOKEN`",
        )
    return value[len(SCHEME) :].strip().encode()


def _texts(auth: Mapping[str, Sequence[bytes]], key: str) -> list[str]:
    return [value.decode("utf-8", "replace") for value in auth.get(key, ())]
