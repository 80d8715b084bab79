"""How to reach an SFTP host: its address, the login, and the host's pinned key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from numroute.errors import SettingError
from numroute.files import read_private_file

if TYPE_CHECKING:
    from pathlib import Path

SFTP_PORT = 22
TIMEOUT_SECONDS = 30.0
"""The default limit of connecting, logging in and each later step."""

FINGERPRINT_START = "SHA256:"

_EXAMPLE = "Write it as sftp://USER@HOST:PORT/PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpAddress:
    """The host's address; an empty ``path`` means the registry's own."""

    user: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sftp://{self.user}@{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpSettings:
    """The settings of a connection.

    ``known_hosts``: a file in the form of OpenSSH. ``fingerprints``: of host keys, as ``ssh-keygen
    -l`` shows them. A host must be known by one or the other. ``password`` and ``passphrase`` come
    from the environment, ``password_file`` and ``key_file`` are read for each connection.
    """

    address: SftpAddress
    known_hosts: Path | None = None
    fingerprints: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    key_file: Path | None = None
    passphrase: str | None = field(default=None, repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        """Raise SettingError for settings that can never work."""
        if self.known_hosts is None and not self.fingerprints:
            raise SettingError(
                "no key is pinned for the SFTP host, and a key is never trusted on first use",
                hint="Give --known-hosts FILE, or --host-key SHA256:... as the registry states it",
            )
        for each in self.fingerprints:
            if not each.startswith(FINGERPRINT_START):
                raise SettingError(
                    f"{each!r} is not a fingerprint of a host key",
                    hint=f"Write it as {FINGERPRINT_START}..., as `ssh-keygen -l` shows it",
                )
        if self.password is None and self.password_file is None and self.key_file is None:
            raise SettingError(
                "the SFTP host needs a password or a key",
                hint="Give --password-file FILE, --key-file FILE, or NUMROUTE_SFTP_PASSWORD",
            )

    def read_password(self) -> str | None:
        """Return the password or None; raises SettingError."""
        if self.password_file is None:
            return self.password
        content = read_private_file(self.password_file, "the SFTP password")
        return content.decode("utf-8", "replace").rstrip("\r\n")

    def read_key(self) -> bytes | None:
        """Return the content of the private key's file or None; raises SettingError."""
        if self.key_file is None:
            return None
        return read_private_file(self.key_file, "the SFTP private key")


def parse_address(url: str) -> SftpAddress:
    """Read ``sftp://user@host:port/path``; raises SettingError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingError("invalid SFTP URL", hint=_EXAMPLE) from None
    if parts.password is not None:
        # Without the URL: it would print the password.
        raise SettingError(
            "the SFTP URL holds a password, where others can see it",
            hint="Leave it out and give --password-file FILE or NUMROUTE_SFTP_PASSWORD",
        )
    if parts.scheme != "sftp" or not parts.hostname or not parts.username:
        raise SettingError(f"{url!r} is not the URL of an SFTP folder", hint=_EXAMPLE)
    return SftpAddress(
        user=unquote(parts.username),
        host=parts.hostname,
        port=port or SFTP_PORT,
        path=unquote(parts.path).rstrip("/"),
    )
