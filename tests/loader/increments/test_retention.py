"""What ``apply`` and ``watch`` keep: by flag, by environment, and what always stays."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support import bdpn
from support.feeds import FIRST_DAY, FIRST_NUMBER, day_of, put, watch_once, window_of
from support.registry import command, write_registry

from numroute.index import SnapshotStore

FIRST = 12 * 4659 + 1
MOSCOW = timezone(timedelta(hours=3))


def time_in(sequence: int) -> str:
    """Return a time within a window, which ends with the time in its files' names."""
    end = datetime(2013, 11, 20, tzinfo=MOSCOW) + timedelta(hours=2 * sequence)
    return (end - timedelta(minutes=50)).isoformat()


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    """Return a store with one snapshot of the tiny registry."""
    files = write_registry(tmp_path / "files")
    built = command("numroute-load", "build", "--store", tmp_path / "store", files)
    assert built.status == 0, built.err
    return SnapshotStore(tmp_path / "store")


def apply(store: SnapshotStore, folder: Path, place: int, *words: object) -> str:
    """Apply one more window; return the id of the snapshot that it made."""
    sequence = FIRST + place
    row = bdpn.port_row(9_000_000_500 + place, "mMTS", time=time_in(sequence))
    files = bdpn.put_window(folder / f"w{place}", sequence, [row])
    done = command("numroute-load", "apply", "--store", store.path, *words, *files)
    assert done.status == 0, done.err
    return store.current_id()


def test_apply_prunes_by_its_options(store: SnapshotStore, tmp_path: Path, monkeypatch) -> None:
    """A flag wins over the environment; current, previous and pinned ones stay in any case."""
    first = store.current_id()
    assert command("numroute-load", "pin", first, "--store", store.path).status == 0
    monkeypatch.setenv("NUMROUTE_KEEP_LAST", "3")
    monkeypatch.setenv("NUMROUTE_KEEP_DAILY", "0")
    made = [apply(store, tmp_path, place) for place in range(4)]
    assert set(store.ids()) == {first, *made[-3:]}
    made += [apply(store, tmp_path, 4, "--keep-last", 1)]
    assert set(store.ids()) == {first, *made[-2:]}
    made += [apply(store, tmp_path, 5, "--keep-last", 0, "--keep-within", 1)]
    # All of them were published within the hour.
    assert set(store.ids()) == {first, *made[-3:]}
    pruned = [event["snapshot"] for event in store.history() if event["event"] == "pruned"]
    assert pruned == made[:3]


def test_watch_prunes_by_its_options(tmp_path: Path) -> None:
    """So does the feed, window by window."""
    inbox, store = tmp_path / "inbox", tmp_path / "store"
    inbox.mkdir()
    put(inbox, day_of(FIRST_DAY))
    keep = ("--keep-last", 1, "--keep-daily", 0)
    assert watch_once(store, "--inbox", inbox, *keep).status == 0
    made = [SnapshotStore(store).current_id()]
    for place, hour in enumerate((2, 4, 6)):
        put(inbox, window_of(FIRST_DAY, hour, ports=[FIRST_NUMBER + 500_000 + place]))
        run = watch_once(store, "--inbox", inbox, *keep)
        assert run.status == 0, run.text
        made.append(SnapshotStore(store).current_id())
        assert set(SnapshotStore(store).ids()) == set(made[-2:])
    assert len(set(made)) == 4


@pytest.mark.parametrize("program", ["apply", "watch"])
def test_a_retention_that_is_none_is_refused(store: SnapshotStore, program: str) -> None:
    """Before anything is read, with the range that is allowed."""
    words = ("numroute-load", program, "--store", store.path, "--keep-last", -1)
    result = command(*words, *(("x.csv",) if program == "apply" else ("--inbox", store.path)))
    assert result.status != 0
    assert "--keep-last" in result.err
    assert "range" in result.err
