"""Certificates made for a test, in files as an operator has them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import grpc
import trustme

from numroute.server.settings import TlsFiles


@dataclass(frozen=True)
class Authority:
    """A certificate authority with a folder for what it issues."""

    folder: Path
    ca: trustme.CA

    @classmethod
    def make(cls, folder: Path) -> Authority:
        """Make one; its own certificate is ``ca.pem`` in the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        authority = cls(folder, trustme.CA())
        authority.ca.cert_pem.write_to_path(authority.path)
        return authority

    @property
    def path(self) -> Path:
        """The file of the authority's certificate."""
        return self.folder / "ca.pem"

    def issue(
        self,
        name: str = "service",
        *,
        not_after: datetime | None = None,
        not_before: datetime | None = None,
        client_ca: Path | None = None,
        common_name: str | None = None,
    ) -> TlsFiles:
        """Issue a certificate for localhost and ``name``, in ``name.pem`` and ``name.key``."""
        issued = self.ca.issue_cert(
            name,
            "localhost",
            "127.0.0.1",
            common_name=common_name or name,
            not_after=not_after,
            not_before=not_before,
        )
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.touch(0o600)
        key.write_bytes(issued.private_key_pem.bytes())
        return TlsFiles(certificate=certificate, key=key, client_ca=client_ca)

    def channel(self, target: str, client: TlsFiles | None = None) -> grpc.Channel:
        """Return a channel that trusts the authority, with a client's certificate or without."""
        credentials = grpc.ssl_channel_credentials(
            self.path.read_bytes(),
            None if client is None else client.key.read_bytes(),
            None if client is None else client.certificate.read_bytes(),
        )
        return grpc.secure_channel(target, credentials, options=(("grpc.enable_retries", 0),))


def replace(old: TlsFiles, new: TlsFiles) -> None:
    """Put new files over old ones, each by a rename."""
    new.certificate.rename(old.certificate)
    new.key.rename(old.key)
