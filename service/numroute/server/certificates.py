"""The service's certificate: checked before it is used, replaced without a restart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from structlog.typing import FilteringBoundLogger

from numroute.certificates import require_certificates, require_pair
from numroute.errors import SettingError
from numroute.files import file_state, read_private_file, read_setting_file
from numroute.logs import error_fields
from numroute.server.settings import TlsFiles

EXPIRES_SOON = timedelta(days=14)
"""How long before its expiry a certificate is warned of."""

REMIND = timedelta(days=1)
"""How often that warning is repeated."""

RSA_BITS_MIN = 2_048
"""The shortest RSA key that today's clients accept."""

CURVES = ("secp256r1", "secp384r1")
"""The curves that gRPC supports. With Ed25519 or P-521 a server starts, but every handshake
fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The checked content of the files.

    Attributes:
        chain: The certificate and its chain, PEM.
        key: The private key, PEM.
        client_ca: The authorities of clients, PEM, or None.
        subject: The certificate's subject, for the log.
        expires: When the first certificate of the chain expires.
    """

    chain: bytes
    key: bytes
    client_ca: bytes | None
    subject: str
    expires: datetime


def load_credentials(files: TlsFiles, *, now: datetime) -> Credentials:
    """Read and check the files.

    Raises:
        SettingError: A file cannot be read or is not valid PEM, the key does not belong to the
            certificate or can be read by others, or a certificate is not valid now.
    """
    chain = read_setting_file(files.certificate, "the certificate")
    key = read_private_file(files.key, "the private key")
    require_certificates(files.certificate, "the certificate")
    require_pair(files.certificate, files.key)
    certificates = x509.load_pem_x509_certificates(chain)
    _require_supported_key(files.key, certificates[0])
    for certificate in certificates:
        _require_valid(files.certificate, certificate, now)
    client_ca = None
    if files.client_ca is not None:
        client_ca = read_setting_file(files.client_ca, "the client authority")
        require_certificates(files.client_ca, "the client authority")
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
        self._files = files
        self._log = log
        self._states = [file_state(path) for path in files.paths]
        self.credentials = load_credentials(files, now=datetime.now(UTC))
        self._configuration = self._handed_over = _configuration(self.credentials)
        self._retry = False
        self._refusal = ""
        self._reminded = datetime.min.replace(tzinfo=UTC)

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials for a port; each new connection gets the newest certificate."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self._changed_configuration,  # type: ignore[arg-type]  # None is allowed, see grpc's documents
            require_client_authentication=self._files.client_ca is not None,
        )

    def poll(self) -> None:
        """Use changed files if they are valid; otherwise keep the old ones and log why.

        Certificate and key are two files, never replaced at the same instant: files that do not
        match are checked a second time before that is logged.
        """
        now = datetime.now(UTC)
        self._remind(now)
        states = [file_state(path) for path in self._files.paths]
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
        self._refusal = ""
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

    def _changed_configuration(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the configuration if grpc does not have it yet; called in a thread of grpc's.

        grpc asks at each handshake, and would parse certificate and key again each time.
        """
        configuration = self._configuration
        if configuration is self._handed_over:
            return None
        self._handed_over = configuration
        return configuration

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
    subject = certificate.subject.rfc4514_string()
    if certificate.not_valid_after_utc <= now:
        raise SettingError(
            f"{path}: the certificate of {subject} expired on "
            f"{certificate.not_valid_after_utc.isoformat()}",
            hint="Issue a new one; check this machine's clock",
        )
    if certificate.not_valid_before_utc > now:
        raise SettingError(
            f"{path}: the certificate of {subject} is not valid before "
            f"{certificate.not_valid_before_utc.isoformat()}",
            hint="Check this machine's clock",
        )
