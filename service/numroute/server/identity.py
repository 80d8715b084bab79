"""Find out who asks, by token or certificate, and refuse who is not known."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from numroute.errors import UnauthenticatedError
from numroute.server.tokens import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grpc import StatusCode
    from structlog.typing import FilteringBoundLogger

    from numroute.server.clients import Clients
    from numroute.server.guard import Call
    from numroute.server.security import Security

REPEAT_SECONDS = 60.0
"""How often a refusal of one kind, from one host, is logged."""

REMEMBERED_REFUSALS_MAX = 1_000
"""How many kinds and hosts are remembered for that."""

AUTHORIZATION = "authorization"
SCHEME = "bearer "
TOKEN_LENGTH_MAX = 512


class Identity:
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

    def begin(self, call: Call) -> None:
        """Set the call's client, or refuse it."""
        try:
            call.client = self._client(call)
        except UnauthenticatedError as error:
            self._tell(call, error)
            raise

    def numbers(self, call: Call, count: int) -> None:
        """Let every count pass."""

    def end(self, call: Call, status: StatusCode) -> None:
        """Need nothing at the end."""

    def _client(self, call: Call) -> str:
        token = _bearer_token(call.metadata)
        if token is not None:
            return self._clients.table.of_token(token).name
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


def _bearer_token(metadata: Sequence[tuple[str, str | bytes]]) -> bytes | None:
    """Return the token that a call sends, None without one.

    Raises:
        UnauthenticatedError: What it sends is no bearer token.
    """
    for key, value in metadata:
        if key == AUTHORIZATION:
            if (
                isinstance(value, str)
                and len(value) <= TOKEN_LENGTH_MAX
                and value[: len(SCHEME)].lower() == SCHEME
            ):
                return value[len(SCHEME) :].strip().encode()
            raise UnauthenticatedError(
                "the authorization is no bearer token",
                reason="malformed_token",
                hint="Send it as metadata, `authorization: Bearer TOKEN`",
            )
    return None


def _texts(auth: Mapping[str, Sequence[bytes]], key: str) -> list[str]:
    return [value.decode("utf-8", "replace") for value in auth.get(key, ())]
