"""Fixtures of the feeds' tests."""

from __future__ import annotations

from pathlib import Path

import asyncssh
import pytest
from support.sftp_server import PASSWORD, SftpServer


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return where a store is to be made."""
    return tmp_path / "store"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Return an empty inbox folder."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def host_key() -> asyncssh.SSHKey:
    """Return the key of the SFTP host."""
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture(scope="session")
def user_key() -> asyncssh.SSHKey:
    """Return the key that may log in."""
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def numlex(tmp_path: Path) -> Path:
    """Return the registry's folder on the SFTP host."""
    folder = tmp_path / "host" / "numlex"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def sftp(numlex: Path, host_key, user_key):
    """Return a running SFTP server that serves the registry's folder."""
    server = SftpServer(numlex.parent, key=host_key, authorized=user_key)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    """Return a private file with the password."""
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_text(PASSWORD + "\n")
    return path


@pytest.fixture
def pinned(sftp: SftpServer, tmp_path: Path) -> list[object]:
    """Return the options that name the server and its key."""
    return ["--sftp", sftp.url, "--known-hosts", sftp.known_hosts(tmp_path / "known_hosts")]


@pytest.fixture
def login(pinned: list[object], password_file: Path) -> list[object]:
    """Return the options that reach the server by password."""
    return [*pinned, "--password-file", password_file, "--timeout", 5]
