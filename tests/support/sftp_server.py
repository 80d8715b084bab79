"""A real SFTP server on loopback, and the faults that real ones have."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncssh

USER = "numlex"
PASSWORD = "correct horse"  # noqa: S105 - of a server that lives for a test


class SftpServer:
    """Serves a folder as ``/``, in a thread of its own, until stopped.

    ``drop_after_bytes``: cut the connection, once, when so many bytes of files have been read.
    ``hang_after_bytes``: answer no read once so many bytes have been read, by all connections since
    ``served`` was last cleared. ``before_listing`` is called with each folder that is about to be
    listed. ``withheld`` names files that nobody may
    open. ``logins`` and ``served`` tell what clients got, ``served`` in bytes per file name.
    """

    def __init__(
        self, root: Path, *, key: asyncssh.SSHKey, authorized: asyncssh.SSHKey | None = None
    ) -> None:
        """Name the folder, the host's key, and the key that may log in."""
        self.root = root
        self.port = 0
        self.drop_after_bytes: int | None = None
        self.hang_after_bytes: int | None = None
        self.before_listing: Callable[[str], None] = lambda _folder: None
        self.withheld: set[str] = set()
        self.logins = 0
        self.served: dict[str, int] = {}
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.authorized = authorized and authorized.get_fingerprint()
        self._key = key
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen; a second start takes the port of the first."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(30)

    def stop(self) -> None:
        """Close the port and every connection."""
        assert self._loop is not None
        assert self._ending is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def wait_until_left(self) -> None:
        """Wait until every client is known to be gone: what it asked for is then not answered."""
        while not all(connection.is_closed() for connection in self.connections):
            time.sleep(0.005)

    def known_hosts(self, path: Path) -> Path:
        """Write the host's key as OpenSSH knows it."""
        path.write_text(f"[127.0.0.1]:{self.port} {self._key.export_public_key().decode()}")
        return path

    @property
    def url(self) -> str:
        """The URL of the registry's folder."""
        return f"sftp://{USER}@127.0.0.1:{self.port}/numlex"

    def _run(self, ready: threading.Event) -> None:
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        server = await asyncssh.create_server(
            lambda: _Login(self),
            "127.0.0.1",
            self.port,
            server_host_keys=[self._key],
            sftp_factory=lambda channel: _Files(self, channel),
            reuse_address=True,
        )
        self.port = server.get_port()
        ready.set()
        await self._ending.wait()
        server.close()
        for connection in self.connections:
            connection.abort()


class _Login(asyncssh.SSHServer):
    def __init__(self, owner: SftpServer) -> None:
        self._owner = owner

    def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
        self._owner.connections.add(connection)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return username == USER and password == PASSWORD

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key.get_fingerprint() == self._owner.authorized

    def auth_completed(self) -> None:
        self._owner.logins += 1


class _Files(asyncssh.SFTPServer):
    def __init__(self, owner: SftpServer, channel: asyncssh.SSHServerChannel[bytes]) -> None:
        super().__init__(channel, chroot=str(owner.root))
        self._owner = owner
        self._connection = channel.get_connection()
        self._bytes = 0

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        self._owner.before_listing(path.decode())
        async for entry in super().scandir(path):
            yield entry

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        if Path(path.decode()).name in self._owner.withheld:
            raise asyncssh.SFTPPermissionDenied("Permission denied")
        return super().open(path, pflags, attrs)

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        while self._hangs():  # noqa: ASYNC110 - another thread ends it
            await asyncio.sleep(0.005)
        data: bytes = super().read(file_obj, offset, size)
        name = Path(file_obj.name.decode()).name
        self._owner.served[name] = self._owner.served.get(name, 0) + len(data)
        self._bytes += len(data)
        limit = self._owner.drop_after_bytes
        if limit is not None and self._bytes > limit:
            self._owner.drop_after_bytes = None
            self._connection.abort()
        return data

    def _hangs(self) -> bool:
        limit = self._owner.hang_after_bytes
        return limit is not None and sum(self._owner.served.values()) >= limit
