"""The service's certificate: checked before it is used, replaced without a restart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from structlog.typing import FilteringBoundLogger

from numroute.certificates import read_certificates, require_pair
from numroute.errors import SettingError
from numroute.files import Watched, read_setting_file
from numroute.logs import error_fields
from numroute.server.settings import TlsFiles

EXPIRES_SOON = timedelta(days=14)
"""How long before its expiry a certificate is warned of."""

REMIND = timedelta(days=1)
"""How often that warning is repeated."""

RSA_BITS_MIN = 2_048
"""The shortest RSA key that today's clients accept."""

CURVES = ("secp256r1", "secp384r1")
"""The curves that gRPC supports: with others a server starts, but every handshake fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The checked content of the files, in PEM; ``expires`` is the earliest end of the chain."""

    chain: bytes
    key: bytes
    client_ca: bytes | None
    subject: str
    expires: datetime


def load_credentials(files: TlsFiles, *, now: datetime) -> Credentials:
    """Read and check the files. Raises SettingError for one that clients would not accept."""
    chain = read_certificates(files.certificate, "the certificate")
    key = read_setting_file(files.key, "the private key", private=True)
    require_pair(files.certificate, files.key)
    certificates = x509.load_pem_x509_certificates(chain)
    _require_supported_key(files.key, certificates[0])
    for certificate in certificates:
        _require_valid(files.certificate, certificate, now)
    client_ca = None
    if files.client_ca is not None:
        client_ca = read_certificates(files.client_ca, "the client authority")
        authorities = x509.load_pem_x509_certificates(client_ca)
        if all(authority.not_valid_after_utc <= now for authority in authorities):
            _require_valid(files.client_ca, authorities[0], now)
    return Credentials(
        chain=chain,
        key=key,
        client_ca=client_ca,
        subject=certificates[0].subject.rfc4514_string(),
        expires=min(certificate.not_valid_after_utc for certificate in certificates),
    )


class Certificates:
    """The service's credentials: those of the files, or the last valid ones."""

    def __init__(self, files: TlsFiles, log: FilteringBoundLogger) -> None:
        """Load the files; raises as ``load_credentials`` does."""
        self._log = log
        self._needs_client = files.client_ca is not None
        paths = filter(None, (files.certificate, files.key, files.client_ca))
        self._files = Watched(paths, lambda: load_credentials(files, now=datetime.now(UTC)))
        self._handed_over = self.credentials
        self._reminded = datetime.min.replace(tzinfo=UTC)

    @property
    def credentials(self) -> Credentials:
        """The credentials in use."""
        return self._files.content

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials for a port; each new connection gets the newest certificate."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self.credentials),
            self._changed_configuration,  # type: ignore[arg-type]  # None is allowed, see grpc's documents
            require_client_authentication=self._needs_client,
        )

    def poll(self) -> bool:
        """Use changed files if they are valid, else log why not; return whether they are new."""
        changed = self._files.poll(
            lambda error: self._log.error("certificate refused", **error_fields(error))
        )
        now, expires = datetime.now(UTC), self.credentials.expires
        told = {"subject": self.credentials.subject, "expires": expires.isoformat()}
        if changed:
            self._log.info("certificate in use", **told)
        if expires - now < EXPIRES_SOON and (changed or now - self._reminded >= REMIND):
            self._reminded = now
            self._log.warning("certificate expires soon", **told)
        return changed

    def _changed_configuration(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the configuration if grpc does not have it yet; called in a thread of grpc's.

        grpc asks at each handshake, and would parse certificate and key again each time.
        """
        credentials = self.credentials
        if credentials is self._handed_over:
            return None
        self._handed_over = credentials
        return _configuration(credentials)


def _configuration(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(credentials.key, credentials.chain)], root_certificates=credentials.client_ca
    )


def _require_supported_key(path: Path, certificate: x509.Certificate) -> None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        supported = key.key_size >= RSA_BITS_MIN
    else:
        supported = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES
    if not supported:
        raise SettingError(
            f"{path}: clients do not accept a private key of this kind",
            hint="Have the certificate issued for an ECDSA key on P-256 or P-384, or for an RSA "
            f"key of at least {RSA_BITS_MIN:,} bits",
        )


def _require_valid(path: Path, certificate: x509.Certificate, now: datetime) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= now < end:
        when = f"expired on {end.isoformat()}"
        if now < start:
            when = f"is not valid before {start.isoformat()}"
        raise SettingError(
            f"{path}: the certificate of {certificate.subject.rfc4514_string()} {when}",
            hint="Issue a new one; check this machine's clock",
        )
