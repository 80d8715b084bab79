"""What a service is given in production, certificates, tokens, limits, and what clients show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

from numroute.client.security import Security
from numroute.server.auth import new_token, token_entry

if TYPE_CHECKING:
    from pathlib import Path

OTHER_CLIENTS = 50
"""As many clients as a busy house has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Words for the service's command line, and what a client needs.

    Attributes:
        guards: Tokens, a rate and a daily quota that are counted and never reached.
        tls: Certificate and key.
        ca: The file with the authority's certificate.
        token: The client's token.
    """

    guards: tuple[str | Path, ...]
    tls: tuple[str | Path, ...]
    ca: Path
    token: str

    @property
    def security(self) -> Security:
        """What the product's client is told to get in."""
        return Security(ca=self.ca, token=self.token)


def make_protection(folder: Path) -> Protection:
    """Make all files that it takes in a folder."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key, ca = folder / "service.pem", folder / "service.key", folder / "ca.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(ca)
    token, sha256 = new_token()
    others = [token_entry(f"client-{number}", new_token()[1]) for number in range(OTHER_CLIENTS)]
    tokens = folder / "tokens"
    lines = [
        *others,
        token_entry("bench", sha256),
        "[clients.bench]\nrate = 1000000000000\ndaily = 1000000000000",
    ]
    for path, content in (
        (key, issued.private_key_pem.bytes()),
        (tokens, "\n".join(lines).encode()),
    ):
        path.touch(0o600)
        path.write_bytes(content)
    return Protection(
        guards=("--tokens", tokens, "--state", folder / "state"),
        tls=("--tls-cert", certificate, "--tls-key", key),
        ca=ca,
        token=token,
    )
