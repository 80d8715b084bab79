"""How a client authenticates the service, and itself to the service: TLS and tokens."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import grpc

from numroute.certificates import read_certificates, read_pair
from numroute.errors import SettingError
from numroute.files import Watched, read_setting_file

Metadata: TypeAlias = "tuple[tuple[str, str], ...]"
"""The metadata of a call."""

TOKEN_CHECK_SECONDS = 1.0
"""How often a token file is checked: a new token is used this long after it was written."""

AUTHORIZATION = "authorization"
"""The header that carries the token, ``Bearer TOKEN`` (RFC 6750, 2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """TLS and the token of a client; by default plaintext without a token.

    Attributes:
        tls: Speak TLS. Implied by ``ca``, ``cert`` and ``key``.
        ca: File with the authority's certificates (PEM) that the service's must come from; when
            None, those that this system trusts (OpenSSL's file, or the one in ``SSL_CERT_FILE``).
        cert: File with this client's certificate (PEM), for mutual TLS.
        key: File with its private key (PEM).
        server_name: The name that the service's certificate must have, when it is not the
            target's. One name for all replicas: by default the first name of a list.
        token: The token that identifies the client.
        token_file: File that holds the token; read again when it changes.
    """

    tls: bool = False
    ca: Path | str | None = None
    cert: Path | str | None = None
    key: Path | str | None = None
    server_name: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | str | None = None

    def __post_init__(self) -> None:
        """Refuse a certificate without its key or the reverse, and two tokens."""
        if (self.cert is None) != (self.key is None):
            raise SettingError(
                "a client's certificate needs its key, and the key its certificate",
                hint="Give cert and key",
            )
        if self.token is not None and self.token_file is not None:
            raise SettingError(
                "a token is given twice", hint="Give the token or the file that holds it"
            )

    @property
    def encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self.tls or self.ca is not None or self.cert is not None

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return what a channel needs to speak TLS; None for plaintext."""
        if not self.encrypted:
            return None
        authorities = _system_authorities() if self.ca is None else self.ca
        chain, key = None, None
        if self.cert is not None and self.key is not None:
            chain, key = read_pair(self.cert, self.key)
        return grpc.ssl_channel_credentials(
            root_certificates=read_certificates(authorities, "the authority"),
            private_key=key,
            certificate_chain=chain,
        )

    def token_metadata(self, *, loopback: bool) -> Callable[[], Metadata]:
        """Return a function that returns what each call carries; cheap enough for every call.

        ``loopback`` says that calls stay on this machine: only then may plaintext carry a token.
        """
        if self.token is None and self.token_file is None:
            return lambda: ()
        if not self.encrypted and not loopback:
            raise SettingError(
                "a token is not sent to another machine in plaintext",
                hint="Speak TLS: give the file of the service's CA, or tls=True",
            )
        if self.token_file is not None:
            return _token_in(Path(self.token_file))
        fixed = _header(self.token or "", "the token")
        return lambda: fixed


PLAINTEXT = Security()
"""No TLS and no token."""


def _token_in(path: Path) -> Callable[[], Metadata]:
    """Return a function that returns the token in a file that may be replaced at any time."""

    def read() -> Metadata:
        return _header(read_setting_file(path, "the token").decode("ascii", "replace"), str(path))

    file, lock = Watched([path], read), threading.Lock()
    check_at = time.monotonic() + TOKEN_CHECK_SECONDS

    def metadata() -> Metadata:
        nonlocal check_at
        with lock:  # or a thread that read the file earlier could put an old token back
            if time.monotonic() >= check_at:
                check_at = time.monotonic() + TOKEN_CHECK_SECONDS
                # While it cannot be read it is being replaced, or was removed by mistake: the last
                # token may still be good.
                file.poll(lambda _: None)
        return file.content

    return metadata


def _header(token: str, where: str) -> Metadata:
    stripped = token.strip()
    if not stripped or not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise SettingError(f"{where} is not a token", hint="Give one line of visible characters")
    return ((AUTHORIZATION, f"Bearer {stripped}"),)


def _system_authorities() -> str:
    """Return the file of authorities that this system trusts; gRPC would use its own list."""
    path = ssl.get_default_verify_paths().cafile
    if path is None:
        raise SettingError(
            "this system has no file of trusted authorities",
            hint="Give the file of the service's CA, or name one in SSL_CERT_FILE",
        )
    return path
