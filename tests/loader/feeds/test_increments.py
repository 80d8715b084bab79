"""Increments on top of full dumps: in order, with gaps, half of a window, and what heals."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path

import pytest
from support.feeds import (
    FIRST_DAY,
    FIRST_NUMBER,
    Run,
    as_of,
    day_of,
    put,
    watch_once,
    window_of,
)
from support.registry import command, write_registry

from numroute.index import SnapshotStore, writing
from numroute_loader.feeds import watcher

NEXT_DAY = FIRST_DAY + timedelta(days=1)
_FOLLOWS = "what precedes it is missing or was refused, or it is not applied yet"
NEW = FIRST_NUMBER + 500_000
"""The first of the numbers that windows port; a dump of 20 numbers does not hold it."""


@pytest.fixture
def fed(store: Path, inbox: Path) -> Path:
    """Return a store that holds the first day's full dump of 20 numbers."""
    put(inbox, day_of(FIRST_DAY))
    assert watch_once(store, "--inbox", inbox).status == 0
    return store


def ported(store: Path, number: int) -> bool:
    """Return whether a ten-digit number is ported in the current snapshot."""
    found = command("numroute", "lookup", "--store", store, f"+7{number}", "--json")
    return json.loads(found.out)["status"] == "PORTED"


def state_of(run: Run):
    """Return the state that a run left."""
    assert run.state is not None
    return run.state


def test_windows_are_applied_in_order_whatever_order_they_come_in(fed: Path, inbox: Path) -> None:
    """Three windows become one snapshot; a number ported and returned is at home."""
    windows = [
        *window_of(FIRST_DAY, 2, ports=[NEW]),
        *window_of(FIRST_DAY, 4, ports=[NEW + 1], returns=[NEW]),
        *window_of(FIRST_DAY, 6, ports=[NEW + 2]),
    ]
    random.Random(1).shuffle(windows)
    put(inbox, windows)
    run = watch_once(fed, "--inbox", inbox)
    assert run.status == 0, run.text
    assert len(run.events("snapshot published")) == 1
    assert [ported(fed, NEW + i) for i in range(3)] == [False, True, True]
    assert state_of(run).as_of == as_of(FIRST_DAY, 6)
    assert state_of(run).window_expected_at == as_of(FIRST_DAY, 8)
    again = watch_once(fed, "--inbox", inbox)
    assert (again.status, again.log) == (0, [])


def test_half_a_window_waits_for_the_other_half(fed: Path, inbox: Path) -> None:
    """Both files of a window are needed; the state names the one that is missing."""
    port, returned = window_of(FIRST_DAY, 2, ports=[NEW])
    put(inbox, [port])
    run = watch_once(fed, "--inbox", inbox)
    assert run.status == 0
    (waiting,) = state_of(run).waiting
    assert waiting.name == port.name
    assert "return-increment" in waiting.reason
    assert not ported(fed, NEW)
    put(inbox, [returned])
    run = watch_once(fed, "--inbox", inbox)
    assert state_of(run).waiting == ()
    assert ported(fed, NEW)


def test_a_missing_window_stops_the_chain_until_it_comes(fed: Path, inbox: Path) -> None:
    """What precedes the gap is applied, the gap is named, and the late window closes it."""
    put(inbox, window_of(FIRST_DAY, 2, ports=[NEW]))
    put(inbox, window_of(FIRST_DAY, 6, ports=[NEW + 2]))
    run = watch_once(fed, "--inbox", inbox)
    assert run.status == 1
    gap = state_of(run).gap
    assert gap is not None
    assert "Port_Increment_202608230400_" in gap.message
    assert [ported(fed, NEW + i) for i in (0, 2)] == [True, False]
    assert len(run.events("gap")) == 1
    assert all("0600_" in each.name for each in state_of(run).waiting)
    assert len(state_of(run).waiting) == 2
    assert "2 files: " in command("numroute", "info", "--store", fed).out
    put(inbox, window_of(FIRST_DAY, 4, ports=[NEW + 1]))
    run = watch_once(fed, "--inbox", inbox)
    assert run.status == 0, run.text
    assert state_of(run).gap is None
    assert [ported(fed, NEW + i) for i in range(3)] == [True, True, True]


def test_the_next_full_dump_heals_a_gap(fed: Path, inbox: Path) -> None:
    """After a gap the store goes on serving; the next day's dump, and what follows it, heal it."""
    put(inbox, window_of(FIRST_DAY, 4, ports=[NEW]))
    run = watch_once(fed, "--inbox", inbox)
    assert state_of(run).gap is not None
    assert state_of(run).as_of == as_of(FIRST_DAY)
    put(inbox, day_of(NEXT_DAY, ported=21))
    put(inbox, window_of(NEXT_DAY, 2, ports=[NEW + 1]))
    run = watch_once(fed, "--inbox", inbox)
    assert run.status == 0, run.text
    assert state_of(run).gap is None
    assert state_of(run).as_of == as_of(NEXT_DAY, 2)
    assert [ported(fed, NEW + i) for i in range(2)] == [False, True]
    assert not [path for path in (fed / "spool").iterdir() if path.is_file()]


def test_windows_of_a_new_day_wait_for_the_rest_of_its_dump(
    fed: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Applied first they would make the store newer than the dump, and the dump useless."""
    put(inbox, day_of(NEXT_DAY, ported=21, types=("Port_All", "Operators")))
    for hour in range(2, 24, 2):
        put(inbox, window_of(FIRST_DAY, hour, ports=[NEW + hour]))
    put(inbox, window_of(NEXT_DAY, 0, ports=[NEW]))
    put(inbox, window_of(NEXT_DAY, 2, ports=[NEW + 1]))
    run = watch_once(fed, "--inbox", inbox)
    assert state_of(run).as_of == as_of(NEXT_DAY)
    assert not ported(fed, NEW + 1)
    monkeypatch.setattr(watcher, "PATIENCE", timedelta(0))
    given_up = watch_once(fed, "--inbox", inbox)
    assert state_of(given_up).as_of == as_of(NEXT_DAY, 2)
    assert ported(fed, NEW + 1)


def test_a_damaged_window_waits_for_a_good_one(fed: Path, inbox: Path) -> None:
    """What precedes it is applied; the same name with a good content goes on."""
    put(inbox, window_of(FIRST_DAY, 2, ports=[NEW]))
    port, returned = window_of(FIRST_DAY, 4, ports=[NEW + 1])
    put(inbox, [returned])
    port.put(inbox).write_text("<html>")
    run = watch_once(fed, "--inbox", inbox)
    assert run.status == 1
    assert [each.name for each in state_of(run).quarantined] == [port.name]
    assert state_of(run).as_of == as_of(FIRST_DAY, 2)
    put(inbox, [port])
    run = watch_once(fed, "--inbox", inbox)
    assert run.status == 0, run.text
    assert ported(fed, NEW + 1)


def test_a_window_that_is_refused_does_not_hold_up_those_before_it(fed: Path, inbox: Path) -> None:
    """The gate refuses a window that empties the table; the good one before it is applied."""
    put(inbox, window_of(FIRST_DAY, 2, ports=[NEW]))
    put(inbox, window_of(FIRST_DAY, 4, returns=[FIRST_NUMBER + i for i in range(15)]))
    run = watch_once(fed, "--inbox", inbox)
    assert run.status == 1
    (refused,) = state_of(run).refused
    assert "shrinkage" in refused.checks
    assert all("0400_" in name for name in refused.names)
    assert state_of(run).as_of == as_of(FIRST_DAY, 2)
    put(inbox, window_of(FIRST_DAY, 6, ports=[NEW + 1]))
    again = watch_once(fed, "--inbox", inbox)
    assert again.events("files refused") == []
    assert state_of(again).refused_files == 2
    assert [each.reason for each in state_of(again).waiting] == [_FOLLOWS] * 2
    assert all("0600_" in each.name for each in state_of(again).waiting)
    put(inbox, day_of(NEXT_DAY, ported=21))
    healed = watch_once(fed, "--inbox", inbox)
    assert healed.status == 0, healed.text
    assert state_of(healed).refused == ()


def test_after_a_rollback_increments_wait_for_the_next_dump(fed: Path, inbox: Path) -> None:
    """What was rolled back is not applied again, nor what follows it."""
    before = SnapshotStore(fed).current_id()
    put(inbox, window_of(FIRST_DAY, 2, ports=[NEW]))
    watch_once(fed, "--inbox", inbox)
    with writing(SnapshotStore(fed)) as writer:
        writer.make_current(before)
    put(inbox, window_of(FIRST_DAY, 4, ports=[NEW + 1]))
    run = watch_once(fed, "--inbox", inbox)
    gap = state_of(run).gap
    assert gap is not None
    assert "must come next; missing: " in gap.message
    assert "build the next full dump" in gap.hint
    assert SnapshotStore(fed).current_id() == before
    put(inbox, day_of(NEXT_DAY, ported=21))
    assert watch_once(fed, "--inbox", inbox).status == 0
    assert SnapshotStore(fed).current_id() != before


@pytest.mark.parametrize("by", ["rollback", "apply"])
def test_after_a_rollback_the_hint_leads_forward(fed: Path, inbox: Path, by: str) -> None:
    """Both ways that the hint names work, and the feed is well again."""
    before = SnapshotStore(fed).current_id()
    put(inbox, window_of(FIRST_DAY, 2, ports=[NEW]))
    watch_once(fed, "--inbox", inbox)
    newer = SnapshotStore(fed).current_id()
    with writing(SnapshotStore(fed)) as writer:
        writer.make_current(before)
    put(inbox, window_of(FIRST_DAY, 4, ports=[NEW + 1]))
    run = watch_once(fed, "--inbox", inbox)
    assert run.status == 1
    gap = state_of(run).gap
    assert gap is not None
    assert by in gap.hint
    if by == "rollback":
        done = command("numroute-load", "rollback", newer, "--store", fed, "--reason", "test")
    else:
        done = command("numroute-load", "apply", "--store", fed, *inbox.rglob("*_Increment_*"))
    assert done.status == 0, done.err
    run = watch_once(fed, "--inbox", inbox)
    assert run.status == 0, run.text
    assert state_of(run).gap is None
    assert [ported(fed, NEW + i) for i in range(2)] == [True, True]


def test_windows_that_can_follow_nothing_do_not_hold_up_a_dump(
    store: Path, inbox: Path, tmp_path: Path
) -> None:
    """On a store of a plan alone they are reported as a gap, and the next full dump is built."""
    files = write_registry(tmp_path / "files", dump=None, operators=None, abc=None)
    assert command("numroute-load", "build", "--store", store, files).status == 0
    for hour in range(2, 24, 2):
        put(inbox, window_of(FIRST_DAY, hour))
    put(inbox, window_of(NEXT_DAY, 0))
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 1
    assert state_of(run).error is None
    gap = state_of(run).gap
    assert gap is not None
    assert "was not built from a full dump" in gap.message
    assert len(run.events("gap")) == 1
    put(inbox, day_of(NEXT_DAY))
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0, run.text
    assert state_of(run).as_of == as_of(NEXT_DAY)


def test_overrides_outlive_what_is_fed(fed: Path, inbox: Path, tmp_path: Path) -> None:
    """What somebody set by hand is carried over by increments and by the next full dump."""
    overrides = tmp_path / "overrides.csv"
    overrides.write_text(f"number,operator,reason,author\n+7{NEW},mTELE2,test,test\n")
    done = command("numroute-load", "override", "apply", overrides, "--store", fed)
    assert done.status == 0, done.err
    put(inbox, window_of(FIRST_DAY, 2, ports=[NEW + 1]))
    put(inbox, day_of(NEXT_DAY, ported=21))
    assert watch_once(fed, "--inbox", inbox).status == 0
    found = command("numroute", "lookup", "--store", fed, f"+7{NEW}", "--json")
    assert json.loads(found.out)["route"]["operator"]["code"] == "mTELE2"


@pytest.fixture
def ahead(fed: Path, inbox: Path) -> Path:
    """Return a store to which a day's windows and the first of the next day were applied."""
    for hour in range(2, 24, 2):
        put(inbox, window_of(FIRST_DAY, hour))
    put(inbox, window_of(NEXT_DAY, 0))
    put(inbox, window_of(NEXT_DAY, 2, ports=[NEW]))
    assert watch_once(fed, "--inbox", inbox).status == 0
    return fed


def test_a_dump_that_comes_late_is_compared_and_not_published(ahead: Path, inbox: Path) -> None:
    """History and state say how it differs from what the increments made; nothing older is served.

    What a later window changed is left out.
    """
    before = SnapshotStore(ahead).current_id()
    put(inbox, day_of(NEXT_DAY, ported=21, types=("Operators", "Numbering_plan")))
    run = watch_once(ahead, "--inbox", inbox)
    assert (run.status, run.log) == (0, [])
    put(inbox, day_of(NEXT_DAY, ported=21, types=("Port_All",)))
    run = watch_once(ahead, "--inbox", inbox)
    assert run.status == 0, run.text
    assert SnapshotStore(ahead).current_id() == before
    assert ported(ahead, NEW)
    (told,) = run.events("dump compared")
    assert "differs" in told["result"]
    entry = SnapshotStore(ahead).history()[-1]
    assert (entry["event"], entry["snapshot"]) == ("reconciled", before)
    drift = entry["drift"]
    assert [drift[key] for key in ("ported", "returned", "moved", "updated")] == [1, 0, 0, 0]
    assert drift["changed_since"] == 1
    compared = state_of(run).reconciled
    assert compared is not None
    assert (compared.outcome, compared.published) == ("passed", False)
    assert state_of(run).dump_expected_at == as_of(NEXT_DAY + timedelta(days=1))
    assert watch_once(ahead, "--inbox", inbox).log == []
    assert "last full dump" in command("numroute", "info", "--store", ahead).out
    assert "reconciled" in command("numroute-load", "history", "--store", ahead, "--last", 1).out


def test_drift_asks_for_a_look_until_the_next_dump(
    ahead: Path, inbox: Path, tmp_path: Path
) -> None:
    """Beyond the limit the feed is not well; the next full dump replaces what increments made."""
    limits = tmp_path / "limits.toml"
    limits.write_text("drift_numbers_min = 0\n")
    put(inbox, day_of(NEXT_DAY, ported=21))
    run = watch_once(ahead, "--inbox", inbox, "--limits", limits)
    assert run.status == 1
    assert len(run.events("drift")) == 1
    compared = state_of(run).reconciled
    assert compared is not None
    assert (compared.outcome, compared.published) == ("FAILED", False)
    again = watch_once(ahead, "--inbox", inbox, "--limits", limits)
    assert (again.status, again.log) == (1, [])
    put(inbox, day_of(NEXT_DAY + timedelta(days=1), ported=22))
    healed = watch_once(ahead, "--inbox", inbox, "--limits", limits)
    assert healed.status == 0, healed.text
    assert not ported(ahead, NEW)


def test_a_late_dump_that_is_damaged_is_left_out(ahead: Path, inbox: Path) -> None:
    """It is left out as any other, and nothing is said to have been compared."""
    *companions, dump = day_of(NEXT_DAY, ported=21)
    put(inbox, companions)
    dump.put(inbox).write_text("<html>")
    run = watch_once(ahead, "--inbox", inbox)
    assert run.status == 1
    assert [each.name for each in state_of(run).quarantined] == [dump.name]
    assert SnapshotStore(ahead).history()[-1]["event"] == "published"
