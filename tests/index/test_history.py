"""What was current when; going back, pinning, pruning; a history that is damaged or gone."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.snapshots import AS_OF, make_content, make_routes

import numroute.index.history as history_module
from numroute.errors import (
    NoSnapshotError,
    SettingError,
    SnapshotCorruptError,
)
from numroute.index import Changes, Retention, SnapshotStore, writing
from numroute.index.history import Moment, current_at
from numroute.index.publishing import judge

ROUTES = make_routes(2, 1)
START = datetime(2026, 9, 1, tzinfo=UTC)


class Clock(datetime):
    """A clock that the tests set."""

    time = START

    @classmethod
    def now(cls, _tz=None):
        """Return the time that was set."""
        return cls.time


@pytest.fixture
def clock(monkeypatch) -> type[Clock]:
    """Set the clock of history and store."""
    for module in ("history", "store", "publishing"):
        monkeypatch.setattr(f"numroute.index.{module}.datetime", Clock)
    Clock.time = START
    return Clock


def publish(store: SnapshotStore, records: int = 1, **facts: object) -> str:
    """Publish a small snapshot with so many records and return its id."""
    content = make_content(
        {79_000_000_012 + i: 2 for i in range(records)},
        {79_000_000_000: 4, 79_000_003_584: 0},
        ROUTES,
    )
    with writing(store) as writer:
        metadata = writer.publish(
            content, as_of=AS_OF, sources=(), counts={"ported": records}, **facts
        )
    return metadata.snapshot_id


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    """Return a new store that keeps everything."""
    return SnapshotStore(tmp_path / "store", create=True, retention=Retention(last=1000))


def test_each_publication_says_what_changed(store: SnapshotStore) -> None:
    """The first has nothing to compare with; the next ones count against the one before."""
    first = publish(store, 3)
    second = publish(store, 5)
    with store.open(first) as snapshot:
        assert snapshot.metadata.changes is None
    expected = Changes(against=first, ported=2)
    with store.open(second) as snapshot:
        assert snapshot.metadata.changes == expected
    told = store.history()[-1]["changes"]
    assert Changes(**told) == expected


def test_a_time_finds_what_was_current_then(store: SnapshotStore, clock) -> None:
    """Published and rolled back ones each answer for their own time; a future time is refused."""
    with pytest.raises(NoSnapshotError, match="no snapshot was current"):
        store.current_at(START - timedelta(hours=1))
    ids = []
    for hour in (0, 2, 4):
        clock.time = START + timedelta(hours=hour)
        ids.append(publish(store))
    clock.time = START + timedelta(hours=6)
    with writing(store) as writer:
        writer.roll_back(ids[1], asked_by="me", reason="the third is wrong")
    clock.time = START + timedelta(hours=8)
    expected = {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 2, 6: 1, 7: 1, 8: 1}
    for hour, place in expected.items():
        assert store.current_at(START + timedelta(hours=hour)) == ids[place], hour
    with pytest.raises(NoSnapshotError, match="the first became so at 2026-09-01T00:00:00Z"):
        store.current_at(START - timedelta(hours=1))
    with pytest.raises(SettingError, match="lies in the future"):
        store.current_at(START + timedelta(hours=9))
    event = store.history()[-1]
    assert (event["event"], event["replaced"], event["reason"]) == (
        "rolled back", ids[2], "the third is wrong",
    )  # fmt: skip


def test_a_clock_set_back_does_not_reorder_events(store: SnapshotStore, clock) -> None:
    """What is current now is current now; ids stay unique; the newest stays the newest."""
    clock.time = START + timedelta(days=30)
    first, second = publish(store), publish(store)
    clock.time = START
    third = publish(store)
    assert store.current_at(START) == third
    clock.time = START + timedelta(minutes=5)
    assert store.current_at(clock.time) == third
    assert store.previous_id() == second
    with writing(store) as writer:
        kept = writer.prune(Retention(last=1, daily=0))
    assert [each.reasons for each in kept] == [(), ("previous",), ("current", "last")]
    assert store.ids() == sorted([second, third])
    assert first not in store.ids()


def test_a_clock_that_was_ahead_does_not_hide_the_current_one(store: SnapshotStore, clock) -> None:
    """A snapshot published at a time that has not come yet is what is current now."""
    clock.time = START + timedelta(days=1)
    ahead = publish(store)
    clock.time = START
    assert store.current_at(START) == ahead


@given(
    steps=st.lists(st.tuples(st.integers(-5, 20), st.sampled_from("abc")), min_size=1, max_size=12),
    asked=st.integers(-100, 300),
)
def test_what_was_current_is_the_last_event_that_had_happened(steps, asked) -> None:
    """With any jumps of the clock, an event is no later than the next one."""
    minutes, moments = 0, []
    for step, snapshot in steps:
        minutes += step
        moments.append(Moment(at=START + timedelta(minutes=minutes), snapshot=snapshot))
    time = START + timedelta(minutes=asked)
    happened = [i for i in range(len(moments)) if min(later.at for later in moments[i:]) <= time]
    expected = moments[happened[-1]].snapshot if happened else None
    assert current_at(moments, time) == expected


def test_current_written_by_hand_is_noticed(store: SnapshotStore, clock) -> None:
    """CURRENT is right where the history disagrees; the next writing tells the history."""
    first = publish(store)
    clock.time = START + timedelta(hours=2)
    second = publish(store)
    (store.path / "CURRENT").write_text(first + "\n")
    since = START + timedelta(hours=3)
    os.utime(store.path / "CURRENT", (since.timestamp(),) * 2)
    clock.time = START + timedelta(hours=4)
    asked = [START + timedelta(hours=1), START + timedelta(hours=2), since, clock.time]
    expected = [first, second, first, first]
    assert [store.current_at(each) for each in asked] == expected
    with writing(store):
        pass
    event = store.history()[-1]
    assert (event["event"], event["snapshot"], event["at"]) == ("found current", first, since)
    assert [store.current_at(each) for each in asked] == expected
    assert store.previous_id() == second


def test_a_time_whose_snapshot_was_removed_says_so(store: SnapshotStore, clock) -> None:
    """The message names the snapshot and how to keep more."""
    first = publish(store)
    clock.time = START + timedelta(hours=2)
    publish(store)
    clock.time = START + timedelta(hours=4)
    third = publish(store)
    with writing(store) as writer:
        writer.prune(Retention(last=0, daily=0))
    then = START + timedelta(hours=1)
    with pytest.raises(NoSnapshotError, match=f"{first}.*no longer kept.*prune"):
        store.open_past(store.current_at(then), then)
    with store.open_past(store.current_at(clock.time), clock.time) as snapshot:
        assert snapshot.metadata.snapshot_id == third


def test_rolling_back_refuses_what_is_not_whole(store: SnapshotStore) -> None:
    """A flipped byte, an id that is not kept, the current one: nothing changes."""
    first, second = publish(store), publish(store)
    path = store.snapshot_path(first)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with writing(store) as writer:
        with pytest.raises(SnapshotCorruptError):
            writer.roll_back(first)
        with pytest.raises(NoSnapshotError):
            writer.roll_back("20260101T000000Z-000000")
        with pytest.raises(SettingError, match="current already"):
            writer.roll_back(second)
    assert store.current_id() == second
    assert store.history()[-1]["event"] == "published"


@pytest.mark.parametrize("text", [None, "20260101T000000Z-000000\n", "\xff"])
def test_previous_mends_a_pointer_at_nothing(store: SnapshotStore, text: str | None) -> None:
    """Where CURRENT is gone or names nothing, `previous` is the last one that was current."""
    publish(store)
    second = publish(store)
    pointer = store.path / "CURRENT"
    pointer.unlink()
    if text is not None:
        pointer.write_text(text, "latin-1")
    with pytest.raises(NoSnapshotError, match="rollback --store DIR previous"):
        store.open()
    with writing(store) as writer:
        writer.roll_back(store.resolve("previous"))
    assert store.current_id() == second


def test_publishing_keeps_what_the_retention_says(tmp_path: Path, clock) -> None:
    """Two newest, one a day for three days, the pinned, the current and the previous one."""
    store = SnapshotStore(tmp_path, create=True, retention=Retention(last=2, daily=3))
    ids = []
    for window in range(20):
        clock.time = START + timedelta(hours=6 * window)
        ids.append(publish(store))
        if window == 2:
            with writing(store) as writer:
                writer.pin(ids[2], reason="audit")
    # Four windows a day: the last of days 3, 4 and 5 are windows 11, 15 and 19.
    assert store.ids() == sorted(ids[i] for i in (2, 11, 15, 18, 19))
    with writing(store) as writer:
        writer.unpin(ids[2])
        writer.prune(store.retention)
    assert store.ids() == sorted(ids[i] for i in (11, 15, 18, 19))
    removed = [entry["snapshot"] for entry in store.history() if entry["event"] == "pruned"]
    assert sorted(removed) == sorted(set(ids) - set(store.ids()))


def test_what_is_current_or_was_before_is_never_pruned(store: SnapshotStore) -> None:
    """Rules that keep nothing leave the current snapshot and the one that it replaced."""
    ids = [publish(store) for _ in range(5)]
    with writing(store) as writer:
        writer.roll_back(ids[1])
        writer.prune(Retention(last=0, daily=0))
    assert store.ids() == sorted([ids[1], ids[4]])


def test_retention_by_age_counts_from_the_newest() -> None:
    """`within` keeps what was published at most so long before the newest, whatever the time is."""
    snapshots = [(str(i), START + timedelta(hours=2 * i)) for i in range(10)]
    kept = judge(
        snapshots,
        Retention(last=0, daily=0, within=timedelta(hours=5)),
        protected=[("0", "pinned")],
    )
    assert [each.snapshot for each in kept if each.reasons] == ["0", "7", "8", "9"]


def test_a_lost_history_loses_no_snapshot(tmp_path: Path) -> None:
    """Without history.jsonl every snapshot is taken up again, pins stay, and nothing is pruned."""
    store = SnapshotStore(tmp_path, create=True, retention=Retention(last=100))
    ids = [publish(store) for _ in range(5)]
    with writing(store) as writer:
        writer.pin(ids[0])
    store.history_path.unlink()
    strict = SnapshotStore(tmp_path, retention=Retention(last=0, daily=0))
    newest = publish(strict)
    assert store.ids() == sorted([*ids, newest])
    assert store.pinned() == {ids[0]}
    events = [entry["event"] for entry in store.history()]
    assert events == ["history damaged", *["adopted"] * 5, "found current", "published"]
    # From then on the history is whole and the retention goes on.
    last = publish(strict)
    assert strict.ids() == sorted([ids[0], newest, last])


def test_damaged_lines_lose_no_snapshot(store: SnapshotStore) -> None:
    """A line that cannot be read costs its event only; its snapshot is taken up again."""
    ids = [publish(store) for _ in range(3)]
    lines = store.history_path.read_bytes().split(b"\n")
    lines[1] = b"\0" * len(lines[1])
    store.history_path.write_bytes(b"\n".join(lines))
    strict = SnapshotStore(store.path, retention=Retention(last=0, daily=0))
    newest = publish(strict)
    assert store.ids() == sorted([*ids, newest])
    damage = [entry for entry in store.history() if entry["event"] == "history damaged"]
    assert [(entry["lines"], entry["missing"]) for entry in damage] == [(1, False)]
    assert [e["snapshot"] for e in store.history() if e["event"] == "adopted"] == [ids[1]]
    publish(strict)
    assert len(strict.ids()) == 2


def test_a_file_that_cannot_be_opened_is_left_for_somebody_to_look_at(store: SnapshotStore) -> None:
    """A foreign or damaged file in the folder is neither adopted nor pruned."""
    foreign = store.snapshot_path("20260101T000000Z-bbbbbb")
    publish(store)
    foreign.write_bytes(b"x")
    publish(store)
    with writing(store) as writer:
        kept = writer.prune(Retention(last=0, daily=0))
    assert [each.reasons for each in kept if each.snapshot == foreign.stem] == [("unreadable",)]
    assert foreign.exists()


def test_a_snapshot_that_was_never_announced_is_taken_up(store: SnapshotStore) -> None:
    """A crash between naming a file and telling the history costs nothing."""
    first = publish(store)
    text = store.history_path.read_text()
    second = publish(store)
    store.history_path.write_text(text)
    (store.path / "CURRENT").write_text(first + "\n")
    with writing(store):
        pass
    assert store.ids() == sorted([first, second])
    assert [entry["event"] for entry in store.history()] == ["published", "adopted"]
    assert store.current_id() == first


def test_history_lines_are_one_object_each(store: SnapshotStore) -> None:
    """Each line is JSON with event, snapshot and time; the file is private."""
    publish(store, asked_by="me", reason="why")
    (line,) = store.history_path.read_text().splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["asked_by"], entry["reason"]) == ("published", "me", "why")
    assert datetime.fromisoformat(entry["at"]).tzinfo
    assert store.history_path.stat().st_mode & 0o777 == 0o600
    assert history_module.read_history(store.history_path).damaged == 0


def test_what_was_announced_and_never_current_is_not_the_previous_one(
    store: SnapshotStore,
) -> None:
    """After a crash between the history and CURRENT, going back leads to what was served before."""
    first, second = publish(store), publish(store)
    pointer = store.path / "CURRENT"
    since = pointer.stat().st_mtime_ns
    announced = publish(store)
    pointer.write_text(second + "\n")
    os.utime(pointer, ns=(since, since))
    for _ in range(2):
        assert store.current_id() == second
        assert store.previous_id() == first
        assert [moment.snapshot for moment in store.moments()][:2] == [first, second]
        assert announced not in {moment.snapshot for moment in store.moments()}
        # The second look finds what a writer has mended.
        with writing(store):
            pass
