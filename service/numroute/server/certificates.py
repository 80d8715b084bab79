"""The service's certificate: checked before it is used, and replaced without a restart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from numroute.errors import SettingError
from numroute.files import (
    FileState,
    file_state,
    read_private_file,
    read_setting_file,
)
from numroute.logs import error_fields

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from structlog.typing import FilteringBoundLogger

EXPIRES_SOON = timedelta(days=14)
"""From when on a certificate's end is announced in the log."""

REMIND = timedelta(days=1)
"""How often it is announced."""

RSA_BITS_MIN = 2_048
"""The shortest RSA key that today's clients accept."""

CURVES = ("secp256r1", "secp384r1")
"""The curves that gRPC's servers serve and its clients accept; Ed25519 and P-521 are not among
them: such a server starts, and then every handshake fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where the service finds its certificate.

    Attributes:
        certificate: PEM file of the certificate and the chain above it, the service's own first.
        key: PEM file of its private key, not encrypted; only its owner may read it.
        client_ca: PEM file of the authorities whose clients may connect. With it every client
            must show a certificate; None lets any client connect.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return (self.certificate, self.key, *([self.client_ca] if self.client_ca else []))


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Checked content of the files.

    Attributes:
        chain: The certificate and its chain, PEM.
        key: The private key, PEM.
        client_ca: The authorities of clients, PEM, or None.
        subject: Whom the certificate names, for the log.
        expires: When the first certificate of the chain ends.
    """

    chain: bytes
    key: bytes
    client_ca: bytes | None
    subject: str
    expires: datetime


def load_credentials(files: TlsFiles, *, now: datetime) -> Credentials:
    """Read and check the files.

    Raises:
        SettingError: A file cannot be read, is no PEM file of its kind, the key is not that of the
            certificate or can be read by others, or a certificate is not valid now.
    """
    chain_text = read_setting_file(files.certificate, "the certificate")
    chain = _certificates(files.certificate, chain_text, "the certificate")
    key_text = read_private_file(files.key, "the private key")
    key = _private_key(files.key, key_text)
    _require_served(files.key, key)
    _require_match(files, chain[0], key)
    for certificate in chain:
        _require_valid(files.certificate, certificate, now)
    client_ca = None
    if files.client_ca is not None:
        client_ca = read_setting_file(files.client_ca, "the client authority")
        authorities = _certificates(files.client_ca, client_ca, "the client authority")
        if all(authority.not_valid_after_utc <= now for authority in authorities):
            _require_valid(files.client_ca, authorities[0], now)
    return Credentials(
        chain=chain_text,
        key=key_text,
        client_ca=client_ca,
        subject=chain[0].subject.rfc4514_string(),
        expires=min(certificate.not_valid_after_utc for certificate in chain),
    )


class Certificates:
    """Keeps the service's credentials: those of the files, or the last that were right."""

    def __init__(self, files: TlsFiles, log: FilteringBoundLogger) -> None:
        """Load the files.

        Raises:
            SettingError: They are not right, see ``load_credentials``.
        """
        self._files = files
        self._log = log
        self._states = self._look()
        self.credentials = load_credentials(files, now=datetime.now(UTC))
        self._configuration = self._handed_over = _configuration(self.credentials)
        self._retry = False
        self._refusal: str | None = None
        self._reminded = datetime.min.replace(tzinfo=UTC)

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials for a port; each connection is made with the newest certificate."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self._changed_configuration,  # type: ignore[arg-type]  # None is allowed, see grpc's documents
            require_client_authentication=self._files.client_ca is not None,
        )

    def _changed_configuration(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the configuration if grpc does not have it yet; in a thread of grpc's.

        It asks at each handshake, and would parse certificate and key anew each time.
        """
        configuration = self._configuration
        if configuration is self._handed_over:
            return None
        self._handed_over = configuration
        return configuration

    def poll(self) -> None:
        """Take over changed files if they are right; else keep what is in use and log why.

        Certificate and key are two files that are never replaced in one moment: what does not fit
        is looked at once more before it is logged.
        """
        now = datetime.now(UTC)
        self._remind(now)
        states = self._look()
        if states == self._states and not self._retry:
            return
        settled = states == self._states
        self._states = states
        try:
            credentials = load_credentials(self._files, now=now)
        except SettingError as error:
            self._retry = True
            if settled and self._refusal != str(error):
                self._refusal = str(error)
                self._log.error("certificate refused", **error_fields(error))
            return
        self._retry = False
        self._refusal = None
        if credentials == self.credentials:
            return
        self.credentials = credentials
        self._configuration = _configuration(credentials)
        self._reminded = datetime.min.replace(tzinfo=UTC)
        self._log.info(
            "certificate in use",
            subject=credentials.subject,
            expires=credentials.expires.isoformat(),
        )

    def _look(self) -> tuple[FileState | None, ...]:
        return tuple(file_state(path) for path in self._files.paths)

    def _remind(self, now: datetime) -> None:
        if self.credentials.expires - now < EXPIRES_SOON and now - self._reminded >= REMIND:
            self._reminded = now
            self._log.warning(
                "certificate expires soon",
                subject=self.credentials.subject,
                expires=self.credentials.expires.isoformat(),
            )


def _configuration(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(credentials.key, credentials.chain)], root_certificates=credentials.client_ca
    )


def _certificates(path: Path, text: bytes, what: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(text)
        for certificate in found:
            # Both are parsed when they are first asked for.
            certificate.subject.rfc4514_string()
            certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise SettingError(
            f"{path}: {what} is no PEM certificate that is understood",
            hint="Give a file with -----BEGIN CERTIFICATE----- in it",
        ) from None
    return found


def _private_key(path: Path, text: bytes) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(text, password=None)
    except TypeError:
        raise SettingError(
            f"{path}: the private key is encrypted",
            hint="Decrypt it: `openssl pkey -in KEY -out NEW` with umask 077",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingError(
            f"{path}: the private key is no PEM key that is understood",
            hint="Give a file with -----BEGIN PRIVATE KEY----- in it",
        ) from None


def _require_served(path: Path, key: PrivateKeyTypes) -> None:
    if isinstance(key, rsa.RSAPrivateKey):
        served = key.key_size >= RSA_BITS_MIN
    else:
        served = isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES
    if not served:
        raise SettingError(
            f"{path}: no client would accept a private key of this kind",
            hint="Have the certificate issued for an ECDSA key on P-256 or P-384, or for an RSA "
            f"key of at least {RSA_BITS_MIN:,} bits",
        )


def _require_match(files: TlsFiles, certificate: x509.Certificate, key: PrivateKeyTypes) -> None:
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise SettingError(
            f"{files.key}: the private key is not that of the certificate {files.certificate}",
            hint="Give the key that the certificate was issued for; the service's own certificate "
            "stands first in its file",
        )


def _require_valid(path: Path, certificate: x509.Certificate, now: datetime) -> None:
    subject = certificate.subject.rfc4514_string()
    if certificate.not_valid_after_utc <= now:
        raise SettingError(
            f"{path}: the certificate of {subject} has expired on "
            f"{certificate.not_valid_after_utc.isoformat()}",
            hint="Issue a new one; check this machine's clock",
        )
    if certificate.not_valid_before_utc > now:
        raise SettingError(
            f"{path}: the certificate of {subject} is valid only from "
            f"{certificate.not_valid_before_utc.isoformat()}",
            hint="Check this machine's clock",
        )
