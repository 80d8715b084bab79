"""Real watchers in processes of their own: they are killed, stopped, and left without a host."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.feeds import FIRST_DAY, as_of, day_of, put, watch_once, window_of
from support.registry import command
from support.sftp_server import SftpServer
from support.watching import watching

from numroute.feed import read_feed_state
from numroute.index import SnapshotStore, verify_snapshot

NEXT_DAY = FIRST_DAY + timedelta(days=1)

POINTS = [
    "numroute_loader.feeds.arrivals:open_file",
    "numroute_loader.feeds.arrivals:os.fsync",
    "numroute_loader.feeds.watcher:Watcher._publish",
    "numroute_loader.pipeline:merge",
    "numroute_loader.pipeline:publish",
    "numroute.index.publishing:write_snapshot",
    "numroute.index.publishing:verify_snapshot",
    "numroute.index.publishing:StoreWriter.make_current",
    "numroute_loader.feeds.arrivals:Arrivals.clear",
    "numroute_loader.feeds.loop:write_feed_state",
]


@pytest.mark.parametrize("point", POINTS, ids=[point.partition(":")[2] for point in POINTS])
def test_kill_9_leaves_a_good_store_and_the_next_start_goes_on(
    store: Path, inbox: Path, tmp_path: Path, point: str
) -> None:
    """Wherever it is killed, the last good snapshot is current and nothing is lost."""
    put(inbox, day_of(FIRST_DAY))
    assert watch_once(store, "--inbox", inbox).status == 0
    put(inbox, day_of(NEXT_DAY, ported=21))
    put(inbox, window_of(NEXT_DAY, 2))
    with watching(tmp_path, store, "--inbox", inbox, hang_at=point) as watcher:
        watcher.wait_for_hang()
        watcher.kill()
    opened = SnapshotStore(store)
    verify_snapshot(opened.snapshot_path(opened.current_id()))
    read_feed_state(store)
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0, run.text
    assert run.state is not None
    assert run.state.healthy
    with SnapshotStore(store).open() as snapshot:
        assert snapshot.metadata.as_of == as_of(NEXT_DAY, 2)
        assert snapshot.metadata.counts["ported"] == 21
    verify_snapshot(opened.snapshot_path(opened.current_id()))
    assert not [path for path in (store / "spool").rglob("*") if path.is_file()]
    assert not list(store.rglob("*.unfinished"))


def test_kill_9_in_mid_download(
    store: Path, numlex: Path, sftp: SftpServer, login, tmp_path: Path
) -> None:
    """The next start fetches the rest and no more."""
    files = day_of(ported=50_000, packed=False)
    put(numlex, files)
    name, size = files[-1].name, len(files[-1].data)
    sftp.hang_after_bytes = size - 100_000
    with watching(tmp_path, store, *login) as watcher:
        incoming = store / "spool" / ".incoming"
        while sftp.served.get(name, 0) < 2 << 20 or not _fetched(incoming, name):
            watcher.alive()
        watcher.kill()
    assert not (store / "spool" / name).exists()
    (part,) = incoming.rglob(name)
    done = part.stat().st_size
    sftp.wait_until_left()
    sftp.served.clear()
    sftp.hang_after_bytes = None
    run = watch_once(store, *login)
    assert run.status == 0, run.text
    assert sftp.served[name] == size - done


@pytest.mark.parametrize("where", ["asleep", "downloading", "building"])
def test_sigterm_ends_a_watcher(
    store: Path, numlex: Path, sftp: SftpServer, login, tmp_path: Path, where: str
) -> None:
    """Asleep, in mid-download or in mid-build it ends with status 0 and says so."""
    put(numlex, day_of())
    if where == "downloading":
        sftp.hang_after_bytes = 0
    hang_at = "numroute_loader.pipeline:merge" if where == "building" else None
    with watching(tmp_path, store, *login, hang_at=hang_at) as watcher:
        if where == "asleep":
            watcher.wait_for("snapshot published")
        elif where == "building":
            watcher.wait_for_hang()
        else:
            while not list((store / "spool" / ".incoming").rglob("*.zip")):
                watcher.alive()
        assert watcher.stop() == 0
        assert watcher.log()[-1]["event"] == "stopped"
    sftp.hang_after_bytes = None
    assert watch_once(store, *login).status == 0


def test_a_host_that_is_away_at_first_is_found_later(
    store: Path, numlex: Path, sftp: SftpServer, login, tmp_path: Path
) -> None:
    """A running watcher outlives its host's absence, counts failures, and goes on by itself."""
    put(numlex, day_of())
    sftp.stop()
    with watching(tmp_path, store, *login) as watcher:
        assert watcher.wait_for("poll failed", 2)["failures"] == 2
        sftp.start()
        watcher.wait_for("snapshot published")
        state = read_feed_state(store)
        while state is None or state.error is not None:
            watcher.alive()
            state = read_feed_state(store)
        assert state.healthy


def test_a_running_watcher_takes_what_arrives(store: Path, inbox: Path, tmp_path: Path) -> None:
    """Full dump, then windows one after the other, each published as it comes."""
    with watching(tmp_path, store, "--inbox", inbox) as watcher:
        put(inbox, day_of())
        watcher.wait_for("snapshot published")
        for place, hour in enumerate((2, 4, 6), 2):
            put(inbox, window_of(FIRST_DAY, hour))
            line = watcher.wait_for("snapshot published", place)
            assert line["as_of"] == as_of(FIRST_DAY, hour).isoformat()
        second = command("numroute-load", "watch", "--store", store, "--inbox", inbox, "--once")
        assert second.status == 1
        assert "feeds this store" in second.err
        assert watcher.stop() == 0


def _fetched(folder: Path, name: str) -> int:
    """Return how many bytes of a file have been written below a folder."""
    return sum(path.stat().st_size for path in folder.rglob(name))
