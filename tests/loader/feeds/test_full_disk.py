"""The store's disk is full while a feed downloads or builds."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from support.feeds import FIRST_DAY, as_of, day_of, put, watch_once
from support.mounts import mounted
from support.watching import watching

from numroute.index import SnapshotStore, verify_snapshot

NEXT_DAY = FIRST_DAY + timedelta(days=1)
ALLOW = ("--allow", "growth", "--allow", "operator_change", "--reason", "a test")


@pytest.mark.parametrize("source", ["inbox", "sftp"])
@pytest.mark.parametrize("doing", ["downloading", "building"])
def test_a_full_disk_stops_nothing_but_the_publishing(
    numlex: Path, login, tmp_path: Path, source: str, doing: str
) -> None:
    """The last snapshot stays current, the message names the disk, and room is all that lacks."""
    disk = tmp_path / "disk"
    where = login if source == "sftp" else ["--inbox", numlex]
    with mounted(disk, "-t", "tmpfs", "-o", "size=32m", "none"):
        store = disk / "store"
        put(numlex, day_of(FIRST_DAY))
        assert watch_once(store, *where).status == 0
        opened = SnapshotStore(store)
        first = opened.current_id()
        room = (
            1 << 20 if doing == "downloading" else opened.snapshot_path(first).stat().st_size // 2
        )
        filler = disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - room))
        put(numlex, day_of(NEXT_DAY, ported=50_000, packed=doing == "building"))
        run = watch_once(store, *where, *ALLOW)
        assert run.status == 1
        failures = run.events("poll failed")
        assert "No space left on device" in failures[0]["reason"]
        assert opened.current_id() == first
        verify_snapshot(opened.snapshot_path(first))
        filler.unlink()
        run = watch_once(store, *where, *ALLOW)
        assert run.status == 0, run.text
        with opened.open() as snapshot:
            assert snapshot.metadata.as_of == as_of(NEXT_DAY)
            assert snapshot.metadata.counts["ported"] == 50_000
        assert not list(store.rglob("*.unfinished"))


def test_a_watcher_outlives_a_disk_without_a_byte(inbox: Path, tmp_path: Path) -> None:
    """Where not even the state can be written, it goes on, and publishes once there is room."""
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=32m", "none"):
        store, filler = disk / "store", disk / "filler"
        with watching(tmp_path, store, "--inbox", inbox) as watcher:
            put(inbox, day_of(FIRST_DAY))
            watcher.wait_for("snapshot published")
            with pytest.raises(OSError, match="No space left"):
                filler.write_bytes(bytes(32 << 20))
            put(inbox, day_of(NEXT_DAY, ported=21))
            watcher.wait_for("poll failed", 2)
            filler.unlink()
            watcher.wait_for("snapshot published", 2)
            assert watcher.stop() == 0


def test_a_disk_that_fills_up_during_a_download_keeps_no_part(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part is removed, so that the health record can be written, and says what happened."""
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=2m", "none"):
        put(inbox, day_of(FIRST_DAY, ported=100_000, packed=False))
        roomy = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: roomy)
        run = watch_once(disk, "--inbox", inbox)
        assert run.status == 1
        assert run.state is not None
        assert run.state.error is not None
        assert "cannot be copied: No space left on device" in run.state.error.message
        assert not list((disk / "spool").rglob("Port_All*"))
