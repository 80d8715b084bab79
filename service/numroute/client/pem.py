"""A client's PEM files, looked at before gRPC gets them: it only says that no connection was made.

By the standard library's OpenSSL: a client needs no more than gRPC.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from numroute.errors import SettingError

_NOT_A_PAIR = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""OpenSSL's reasons when a key is another certificate's; the last where it is of another kind."""


def read_certificates(path: Path | str, what: str) -> bytes:
    """Return the content of a file of certificates; ``what`` is what an error calls them.

    Raises:
        SettingError: It cannot be read, or holds no certificate.
    """
    content = _read(path)
    # What comes through a pipe cannot be read a second time.
    if Path(path).is_file():
        context = _context()
        try:
            context.load_verify_locations(cafile=path)
            found = context.cert_store_stats()["x509"]
        except (ssl.SSLError, OSError):
            found = 0
        if not found:
            raise SettingError(
                f"{path}: {what} is no PEM certificate that is understood, or one in it is not",
                hint="Give a file with whole -----BEGIN CERTIFICATE----- blocks and no others",
            )
    return content


def read_pair(certificate: Path | str, key: Path | str) -> tuple[bytes, bytes]:
    """Return the content of a file with a certificate and its chain, and of one with its key.

    Raises:
        SettingError: One cannot be read or is not what it should be, or they do not belong
            together.
    """
    pair = read_certificates(certificate, "the certificate"), _read(key)
    if Path(certificate).is_file() and Path(key).is_file():
        try:
            _context().load_cert_chain(certificate, key, password=lambda: _refuse_encrypted(key))
        except ssl.SSLError as error:
            if error.reason in _NOT_A_PAIR:
                raise SettingError(
                    f"{key}: the private key is not that of the certificate {certificate}",
                    hint="Give the key that the certificate was issued for; the client's own "
                    "certificate stands first in its file",
                ) from None
            raise SettingError(
                f"{key}: the private key is no PEM key that is understood",
                hint="Give a file with -----BEGIN PRIVATE KEY----- in it",
            ) from None
    return pair


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It only reads: which keys are strong enough is for the service to say.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def _refuse_encrypted(key: Path | str) -> str:
    raise SettingError(
        f"{key}: the private key is encrypted",
        hint="Decrypt it: `openssl pkey -in KEY -out NEW` with umask 077",
    )


def _read(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingError(
            f"{path}: cannot be read: {error.strerror}", hint="Give the path of a PEM file"
        ) from None
