"""Snapshots on their way to replicas: whole or not at all, over storage that breaks off."""

from __future__ import annotations

import json
import shutil
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest
from support.feeds import FIRST_DAY, day_of, put, watch_once
from support.registry import Result, command
from support.watching import loading

from numroute.errors import FeedError
from numroute.feed import read_feed_state
from numroute.index import SnapshotStore, verify_snapshot
from numroute_loader import replicas
from numroute_loader.replicas import Remote

SLOW_AFTER_ONE_PIECE = """
import time
from numroute_loader import replicas
replicas.PIECE_BYTES = 1 << 12
def hang(done, total):
    if done > 3 << 12:
        marker.touch()
        while True:
            time.sleep(1)
from numroute.cli.console import Bars
Bars.report = lambda self, step, done, total: hang(done, total)
"""


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Return a store with one snapshot."""
    return build(tmp_path / "origin", tmp_path / "inbox", 0)


@pytest.fixture(params=["path", "file", "memory"])
def url(request, tmp_path: Path) -> Iterator[str]:
    """Return where snapshots travel over: a path, a file URL, an object store."""
    if request.param == "memory":
        yield "memory://numroute/snapshots"
        fsspec.filesystem("memory").store.clear()
        fsspec.filesystem("memory").pseudo_dirs[:] = [""]
    else:
        yield f"{'file://' if request.param == 'file' else ''}{tmp_path / 'remote'}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder over which snapshots travel."""
    return tmp_path / "remote"


def build(store: Path, inbox: Path, days: int) -> Path:
    """Publish the full dump of a day in a store."""
    put(inbox, day_of(FIRST_DAY + timedelta(days=days), ported=20 + days))
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0, run.text
    return store


def push(store: Path, url: object, *words: object) -> Result:
    return command("numroute-load", "push", url, "--store", store, "--json", *words)


def pull(store: Path, url: object) -> Result:
    return command("numroute-load", "pull", url, "--store", store, "--json")


def current(store: Path) -> str:
    return SnapshotStore(store).current_id()


def replicate(origin: Path, url: object, tmp_path: Path) -> tuple[Path, str]:
    """Return a replica of the origin, and the id of the snapshot that both have."""
    replica = tmp_path / "replica"
    push(origin, url)
    pull(replica, url)
    return replica, current(replica)


def flip_byte(path: Path) -> None:
    """Damage a file in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_replica_gets_the_same_snapshot(origin: Path, url: str, tmp_path: Path) -> None:
    """What is pulled is byte for byte what was pushed, published as any snapshot is."""
    pushed = push(origin, url)
    assert pushed.status == 0, pushed.err
    replica = tmp_path / "replica"
    pulled = pull(replica, url)
    assert pulled.status == 0, pulled.err
    assert json.loads(pulled.out)["changed"] is True
    assert current(replica) == current(origin)
    ours, theirs = (SnapshotStore(each) for each in (replica, origin))
    path = ours.snapshot_path(current(replica))
    assert path.read_bytes() == theirs.snapshot_path(current(origin)).read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (entry,) = ours.history()
    assert (entry["event"], entry["url"]) == ("pulled", url)
    assert entry["asked_by"].endswith("(pull)")
    assert entry["sources"] == theirs.history()[0]["sources"]
    assert ours.current_at(entry["at"]) == current(origin)


@pytest.mark.parametrize("url", ["", " "])
@pytest.mark.parametrize("word", ["push", "pull"])
def test_an_empty_url_is_not_the_current_folder(
    word: str, url: str, origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unset variable in `push "$URL"` fills no folder, and `pull` makes no store."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    store = origin if word == "push" else tmp_path / "replica"
    result = command("numroute-load", word, url, "--store", store)
    assert result.status == 2
    assert "the URL is empty" in result.err
    assert not list(here.iterdir())
    assert store == origin or not store.exists()


def test_what_is_there_already_does_not_travel(origin: Path, url: str, tmp_path: Path) -> None:
    """A second push and a second pull send nothing."""
    push(origin, url)
    again = push(origin, url)
    assert json.loads(again.out)["sent_bytes"] == 0
    pull(tmp_path / "replica", url)
    pulled = json.loads(pull(tmp_path / "replica", url).out)
    assert (pulled["changed"], pulled["fetched_bytes"]) == (False, 0)


@pytest.mark.parametrize("with_history", [True, False])
def test_a_restored_store_knows_from_its_history_what_was_rolled_back(
    origin: Path, folder: Path, tmp_path: Path, *, with_history: bool
) -> None:
    """With the history put back before the pull, a feed leaves alone what was rolled back."""
    first = current(origin)
    build(origin, tmp_path / "inbox", 1)
    words = ("rollback", "previous", "--store", origin, "--reason", "bad")
    assert command("numroute-load", *words).status == 0
    assert push(origin, folder).status == 0
    restored = tmp_path / "restored"
    restored.mkdir()
    if with_history:
        shutil.copy(origin / "history.jsonl", restored)
    pulled = pull(restored, folder)
    assert pulled.status == 0, pulled.err
    assert current(restored) == first
    run = watch_once(restored, "--inbox", tmp_path / "inbox")
    assert run.status == 0, run.text
    assert (current(restored) == first) is with_history


def test_the_remote_keeps_the_last_few(
    origin: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old snapshots are removed at the remote; the current one and the one before stay."""
    monkeypatch.setattr(replicas, "KEEP", 2)
    push(origin, url)
    first = current(origin)
    for day in (1, 2):
        build(origin, tmp_path / "inbox", day)
        result = push(origin, url)
        assert result.status == 0, result.err
    assert len(Remote(url).sizes()) == 2
    assert f"{first}.lmdb" not in Remote(url).sizes()
    assert pull(tmp_path / "replica", url).status == 0


def test_a_rollback_at_the_origin_reaches_replicas_without_a_transfer(
    origin: Path, url: str, tmp_path: Path
) -> None:
    """Replicas that keep the older snapshot go back to it."""
    replica, first = replicate(origin, url, tmp_path)
    build(origin, tmp_path / "inbox", 1)
    push(origin, url)
    pull(replica, url)
    rolled_back = command("numroute-load", "rollback", first, "--store", origin, "--reason", "test")
    assert rolled_back.status == 0, rolled_back.err
    push(origin, url)
    pulled = json.loads(pull(replica, url).out)
    assert (pulled["changed"], pulled["fetched_bytes"]) == (True, 0)
    assert current(replica) == first


def test_a_flipped_byte_is_never_installed(origin: Path, folder: Path, tmp_path: Path) -> None:
    """A replica keeps what it has, says what to do, and push --verify mends the remote."""
    replica, before = replicate(origin, folder, tmp_path)
    build(origin, tmp_path / "inbox", 1)
    push(origin, folder)
    (damaged,) = [p for p in (folder / "snapshots").iterdir() if p.stem == current(origin)]
    flip_byte(damaged)
    result = pull(replica, folder)
    assert result.status == 1
    assert "another digest" in result.err
    assert "push --verify" in result.err
    assert current(replica) == before
    assert list((replica / "pulled").iterdir()) == []
    mended = push(origin, folder, "--verify")
    assert json.loads(mended.out)["sent_bytes"] == damaged.stat().st_size
    assert pull(replica, folder).status == 0
    assert current(replica) == current(origin)


def test_a_pointer_at_a_missing_object_changes_nothing(
    origin: Path, folder: Path, tmp_path: Path
) -> None:
    """The replica says what is missing and goes on with what it has."""
    replica, before = replicate(origin, folder, tmp_path)
    build(origin, tmp_path / "inbox", 1)
    push(origin, folder)
    for path in (folder / "snapshots").iterdir():
        path.unlink()
    result = pull(replica, folder)
    assert result.status == 1
    assert f"the pointer names snapshot '{current(origin)}', which is not there" in result.err
    assert current(replica) == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1, "snapshot": "../../etc"}'])
def test_a_damaged_pointer_is_reported_and_replaced_by_the_next_push(
    origin: Path, folder: Path, tmp_path: Path, content: str
) -> None:
    """No pointer leads a replica outside of the remote's folder."""
    push(origin, folder)
    (folder / "current.json").write_text(content)
    result = pull(tmp_path / "replica", folder)
    assert result.status == 1
    assert "it is not the pointer of a snapshot" in result.err
    push(origin, folder)
    assert pull(tmp_path / "replica", folder).status == 0


def test_nothing_pushed_yet_is_said(tmp_path: Path, url: str) -> None:
    """An empty remote is no fault of the replica's."""
    result = pull(tmp_path / "replica", url)
    assert result.status == 1
    assert "nothing has been pushed here yet" in result.err


def test_a_file_under_another_id_is_refused(origin: Path, folder: Path, tmp_path: Path) -> None:
    """A whole snapshot that is not the one that the pointer names is not installed."""
    push(origin, folder)
    document = json.loads((folder / "current.json").read_text())
    (path,) = (folder / "snapshots").iterdir()
    path.rename(path.with_name("20990101T000000Z-abcdef.lmdb"))
    document["snapshot"] = "20990101T000000Z-abcdef"
    (folder / "current.json").write_text(json.dumps(document))
    result = pull(tmp_path / "replica", folder)
    assert result.status == 1
    assert "the file is" in result.err
    assert SnapshotStore(tmp_path / "replica").ids() == []


@pytest.mark.parametrize("time", ["yesterday", "2026-08-23T00:00:00"])
def test_a_pointer_with_a_wrong_time_changes_nothing(
    origin: Path, folder: Path, tmp_path: Path, time: str
) -> None:
    """It is refused before anything is fetched."""
    push(origin, folder)
    document = json.loads((folder / "current.json").read_text()) | {"as_of": time}
    (folder / "current.json").write_text(json.dumps(document))
    result = pull(tmp_path / "replica", folder)
    assert result.status == 1
    assert "it is not the pointer of a snapshot" in result.err
    assert SnapshotStore(tmp_path / "replica").ids() == []


@pytest.mark.parametrize("url", ["nonsense://x/y", "sftp://["])
def test_a_url_without_a_driver_is_named(origin: Path, url: str) -> None:
    """A URL that fsspec does not know, or that is none, is a setting that is wrong."""
    result = push(origin, url)
    assert result.status == 1
    assert url in result.err


def test_a_password_in_a_url_is_not_repeated() -> None:
    """Messages name the URL without what is secret in it."""
    assert Remote("memory://u:hunter2@h/p/").url == "memory://u@h/p"
    assert Remote("simplecache::memory://u:hunter@2@h/p").url == "simplecache::memory://u@h/p"


@pytest.mark.parametrize("which", ["push", "pull"])
def test_kill_9_in_mid_transfer_goes_on_where_it_stopped(
    origin: Path, folder: Path, tmp_path: Path, which: str
) -> None:
    """No reader sees half a file, and no byte that arrived is sent again."""
    replica = tmp_path / "replica"
    if which == "pull":
        push(origin, folder)
    store = origin if which == "push" else replica
    words = [which, folder, "--store", store]
    with loading(tmp_path, *words, before=SLOW_AFTER_ONE_PIECE) as loader:
        loader.wait_for_hang()
        loader.kill()
    if which == "push":
        assert not (folder / "current.json").exists()
        (part,) = (folder / "snapshots").iterdir()
        assert part.name.endswith(".unfinished")
    else:
        assert SnapshotStore(replica).ids() == []
        (part,) = (replica / "pulled").iterdir()
    done = part.stat().st_size
    result = push(origin, folder) if which == "push" else pull(replica, folder)
    assert result.status == 0, result.err
    document = json.loads(result.out)
    moved = document["sent_bytes" if which == "push" else "fetched_bytes"]
    assert moved == document["file_bytes"] - done
    assert done > 0
    assert pull(replica, folder).status == 0
    verify_snapshot(SnapshotStore(replica).snapshot_path(current(replica)))


def test_a_broken_upload_with_other_bytes_is_sent_anew(origin: Path, folder: Path) -> None:
    """What was begun is read back, and replaced when it is not the beginning of this snapshot."""
    (folder / "snapshots").mkdir(parents=True)
    (folder / "snapshots" / f"{current(origin)}.lmdb.unfinished").write_bytes(b"x" * 1000)
    result = push(origin, folder)
    assert result.status == 0, result.err
    assert replicas._is_right(Remote(str(folder)), Remote(str(folder)).read_pointer())


@pytest.mark.parametrize(
    "point",
    [
        "numroute.index.publishing:verify_snapshot",
        "numroute.index.publishing:StoreWriter.make_current",
        "numroute.index.publishing:StoreWriter.prune",
    ],
)
def test_kill_9_while_a_pulled_snapshot_is_published(
    origin: Path, folder: Path, tmp_path: Path, point: str
) -> None:
    """The next pull ends with the origin's snapshot, whole."""
    replica = tmp_path / "replica"
    push(origin, folder)
    with loading(tmp_path, "pull", folder, "--store", replica, hang_at=point) as loader:
        loader.wait_for_hang()
        loader.kill()
    result = pull(replica, folder)
    assert result.status == 0, result.err
    assert current(replica) == current(origin)
    verify_snapshot(SnapshotStore(replica).snapshot_path(current(replica)))


def test_two_replicas_follow(origin: Path, folder: Path, tmp_path: Path) -> None:
    """Each takes over what is pushed, survives a damaged remote, and says how it does."""
    first, second = tmp_path / "first", tmp_path / "second"
    words = ("--follow", "--interval", 0.1, "--store")
    with (
        loading(tmp_path, "pull", folder, *words, first) as one,
        loading(tmp_path, "pull", folder, *words, second) as two,
    ):
        for replica in (one, two):
            replica.wait_for("poll failed")
        push(origin, folder)
        for replica in (one, two):
            replica.wait_for("snapshot pulled")
        pointer = (folder / "current.json").read_text()
        (folder / "current.json").write_text("{")
        failures = [
            len([x for x in each.log() if x["event"] == "poll failed"]) for each in (one, two)
        ]
        for replica, count in zip((one, two), failures, strict=True):
            replica.wait_for("poll failed", count + 1)
        assert current(first) == current(second) == current(origin)
        (folder / "current.json").write_text(pointer)
        build(origin, tmp_path / "inbox", 1)
        push(origin, folder)
        for replica in (one, two):
            replica.wait_for("snapshot pulled", 2)
        # The state is written behind the log's line.
        while (state := read_feed_state(first)) is None or state.snapshot_id != current(origin):
            time.sleep(0.02)
        assert (one.stop(), two.stop()) == (0, 0)
    assert current(first) == current(second) == current(origin)
    assert state.source == str(folder)


def test_a_driver_that_fails_is_reported(origin: Path, folder: Path, monkeypatch) -> None:
    """Errors of a driver's own classes become ours, and the part stays for the next time."""
    push(origin, folder)
    remote = Remote(str(folder))

    class DriverError(Exception):
        """What a driver raises."""

    def fail(*_: object, **__: object) -> None:
        raise DriverError

    monkeypatch.setattr(remote._fs, "open", fail)
    with pytest.raises(FeedError, match="cannot be read: DriverError"):
        replicas.pull(SnapshotStore(folder.parent / "replica", create=True), remote)


def test_a_damaged_snapshot_that_is_kept_is_fetched_again(
    origin: Path, folder: Path, tmp_path: Path
) -> None:
    """A replica that should go back to it heals by itself."""
    replica, first = replicate(origin, folder, tmp_path)
    build(origin, tmp_path / "inbox", 1)
    push(origin, folder)
    pull(replica, folder)
    path = SnapshotStore(replica).snapshot_path(first)
    size = path.stat().st_size
    flip_byte(path)
    command("numroute-load", "rollback", first, "--store", origin, "--reason", "test")
    push(origin, folder)
    result = pull(replica, folder)
    assert result.status == 0, result.err
    pulled = json.loads(result.out)
    assert (pulled["changed"], pulled["fetched_bytes"]) == (True, size)
    assert current(replica) == first
    verify_snapshot(path)
