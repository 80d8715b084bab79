"""A real SFTP server: logins, the host's key, and connections that fail."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest
from support.feeds import FIRST_DAY, as_of, day_of, put, watch_once
from support.sftp_server import PASSWORD, SftpServer

from numroute.index import SnapshotStore

NEXT_DAY = FIRST_DAY + timedelta(days=1)


@pytest.fixture
def delivered(numlex: Path) -> Path:
    """Put a day's files where the registry does."""
    put(numlex, day_of())
    return numlex


def test_a_day_is_fetched_and_built(store: Path, delivered: Path, login) -> None:
    """With a password and a known-hosts file."""
    run = watch_once(store, *login)
    assert run.status == 0, run.text
    assert run.state is not None
    assert run.state.as_of == as_of(FIRST_DAY)
    assert run.state.source.startswith("sftp://numlex@127.0.0.1:")


def test_a_password_may_come_from_the_environment(
    store: Path, delivered: Path, pinned, monkeypatch
) -> None:
    """NUMROUTE_SFTP_PASSWORD instead of a file."""
    monkeypatch.setenv("NUMROUTE_SFTP_PASSWORD", PASSWORD)
    run = watch_once(store, *pinned)
    assert run.status == 0, run.text


@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_a_key_logs_in(
    store: Path,
    delivered: Path,
    pinned,
    user_key,
    tmp_path: Path,
    monkeypatch,
    passphrase,
) -> None:
    """A private key, with or without a passphrase, instead of a password."""
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(user_key.export_private_key("pkcs8-pem", passphrase=passphrase))
    if passphrase:
        monkeypatch.setenv("NUMROUTE_SFTP_PASSPHRASE", passphrase)
    run = watch_once(store, *pinned, "--key-file", path)
    assert run.status == 0, run.text


def test_a_wrong_password_is_reported(
    store: Path, delivered: Path, login, password_file: Path
) -> None:
    """The state names user and host, never the password, and the feed heals with the right one."""
    password_file.write_text("wrong password")
    run = watch_once(store, *login)
    assert run.status == 1
    assert run.state is not None
    assert run.state.error is not None
    assert "refused the login" in run.state.error.message
    assert "wrong password" not in run.text + (store / "feed.json").read_text()
    password_file.write_text(PASSWORD)
    run = watch_once(store, *login)
    assert run.status == 0
    assert run.state is not None
    assert run.state.error is None


def test_a_changed_host_key_is_never_trusted(
    store: Path, delivered: Path, sftp: SftpServer, password_file: Path, pinned
) -> None:
    """A host with another key learns no password, and nothing is fetched from it."""
    sftp.stop()
    other = SftpServer(sftp.root, key=asyncssh.generate_private_key("ssh-ed25519"))
    other.port = sftp.port
    other.start()
    try:
        run = watch_once(store, *pinned, "--password-file", password_file)
    finally:
        other.stop()
        sftp.start()
    assert run.status == 1
    assert run.state is not None
    assert run.state.error is not None
    assert "key is not the pinned one" in run.state.error.message
    assert "Nothing was sent or fetched" in run.state.error.hint
    assert (other.logins, other.served) == (0, {})
    assert not any(path.is_file() for path in (store / "spool").rglob("*"))
    again = watch_once(store, *pinned, "--password-file", password_file)
    assert again.status == 0, again.text


def test_a_host_without_a_pinned_key_is_refused(
    store: Path, delivered: Path, sftp: SftpServer, password_file: Path, tmp_path: Path
) -> None:
    """Neither no pin at all nor a known-hosts file without the host leads to a first trust."""
    words = ["--sftp", sftp.url, "--password-file", password_file]
    run = watch_once(store, *words)
    assert run.status == 1
    assert "never trusted on first use" in run.text
    empty = tmp_path / "empty"
    empty.touch()
    run = watch_once(store, *words, "--known-hosts", empty)
    assert run.status == 1
    assert "key is not the pinned one" in run.text
    assert sftp.logins == 0


@pytest.mark.parametrize("option", ["--password-file", "--key-file"])
def test_secrets_that_others_can_read_are_refused(
    store: Path, delivered: Path, sftp: SftpServer, pinned, tmp_path: Path, option: str
) -> None:
    """A file of a secret must be its owner's alone."""
    path = tmp_path / "secret"
    path.write_text(PASSWORD)
    path.chmod(0o644)
    run = watch_once(store, *pinned, option, path)
    assert run.status == 1
    assert "can be read or changed by others (mode 0644)" in run.text
    assert sftp.logins == 0


def test_a_password_in_the_url_is_refused_and_not_repeated(store: Path) -> None:
    """A command line is there for all to see."""
    run = watch_once(store, "--sftp", "sftp://numlex:hunter2@127.0.0.1/numlex")
    assert run.status == 1
    assert "holds a password" in run.text
    assert "hunter2" not in run.text


def test_a_download_goes_on_where_it_broke_off(
    store: Path, numlex: Path, sftp: SftpServer, login
) -> None:
    """After a connection that drops in mid-file, what lies in the spool is not fetched again."""
    files = day_of(ported=50_000, packed=False)
    put(numlex, files)
    name, size = files[-1].name, len(files[-1].data)
    sftp.drop_after_bytes = size - 100_000
    run = watch_once(store, *login)
    assert run.status == 1
    assert run.state is not None
    assert run.state.error is not None
    assert "the download broke off" in run.state.error.message
    (part,) = (store / "spool" / ".incoming").rglob(name)
    done = part.stat().st_size
    assert 0 < done < size
    sftp.served.clear()
    run = watch_once(store, *login)
    assert run.status == 0, run.text
    assert sftp.served[name] == size - done


def test_a_host_that_does_not_answer_is_left(
    store: Path, delivered: Path, sftp: SftpServer, login
) -> None:
    """A read that hangs ends with the time-out, and the next run succeeds."""
    sftp.hang_after_bytes = 0
    run = watch_once(store, *login, "--timeout", 0.2)
    assert run.status == 1
    assert run.state is not None
    assert run.state.error is not None
    assert "no answer in 0.2 s" in run.state.error.message
    sftp.hang_after_bytes = None
    assert watch_once(store, *login).status == 0


def test_a_host_that_dies_in_a_listing_is_left(
    store: Path, delivered: Path, sftp: SftpServer, login
) -> None:
    """It is not asked to close the folder: it would not answer that either."""
    left = threading.Event()
    answered: list[bool] = []
    sftp.before_listing = lambda _folder: answered.append(not left.wait(20))
    run = watch_once(store, *login, "--timeout", 1)
    left.set()
    assert run.state is not None
    assert run.state.error is not None
    assert "no answer in 1 s" in run.state.error.message
    assert True not in answered


def test_a_host_that_is_away_comes_back(
    store: Path, delivered: Path, sftp: SftpServer, login
) -> None:
    """Errors in a row are counted since the first, and forgotten at the next success."""
    sftp.stop()
    run = watch_once(store, *login)
    assert run.status == 1
    assert run.state is not None
    assert run.state.error is not None
    assert "cannot be reached" in run.state.error.message
    sftp.start()
    run = watch_once(store, *login)
    assert run.status == 0
    assert run.state is not None
    assert run.state.error is None


def test_an_error_page_is_left_out_until_it_is_replaced(store: Path, numlex: Path, login) -> None:
    """The host's fault costs one file, and heals when the file is good."""
    *others, dump = day_of()
    put(numlex, others)
    path = dump.put(numlex)
    path.write_text("<!DOCTYPE html><title>503</title>")
    run = watch_once(store, *login)
    assert run.state is not None
    assert "HTML page" in run.state.quarantined[0].reason
    dump.put(numlex)
    run = watch_once(store, *login)
    assert run.status == 0, run.text


def test_a_file_that_the_host_withholds_costs_that_file(
    store: Path, numlex: Path, sftp: SftpServer, login
) -> None:
    """The others are fetched; it is named with the reason, and fetched once it may be."""
    files = day_of()
    put(numlex, files)
    sftp.withheld = {files[0].name}
    run = watch_once(store, *login)
    assert run.state is not None
    assert run.state.error is None
    (withheld,) = run.state.quarantined
    assert withheld.name == files[0].name
    assert "refuses to send it: Permission denied" in withheld.reason
    assert sftp.served.keys() == {file.name for file in files[1:]}


def test_an_upload_under_way_is_awaited(store: Path, numlex: Path, sftp: SftpServer, login) -> None:
    """A file that has grown since the last look is not fetched; once it rests, it is."""
    *others, dump = day_of()
    put(numlex, others)
    path = numlex / dump.folder / dump.name
    path.parent.mkdir()
    pieces = [dump.data[:100], dump.data[100:200], dump.data[200:]]

    def upload(folder: str) -> None:
        if folder.endswith(dump.folder) and pieces:
            with path.open("ab") as file:
                file.write(pieces.pop(0))

    sftp.before_listing = upload
    run = watch_once(store, *login)
    assert run.state is not None
    assert [each.name for each in run.state.waiting if "uploaded" in each.reason] == [dump.name]
    assert run.state.quarantined == ()
    assert dump.name not in sftp.served
    run = watch_once(store, *login)
    assert run.status == 0
    assert len(SnapshotStore(store).ids()) == 1


def test_folders_may_be_configured(store: Path, sftp: SftpServer, login) -> None:
    """The host's layout is configuration: here one folder, somewhere else."""
    elsewhere = sftp.root / "elsewhere"
    put(elsewhere / "all", day_of(), flat=True)
    words = [
        f"sftp://numlex@127.0.0.1:{sftp.port}/elsewhere" if w == sftp.url else w for w in login
    ]
    run = watch_once(store, *words, "--folder", "all")
    assert run.status == 0, run.text
    assert len(SnapshotStore(store).ids()) == 1


def test_missing_folders_are_reported(store: Path, sftp: SftpServer, login) -> None:
    """A path that leads nowhere is named."""
    words = [f"sftp://numlex@127.0.0.1:{sftp.port}/nowhere" if w == sftp.url else w for w in login]
    run = watch_once(store, *words)
    assert run.status == 1
    assert "none of these folders exists: /nowhere" in run.text


def test_a_delivery_that_comes_twice_is_one(store: Path, numlex: Path, login) -> None:
    """The same file in two folders, and again after it was built in, makes one snapshot."""
    put(numlex, day_of())
    put(numlex, day_of(), flat=True)
    assert watch_once(store, *login).status == 0
    put(numlex, day_of())
    run = watch_once(store, *login)
    assert (run.status, run.log) == (0, [])
    assert len(SnapshotStore(store).ids()) == 1
