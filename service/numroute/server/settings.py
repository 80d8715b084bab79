"""The settings of a service, checked once before it starts."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from numroute.errors import SettingError

PORT_MAX = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of the service's certificate and its chain, its private key, and authorities.

    With ``client_ca`` every client must present a certificate of one of these authorities.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Who may reach the service, and how.

    Attributes:
        tokens: The file of clients, their token hashes and limits, see ``numroute.server.auth``.
        token_lines: The text of such a file itself; its clients are added to those of the file.
        state: The folder in which quotas are counted, so that they survive a restart.
        insecure: Allow plaintext (without ``tls``) and unknown clients beyond loopback.
        reflection: Whether clients can list the service's methods; None allows it on loopback.
    """

    tls: TlsFiles | None = None
    tokens: Path | None = None
    token_lines: str = ""
    state: Path | None = None
    insecure: bool = False
    reflection: bool | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether clients and their tokens are listed."""
        return self.tokens is not None or bool(self.token_lines.strip())

    @property
    def has_client_ca(self) -> bool:
        """Whether clients must present a certificate."""
        return self.tls is not None and self.tls.client_ca is not None

    @property
    def identifies_clients(self) -> bool:
        """Whether only known clients may ask."""
        return self.has_tokens or self.has_client_ca

    def offers_reflection(self, host: str) -> bool:
        """Return whether a service that listens on ``host`` offers reflection."""
        return is_loopback(host) if self.reflection is None else self.reflection


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """All settings of a service.

    Attributes:
        listen: Address, ``host:port`` or ``[IPv6]:port``. With port 0 the system chooses one.
        max_age: Answers from a snapshot whose data is older than this are marked stale.
        drain_seconds: How long calls under way may take to end after a stop signal.
        workers: How many processes answer calls, under one supervisor.
        worker_memory: A worker that takes more bytes than this, the index aside, is replaced.
        security: Who may reach the service, and how.
        metrics: HTTP address of metrics and probes, written like ``listen``; None for none.
    """

    store: Path
    listen: str = "127.0.0.1:50051"
    max_age: timedelta | None = None
    drain_seconds: float = 10.0
    workers: int = 1
    worker_memory: int = 2 * 1024**3
    security: Security = field(default_factory=Security)
    metrics: str | None = None

    def __post_init__(self) -> None:
        """Refuse a wrong address, and a service open to anybody beyond this machine."""
        for address in (self.listen, *filter(None, [self.metrics])):
            match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:\s]+):([0-9]{1,5})", address)
            if match is None or int(match[2]) > PORT_MAX:
                raise SettingError(
                    f"{address!r} is not an address to listen on",
                    hint=f"Give host:port with a port from 0 to {PORT_MAX}, e.g. 127.0.0.1:50051",
                )
        if self.security.insecure or is_loopback(self.host):
            return
        if self.security.tls is None:
            raise SettingError(
                f"plaintext would be served beyond this machine, on {self.host}",
                hint="Give --tls-cert and --tls-key, listen on 127.0.0.1, or allow it with "
                "--insecure, e.g. behind a mesh that encrypts",
            )
        if not self.security.identifies_clients:
            raise SettingError(
                f"anybody who reaches {self.host} could ask",
                hint="Give --tokens or --tls-client-ca, or allow it with --insecure",
            )

    @property
    def host(self) -> str:
        """The host part of ``listen``."""
        return host_and_port(self.listen)[0]


def host_and_port(address: str) -> tuple[str, int]:
    """Return the parts of an address; the host is without the brackets of an IPv6 address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether every address of a host name leads to this machine only."""
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        # Listening there will fail, and say why.
        return False
    return all(ipaddress.ip_address(str(address[0])).is_loopback for *_, address in addresses)
