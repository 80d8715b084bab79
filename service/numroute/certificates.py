"""PEM files of certificates and keys, checked before gRPC gets them.

gRPC only says that no connection was made. The checks are those of the standard library's OpenSSL,
so that a client needs no further package.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from numroute.errors import SettingError
from numroute.files import read_setting_file

_NOT_A_PAIR = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""OpenSSL's reasons when a key belongs to another certificate, the last one for other key types."""


def read_certificates(path: Path | str, what: str) -> bytes:
    """Return the content of a file of certificates; ``what`` names them in a SettingError."""
    path = Path(path)
    content = read_setting_file(path, what)
    # What comes through a pipe cannot be read a second time.
    if path.is_file():
        context = _context()
        try:
            context.load_verify_locations(cafile=path)
            count = context.cert_store_stats()["x509"]
        except (ssl.SSLError, OSError):
            count = 0
        if not count:
            raise SettingError(
                f"{path}: {what} is not valid PEM, or one block in it is not",
                hint="Give a file with whole -----BEGIN CERTIFICATE----- blocks and no others",
            )
    return content


def read_pair(certificate: Path | str, key: Path | str) -> tuple[bytes, bytes]:
    """Return the content of a file with a certificate and its chain, and of one with its key."""
    chain = read_certificates(certificate, "the certificate")
    content = read_setting_file(Path(key), "the private key")
    if Path(certificate).is_file() and Path(key).is_file():
        require_pair(certificate, key)
    return chain, content


def require_pair(certificate: Path | str, key: Path | str) -> None:
    """Refuse a private key that is encrypted, invalid, or belongs to another certificate."""
    try:
        _context().load_cert_chain(certificate, key, password=lambda: _refuse_encrypted(key))
    except ssl.SSLError as error:
        if error.reason in _NOT_A_PAIR:
            raise SettingError(
                f"{key}: the private key does not belong to the certificate {certificate}",
                hint="Give the key that the certificate was issued for; in a file with a chain, "
                "that certificate comes first",
            ) from None
        raise SettingError(
            f"{key}: the private key is not valid PEM",
            hint="Give a file with -----BEGIN PRIVATE KEY----- in it",
        ) from None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Only for reading: the service decides which keys are strong enough.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def _refuse_encrypted(key: Path | str) -> str:
    raise SettingError(
        f"{key}: the private key is encrypted",
        hint="Decrypt it: `openssl pkey -in KEY -out NEW` with umask 077",
    )
