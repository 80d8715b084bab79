"""Who may reach the service and how: what is allowed, checked before the service starts."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from numroute.server.certificates import TlsFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """How a service protects itself.

    Attributes:
        tls: The files of its certificate; None serves plaintext.
        tokens: The file of clients and hashes of tokens, see ``numroute.server.tokens``.
        token_lines: The same lines as text; with a file, theirs come in addition.
        state: The folder in which daily quotas are counted, so that they survive a restart.
        insecure: Allow what is refused otherwise beyond loopback: plaintext, and unknown clients.
        reflection: Whether clients can ask what the service's methods are; None only on loopback.
    """

    tls: TlsFiles | None = None
    tokens: Path | None = None
    token_lines: str = ""
    state: Path | None = None
    insecure: bool = False
    reflection: bool | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether there is a list of clients with their tokens."""
        return self.tokens is not None or bool(self.token_lines.strip())

    @property
    def has_client_ca(self) -> bool:
        """Whether clients must show a certificate."""
        return self.tls is not None and self.tls.client_ca is not None

    @property
    def tells_clients_apart(self) -> bool:
        """Whether only known clients may ask."""
        return self.has_tokens or self.has_client_ca

    def offers_reflection(self, host: str) -> bool:
        """Return whether a service that listens on ``host`` offers reflection."""
        return is_loopback(host) if self.reflection is None else self.reflection

    def require_allowed(self, host: str) -> None:
        """Refuse an open door.

        Raises:
            SettingError: The service would be reached by other machines in plaintext or by
                anybody, and nobody asked for that by name.
        """
        if self.insecure or is_loopback(host):
            return
        if self.tls is None:
            raise SettingError(
                f"plaintext would be served beyond this machine, on {host}",
                hint="Give --tls-cert and --tls-key, listen on 127.0.0.1, or allow it with "
                "--insecure, e.g. behind a mesh that encrypts",
            )
        if not self.tells_clients_apart:
            raise SettingError(
                f"anybody who reaches {host} could ask",
                hint="Give --tokens or --tls-client-ca, or allow it with --insecure",
            )


def is_loopback(host: str) -> bool:
    """Return whether every address of a host name leads only to this machine itself."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        # To listen there will fail, and say why.
        return False
    return all(ipaddress.ip_address(str(address[0])).is_loopback for *_, address in found)
