"""An SFTP host as a source of the registry's files.

The host's key must be one that the settings pin: nothing is sent to or read from a host with
another key. The user's ssh configuration and agent are ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

import asyncssh

from numroute.errors import (
    FeedError,
    HostKeyError,
    InputError,
    LoginRefusedError,
    SettingError,
)
from numroute_loader.feeds.sources import RemoteFile, SftpSettings, open_private

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


class SftpSource:
    """An SFTP host's folder and the registry's folders in it."""

    _runner: asyncio.Runner
    _sftp: asyncssh.SFTPClient

    def __init__(self, settings: SftpSettings, folders: Sequence[str]) -> None:
        """Name the host; the connection is made per session."""
        self.name = str(settings.address)
        self._settings = settings
        self._folders = folders

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Connect, log in, and disconnect when the block ends.

        Raises HostKeyError, LoginRefusedError, FeedError or SettingError.
        """
        with asyncio.Runner() as self._runner:
            connection = self._runner.run(_connect(self._settings))
            try:
                self._sftp = self._runner.run(_begin(connection, self._settings))
                yield
            finally:
                connection.abort()
                with contextlib.suppress(OSError, TimeoutError, asyncssh.Error):
                    self._runner.run(asyncio.wait_for(connection.wait_closed(), CLOSE_SECONDS))

    def listing(self) -> list[RemoteFile]:
        """Return all files in the folders; a folder that is missing or closed to us has none."""
        return self._run(self._listing(), "cannot be listed")

    def fetch(self, file: RemoteFile, to: Path) -> None:
        """Download a file, continuing where an earlier download of it broke off."""
        after = self._run(self._fetch(file, to), f"{file.path}: the download broke off", file)
        if _remote_file("", file.name, after).identity != file.identity:
            to.unlink()
            raise FeedError(
                f"{self._settings.address}: {file.path}: it changed while it was fetched",
                hint="It will be tried again",
            )

    def _run(
        self, work: Coroutine[None, None, _Result], what: str, file: RemoteFile | None = None
    ) -> _Result:
        # An OSError of another kind is one of the local disk.
        with _feed_errors(self._settings, what, "if it stays, ask the registry", ConnectionError):
            try:
                return self._runner.run(work)
            except _WITHHELD as error:
                if file is None:
                    raise
                reason = f"the host refuses to send it: {error.reason}"
                raise InputError(file.path, reason, hint="Ask the registry") from None

    def _timeout(self) -> asyncio.Timeout:
        return asyncio.timeout(self._settings.timeout_seconds)

    async def _listing(self) -> list[RemoteFile]:
        files: list[RemoteFile] = []
        closed: list[str] = []
        path = self._settings.address.path
        folders = [path, *(f"{path}/{each}" for each in self._folders)]
        for folder in folders:
            try:
                async with self._timeout():
                    entries = await self._sftp.readdir(folder or ".")
            except _CLOSED:
                closed.append(folder)
                continue
            files += [
                _remote_file(folder, str(entry.filename), entry.attrs)
                for entry in entries
                if entry.attrs.type == asyncssh.FILEXFER_TYPE_REGULAR
                and not str(entry.filename).startswith(".")
            ]
        if len(closed) == len(folders):
            raise FeedError(
                f"{self._settings.address}: none of these folders exists: {', '.join(folders)}",
                hint="Check the URL's path and --folder",
            )
        return files

    async def _fetch(self, file: RemoteFile, to: Path) -> asyncssh.SFTPAttrs:
        with open_private(to) as local:
            done = local.seek(0, os.SEEK_END)
            if done > file.size:
                done = 0
                local.truncate(0)
                local.seek(0)
            async with self._timeout():
                remote = await self._sftp.open(file.path, "rb")
            while done < file.size:
                async with self._timeout():
                    piece = await remote.read(min(PIECE_BYTES, file.size - done), done)
                if not piece:
                    break
                local.write(cast("bytes", piece))
                done += len(piece)
            # After a failure the file is not closed: the connection ends anyway, and a host that
            # hangs would not answer the close either.
            async with self._timeout():
                after = await remote.stat()
                await remote.close()
        return after


class _Client(asyncssh.SSHClient):
    """Accepts a host key by its fingerprint where the known-hosts file does not name it."""

    def __init__(self, fingerprints: Sequence[str]) -> None:
        self.presented = ""
        self._fingerprints = {each.rstrip("=") for each in fingerprints}

    def validate_host_public_key(
        self,
        host: str,  # noqa: ARG002 - asyncssh's signature
        addr: str,  # noqa: ARG002
        port: int,  # noqa: ARG002
        key: asyncssh.SSHKey,
    ) -> bool:
        """Return whether a key that the known-hosts file does not name is pinned."""
        fingerprint = key.get_fingerprint("sha256")
        self.presented = f"{key.get_algorithm()} {fingerprint}"
        return fingerprint.rstrip("=") in self._fingerprints


@contextlib.contextmanager
def _feed_errors(
    settings: SftpSettings, what: str, hint: str, kind: type[OSError] = OSError
) -> Iterator[None]:
    """Turn the errors of a connection into FeedErrors that say what failed and what to do."""
    try:
        yield
    except TimeoutError:
        why = f"no answer in {settings.timeout_seconds:g} s"
    except asyncssh.Error as error:
        why = error.reason
    except kind as error:
        why = error.strerror or str(error) or type(error).__name__
    else:
        return
    raise FeedError(f"{settings.address}: {what}: {why}", hint=f"It will be tried again; {hint}")


async def _connect(settings: SftpSettings) -> asyncssh.SSHClientConnection:
    client = _Client(settings.fingerprints)
    address = settings.address
    with _feed_errors(settings, "cannot be reached", "check address and firewall"):
        try:
            async with asyncio.timeout(2 * settings.timeout_seconds):
                return await asyncssh.connect(
                    address.host,
                    address.port,
                    username=address.user,
                    password=settings.read_password(),
                    client_keys=_client_keys(settings),
                    known_hosts=str(settings.known_hosts) if settings.known_hosts else ([], [], []),
                    client_factory=lambda: client,
                    config=None,
                    agent_path=None,
                    gss_host=None,
                    x509_trusted_certs=None,
                    connect_timeout=settings.timeout_seconds,
                    login_timeout=settings.timeout_seconds,
                    keepalive_interval=KEEPALIVE_SECONDS,
                    keepalive_count_max=KEEPALIVES_MISSED_MAX,
                )
        except asyncssh.HostKeyNotVerifiable as error:
            presented = (
                f"the host presents {client.presented}" if client.presented else error.reason
            )
            raise HostKeyError(
                f"{address}: the host's key is not the pinned one: {presented}",
                hint="Nothing was sent or fetched. Ask the registry by another channel whether it "
                "has changed the key; only then change --known-hosts or --host-key",
            ) from None
        except asyncssh.PermissionDenied as error:
            raise LoginRefusedError(
                f"{address}: the host refused the login: {error.reason}",
                hint="Check user, password or key",
            ) from None


async def _begin(
    connection: asyncssh.SSHClientConnection, settings: SftpSettings
) -> asyncssh.SFTPClient:
    hint = "check the port, and with the registry what the account may do"
    with _feed_errors(settings, "the host does not speak SFTP", hint):
        async with asyncio.timeout(settings.timeout_seconds):
            return await connection.start_sftp_client()


def _client_keys(settings: SftpSettings) -> list[asyncssh.SSHKey] | None:
    content = settings.read_key()
    if content is None:
        return None
    try:
        return [asyncssh.import_private_key(content, settings.passphrase)]
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise SettingError(
            f"{settings.key_file}: the private key cannot be read: {error}",
            hint="Give its passphrase in NUMROUTE_SFTP_PASSPHRASE, if it has one",
        ) from None


def _remote_file(folder: str, name: str, attributes: asyncssh.SFTPAttrs) -> RemoteFile:
    return RemoteFile(
        name=name,
        path=f"{folder}/{name}" if folder else name,
        size=attributes.size or 0,
        mtime_ns=int(attributes.mtime or 0) * _NANOSECONDS,
    )
