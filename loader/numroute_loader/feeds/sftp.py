"""An SFTP host as a source of the registry's files.

The host's key must be one that the settings pin: nothing is sent to or read from a host with
another key. The user's ssh configuration and agent are ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import unquote, urlsplit

import asyncssh

from numroute.errors import FeedError, HostKeyError, InputError, LoginRefusedError, SettingError
from numroute.files import read_setting_file
from numroute_loader.feeds.sources import PIECE_BYTES, ChangedError, RemoteFile

_CLOSED = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPPermissionDenied)
"""The answers of a host about a folder that is missing, or not part of the contract."""

_WITHHELD = (asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure)
"""The answers of a host about a single file that it refuses to send."""

_Result = TypeVar("_Result")


@dataclass(kw_only=True, repr=False)
class SftpSource:
    """An SFTP host's folder, by default ``root``, and the registry's folders in it.

    ``known_hosts``: a file in the form of OpenSSH with the host's key. ``password`` and
    ``passphrase`` come from the environment; ``password_file``, which wins over ``password``, and
    ``key_file`` are read for each connection.
    """

    url: str
    root: str
    folders: Sequence[str]
    known_hosts: Path | None
    password: str | None
    password_file: Path | None
    key_file: Path | None
    passphrase: str | None
    timeout_seconds: float

    def __post_init__(self) -> None:
        """Raise SettingError for settings that can never work."""
        try:
            parts = urlsplit(self.url)
            has_host = parts.hostname and parts.username and parts.port != 0
        except ValueError:
            has_host = False
        if not has_host or parts.scheme != "sftp" or parts.password is not None:
            # Without the URL: it could print a password.
            raise SettingError(
                "the SFTP URL lacks a user or a host, or holds a password",
                hint="Write it as sftp://USER@HOST:PORT/PATH, and give the password with "
                "--password-file FILE or NUMROUTE_SFTP_PASSWORD",
            )
        if self.known_hosts is None:
            raise SettingError(
                "no key is pinned for the SFTP host, and a key is never trusted on first use",
                hint="Give --known-hosts FILE with the key whose fingerprint the registry states",
            )
        if not (self.password or self.password_file or self.key_file):
            raise SettingError(
                "the SFTP host needs a password or a key",
                hint="Give --password-file FILE, --key-file FILE, or NUMROUTE_SFTP_PASSWORD",
            )
        path = parts.path.rstrip("/") or self.root
        self._address = parts._replace(path=path, query="", fragment="")
        self.name = self._address.geturl()

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Connect, log in, and disconnect when the block ends.

        Raises HostKeyError, LoginRefusedError, FeedError or SettingError.
        """
        with asyncio.Runner() as self._runner:
            # Steps left by a time-out or a signal end with errors that say nothing more.
            self._runner.get_loop().set_exception_handler(lambda _loop, _context: None)
            with self._errors("cannot be reached"):
                connection = self._connect()
            try:
                with self._errors("the host does not speak SFTP"):
                    self._sftp = self._run(connection.start_sftp_client())
                yield
            finally:
                connection.abort()
                with contextlib.suppress(OSError, asyncssh.Error):
                    self._run(connection.wait_closed())

    def listing(self) -> list[RemoteFile]:
        """Return all files in the folders; a folder that is missing or closed to us has none."""
        files: list[RemoteFile] = []
        root = unquote(self._address.path)
        folders = [root, *(f"{root}/{each}" for each in self.folders)]
        closed = 0
        for folder in folders:
            with self._errors("cannot be listed"):
                try:
                    entries = self._run(self._sftp.readdir(folder))
                except _CLOSED:
                    closed += 1
                    continue
            files += [
                RemoteFile(name, f"{folder}/{name}", *_size_and_time(attributes))
                for name, attributes in ((str(each.filename), each.attrs) for each in entries)
                if attributes.type == asyncssh.FILEXFER_TYPE_REGULAR
            ]
        if closed == len(folders):
            raise FeedError(
                f"{self.name}: none of these folders exists: {', '.join(folders)}",
                hint="Check the URL's path and --folder",
            )
        return files

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        """Yield a file's content from an offset."""
        with self._errors(f"{file.path}: the download broke off"):
            try:
                remote = self._run(self._sftp.open(file.path, "rb"))
                while offset < file.size:
                    size = min(PIECE_BYTES, file.size - offset)
                    piece = cast("bytes", self._run(remote.read(size, offset)))
                    if not piece:
                        break
                    yield piece
                    offset += len(piece)
                # After a failure the file is not closed: the connection ends anyway, and a host
                # that hangs would not answer the close either.
                after = self._run(remote.stat())
                self._run(remote.close())
            except _WITHHELD as error:
                reason = f"the host refuses to send it: {error.reason}"
                raise InputError(file.path, reason, hint="Ask the registry") from None
        if _size_and_time(after) != (file.size, file.mtime_ns):
            changed = f"{self.name}: {file.path}: it changed while it was fetched"
            raise ChangedError(changed, hint="It will be tried again")

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Turn the errors of a connection into FeedErrors."""
        try:
            yield
        except TimeoutError:
            why = f"no answer in {self.timeout_seconds:g} s"
        except asyncssh.Error as error:
            why = error.reason
        except OSError as error:
            why = error.strerror or str(error) or type(error).__name__
        else:
            return
        hint = "It will be tried again; check address and firewall, and with the registry what the "
        raise FeedError(f"{self.name}: {what}: {why}", hint=f"{hint}account may do")

    def _run(self, step: Awaitable[_Result]) -> _Result:
        """Return the result of a step, within the time that the host has for it."""

        async def within() -> _Result:
            # A step that is cancelled closes what it opened, which a dead host does not answer
            # either: the step is left to end with the connection.
            return await asyncio.wait_for(asyncio.shield(step), self.timeout_seconds)

        return self._runner.run(within())

    def _connect(self) -> asyncssh.SSHClientConnection:
        """Connect and log in."""
        password, keys = self.password, None
        if self.password_file is not None:
            content = read_setting_file(self.password_file, "the SFTP password", private=True)
            password = content.decode("utf-8", "replace").rstrip("\r\n")
        if self.key_file is not None:
            content = read_setting_file(self.key_file, "the SFTP private key", private=True)
            try:
                keys = [asyncssh.import_private_key(content, self.passphrase)]
            except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
                raise SettingError(
                    f"{self.key_file}: the private key cannot be read: {error}",
                    hint="Give its passphrase in NUMROUTE_SFTP_PASSPHRASE, if it has one",
                ) from None
        try:
            return self._run(
                asyncssh.connect(
                    self._address.hostname,
                    self._address.port or asyncssh.DEFAULT_PORT,
                    username=unquote(self._address.username or ""),
                    password=password,
                    client_keys=keys,
                    known_hosts=str(self.known_hosts),
                    config=None,
                    agent_path=None,
                    gss_host=None,
                    x509_trusted_certs=None,
                    login_timeout=0,
                )
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise HostKeyError(
                f"{self.name}: the host's key is not the pinned one: {error.reason}",
                hint="Nothing was sent or fetched. Ask the registry by another channel whether it "
                "has changed the key; only then change --known-hosts",
            ) from None
        except asyncssh.PermissionDenied as error:
            reason = f"{self.name}: the host refused the login: {error.reason}"
            raise LoginRefusedError(reason, hint="Check user, password or key") from None


def _size_and_time(attributes: asyncssh.SFTPAttrs) -> tuple[int, int]:
    return attributes.size or 0, int(attributes.mtime or 0) * 10**9
