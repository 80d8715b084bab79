"""An SFTP host as a source of the registry's files.

The host's key must be one that the settings pin: nothing is sent to or read from a host with
another key. The user's ssh configuration and agent are ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import SplitResult, unquote

import asyncssh

from numroute.errors import FeedError, HostKeyError, InputError, LoginRefusedError, SettingError
from numroute.files import read_private_file
from numroute_loader.feeds.sources import RemoteFile, open_private

PIECE_BYTES = 1 << 20
"""Bytes requested at a time; within a piece the blocks are requested in parallel."""

KEEPALIVE_SECONDS = 15
KEEPALIVES_MISSED_MAX = 3
"""A host that misses this many keepalives is taken to be gone."""

CLOSE_SECONDS = 5.0
"""How long closing the connection may take."""

_NANOSECONDS = 10**9

_CLOSED = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPPermissionDenied)
"""The answers of a host about a folder that is missing, or not part of the contract."""

_WITHHELD = (asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure)
"""The answers of a host about a single file that it refuses to send."""

_Result = TypeVar("_Result")


@dataclass(kw_only=True)
class SftpSource:
    """An SFTP host's folder and the registry's folders in it.

    ``known_hosts``: a file in the form of OpenSSH with the host's key. ``password`` and
    ``passphrase`` come from the environment; ``password_file``, which wins over ``password``, and
    ``key_file`` are read for each connection.
    """

    address: SplitResult
    folders: Sequence[str]
    known_hosts: Path | None
    password: str | None = field(repr=False)
    password_file: Path | None
    key_file: Path | None
    passphrase: str | None = field(repr=False)
    timeout_seconds: float

    def __post_init__(self) -> None:
        """Raise SettingError for settings that can never work."""
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
        self.name = self.address.geturl()
        self._path = unquote(self.address.path)

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Connect, log in, and disconnect when the block ends.

        Raises HostKeyError, LoginRefusedError, FeedError or SettingError.
        """
        options = self._login()
        with asyncio.Runner() as self._runner:
            with self._errors("cannot be reached", OSError):
                connection = self._runner.run(self._connect(options))
            try:
                with self._errors("the host does not speak SFTP", OSError):
                    self._sftp = self._runner.run(self._within(connection.start_sftp_client()))
                yield
            finally:
                connection.abort()
                with contextlib.suppress(OSError, TimeoutError, asyncssh.Error):
                    self._runner.run(asyncio.wait_for(connection.wait_closed(), CLOSE_SECONDS))

    def listing(self) -> list[RemoteFile]:
        """Return all files in the folders; a folder that is missing or closed to us has none."""
        with self._errors("cannot be listed"):
            return self._runner.run(self._listing())

    def fetch(self, file: RemoteFile, to: Path) -> None:
        """Download a file, continuing where an earlier download of it broke off."""
        with self._errors(f"{file.path}: the download broke off"):
            try:
                after = self._runner.run(self._fetch(file, to))
            except _WITHHELD as error:
                reason = f"the host refuses to send it: {error.reason}"
                raise InputError(file.path, reason, hint="Ask the registry") from None
        if _remote_file("", file.name, after).identity != file.identity:
            to.unlink()
            reason = f"{self.name}: {file.path}: it changed while it was fetched"
            raise FeedError(reason, hint="It will be tried again")

    def _login(self) -> dict[str, Any]:
        """Return how to log in; raises SettingError."""
        password, keys = self.password, None
        if self.password_file is not None:
            content = read_private_file(self.password_file, "the SFTP password")
            password = content.decode("utf-8", "replace").rstrip("\r\n")
        if self.key_file is not None:
            content = read_private_file(self.key_file, "the SFTP private key")
            try:
                keys = [asyncssh.import_private_key(content, self.passphrase)]
            except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
                raise SettingError(
                    f"{self.key_file}: the private key cannot be read: {error}",
                    hint="Give its passphrase in NUMROUTE_SFTP_PASSPHRASE, if it has one",
                ) from None
        return {"password": password, "client_keys": keys}

    @contextlib.contextmanager
    def _errors(self, what: str, kind: type[OSError] = ConnectionError) -> Iterator[None]:
        """Turn the errors of a connection into FeedErrors; other OSErrors are the local disk's."""
        try:
            yield
        except TimeoutError:
            why = f"no answer in {self.timeout_seconds:g} s"
        except asyncssh.Error as error:
            why = error.reason
        except kind as error:
            why = error.strerror or str(error) or type(error).__name__
        else:
            return
        hint = "It will be tried again; check address and firewall, and with the registry what the "
        raise FeedError(f"{self.name}: {what}: {why}", hint=f"{hint}account may do")

    async def _within(self, step: Awaitable[_Result]) -> _Result:
        return await asyncio.wait_for(step, self.timeout_seconds)

    async def _connect(self, options: dict[str, Any]) -> asyncssh.SSHClientConnection:
        address, seconds = self.address, self.timeout_seconds
        try:
            return await asyncssh.connect(
                address.hostname,
                address.port or asyncssh.DEFAULT_PORT,
                username=unquote(address.username or ""),
                known_hosts=str(self.known_hosts),
                config=None,
                agent_path=None,
                gss_host=None,
                x509_trusted_certs=None,
                connect_timeout=seconds,
                login_timeout=seconds,
                keepalive_interval=KEEPALIVE_SECONDS,
                keepalive_count_max=KEEPALIVES_MISSED_MAX,
                **options,
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

    async def _listing(self) -> list[RemoteFile]:
        files: list[RemoteFile] = []
        folders = [self._path, *(f"{self._path}/{each}" for each in self.folders)]
        closed = 0
        for folder in folders:
            try:
                entries = await self._within(self._sftp.readdir(folder or "."))
            except _CLOSED:
                closed += 1
                continue
            files += [
                _remote_file(folder, str(entry.filename), entry.attrs)
                for entry in entries
                if entry.attrs.type == asyncssh.FILEXFER_TYPE_REGULAR
                and not str(entry.filename).startswith(".")
            ]
        if closed == len(folders):
            raise FeedError(
                f"{self.name}: none of these folders exists: {', '.join(folders)}",
                hint="Check the URL's path and --folder",
            )
        return files

    async def _fetch(self, file: RemoteFile, to: Path) -> asyncssh.SFTPAttrs:
        with open_private(to) as local:
            done = local.seek(0, os.SEEK_END)
            remote = await self._within(self._sftp.open(file.path, "rb"))
            while done < file.size:
                size = min(PIECE_BYTES, file.size - done)
                piece = await self._within(remote.read(size, done))
                if not piece:
                    break
                local.write(cast("bytes", piece))
                done += len(piece)
            # After a failure the file is not closed: the connection ends anyway, and a host that
            # hangs would not answer the close either.
            after = await self._within(remote.stat())
            await self._within(remote.close())
        return after


def _remote_file(folder: str, name: str, attributes: asyncssh.SFTPAttrs) -> RemoteFile:
    return RemoteFile(
        name=name,
        path=f"{folder}/{name}" if folder else name,
        size=attributes.size or 0,
        mtime_ns=int(attributes.mtime or 0) * _NANOSECONDS,
    )
