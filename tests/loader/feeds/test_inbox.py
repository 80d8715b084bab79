"""An inbox folder: what arrives in it, whole or not, in order or not, and what becomes of it."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.feeds import FIRST_DAY, as_of, day_of, put, watch_once, window_of, zip_of
from support.registry import ABC, command, write_registry

from numroute.errors import InputError
from numroute.feed import read_feed_state
from numroute.index import SnapshotStore, writing
from numroute_loader import pipeline
from numroute_loader.feeds.sources import Inbox, RemoteFile

NEXT_DAY = FIRST_DAY + timedelta(days=1)


def test_a_day_is_built(store: Path, inbox: Path) -> None:
    """Dump, operators and plan of one day become the current snapshot, and the state says so."""
    put(inbox, day_of())
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0, run.text
    snapshot = SnapshotStore(store).open()
    with snapshot:
        assert snapshot.metadata.as_of == as_of(FIRST_DAY)
        assert snapshot.metadata.counts["ported"] == 20
    assert run.state is not None
    assert run.state.snapshot_id == SnapshotStore(store).current_id()
    assert run.state.as_of == as_of(FIRST_DAY)
    assert run.state.dump_expected_at == as_of(NEXT_DAY)
    assert run.state.healthy
    assert run.state.waiting == ()
    assert SnapshotStore(store).history()[-1]["asked_by"].endswith("(watch)")


def test_files_may_lie_in_the_registrys_folders_or_in_one(store: Path, inbox: Path) -> None:
    """An inbox may be a mirror of the registry's folders or one flat folder."""
    first, *rest = day_of()
    put(inbox, [first], flat=True)
    put(inbox, rest)
    assert watch_once(store, "--inbox", inbox).status == 0
    assert len(SnapshotStore(store).ids()) == 1


def test_what_is_built_in_is_not_read_again(store: Path, inbox: Path) -> None:
    """A second run over the same files publishes nothing and leaves nothing in the spool."""
    put(inbox, day_of())
    watch_once(store, "--inbox", inbox)
    again = watch_once(store, "--inbox", inbox)
    assert again.status == 0
    assert again.log == []
    assert len(SnapshotStore(store).ids()) == 1
    assert [path for path in (store / "spool").rglob("*") if path.is_file()] == []


def test_files_are_private(store: Path, inbox: Path) -> None:
    """Files are readable by their owner only, folders too."""
    put(inbox, day_of(types=("Port_All",)))
    watch_once(store, "--inbox", inbox)
    found = list(store.rglob("*"))
    assert {path.name for path in found} >= {"feed.json", "Port_All_202608230000_4659.zip"}
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_dump_waits_for_the_rest_of_its_day(store: Path, inbox: Path) -> None:
    """A dump alone is kept and named in the state; the next run builds it with what came."""
    dump, operators, plan = day_of(types=("Port_All", "Operators", "Numbering_plan"))
    put(inbox, [dump, operators])
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0
    assert run.state is not None
    assert [waiting.name for waiting in run.state.waiting] == [dump.name, operators.name]
    assert all("numbering-plan" in waiting.reason for waiting in run.state.waiting)
    assert SnapshotStore(store).ids() == []
    put(inbox, [plan])
    run = watch_once(store, "--inbox", inbox)
    assert run.state is not None
    assert run.state.waiting == ()
    assert len(SnapshotStore(store).ids()) == 1


def test_the_newest_complete_day_wins(store: Path, inbox: Path) -> None:
    """Days that lie in the inbox together are not built one after the other."""
    put(inbox, day_of(FIRST_DAY))
    put(inbox, day_of(NEXT_DAY, ported=22))
    put(inbox, day_of(NEXT_DAY + timedelta(days=1), types=("Port_All", "Operators")))
    run = watch_once(store, "--inbox", inbox)
    assert len(run.events("snapshot published")) == 1
    assert run.state is not None
    assert run.state.as_of == as_of(NEXT_DAY)


def test_an_older_day_is_left_alone(store: Path, inbox: Path) -> None:
    """What arrives late and is older than the snapshot is not even fetched."""
    put(inbox, day_of(NEXT_DAY))
    watch_once(store, "--inbox", inbox)
    put(inbox, day_of(FIRST_DAY))
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0
    assert run.log == []


def test_a_rollback_is_not_undone(store: Path, inbox: Path) -> None:
    """After going back to an older snapshot, the files of the newer one are not applied again."""
    put(inbox, day_of(FIRST_DAY))
    watch_once(store, "--inbox", inbox)
    before = SnapshotStore(store).current_id()
    put(inbox, day_of(NEXT_DAY))
    watch_once(store, "--inbox", inbox)
    assert SnapshotStore(store).current_id() != before
    with writing(SnapshotStore(store)) as writer:
        writer.make_current(before)
    assert watch_once(store, "--inbox", inbox).status == 0
    assert SnapshotStore(store).current_id() == before


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html><body>502 Bad Gateway</body></html>", "HTML page"),
        (b"", "empty"),
        (day_of()[-1].data[:-30], "damaged or cut short"),
    ],
    ids=["error page", "empty", "cut short"],
)
def test_an_unusable_file_is_left_out(store: Path, inbox: Path, data: bytes, reason: str) -> None:
    """It is named with the reason, does not end the run, and a good one of its name heals."""
    *others, dump = day_of()
    put(inbox, others)
    path = dump.put(inbox)
    path.write_bytes(data)
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 1
    assert run.state is not None
    (bad,) = run.state.quarantined
    assert (bad.name, bad.tries) == (dump.name, 1)
    assert reason in bad.reason
    assert run.state.error is None
    assert not list((store / "spool").rglob(dump.name))
    again = watch_once(store, "--inbox", inbox)
    assert again.events("file quarantined") == []
    dump.put(inbox)
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0
    assert run.state is not None
    assert run.state.healthy


def test_a_file_that_cannot_be_read_does_not_hold_up_the_others(store: Path, inbox: Path) -> None:
    """It is named with the reason, what does not need it is applied, and a good one heals."""
    put(inbox, day_of(FIRST_DAY))
    put(inbox, window_of(FIRST_DAY, 2))
    bad, good = window_of(FIRST_DAY, 4)
    put(inbox, [good])
    link = inbox / bad.folder / bad.name
    link.symlink_to("/proc/self/mem")
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 1
    assert run.state is not None
    assert run.state.error is None
    assert [(each.name, each.reason) for each in run.state.quarantined] == [
        (bad.name, "cannot be read: Input/output error")
    ]
    assert run.state.as_of == as_of(FIRST_DAY, 2)
    link.unlink()
    put(inbox, [bad])
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0, run.text
    assert run.state is not None
    assert run.state.as_of == as_of(FIRST_DAY, 4)


def test_an_unusable_file_is_forgotten_with_its_day(store: Path, inbox: Path) -> None:
    """Once a later dump is published, nobody needs to look at the damaged one any more."""
    put(inbox, day_of(FIRST_DAY))
    *others, dump = day_of(NEXT_DAY)
    put(inbox, others)
    dump.put(inbox).write_text("<html>")
    assert watch_once(store, "--inbox", inbox).status == 1
    put(inbox, day_of(NEXT_DAY + timedelta(days=1), ported=21))
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0, run.text
    assert run.state is not None
    assert run.state.quarantined == ()


def test_what_somebody_publishes_meanwhile_is_built_on(
    store: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day that was judged against the snapshot before is reported, and judged anew."""
    put(inbox, day_of(FIRST_DAY))
    watch_once(store, "--inbox", inbox)
    judge = pipeline.check

    def judge_slowly(*args, **kwargs):
        checked = judge(*args, **kwargs)
        monkeypatch.setattr(pipeline, "check", judge)
        with writing(SnapshotStore(store)) as writer:
            writer.publish_overrides(())
        return checked

    monkeypatch.setattr(pipeline, "check", judge_slowly)
    put(inbox, day_of(NEXT_DAY, ported=21))
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 1
    assert run.state is not None
    assert run.state.error is not None
    assert "when the files were read, and is" in run.state.error.message
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0, run.text
    assert run.state is not None
    assert run.state.as_of == as_of(NEXT_DAY)


def test_a_dump_whose_row_count_is_wrong_is_left_out(store: Path, inbox: Path) -> None:
    """A dump that is a whole zip of half a text shows when it is read."""
    *others, dump = day_of()
    (short,) = day_of(types=("Port_All",), ported=19)
    text = short.data
    put(inbox, others)
    wrong = type(dump)(name=dump.name, folder=dump.folder, data=_with_row_count(text, 20))
    wrong.put(inbox)
    run = watch_once(store, "--inbox", inbox)
    assert run.state is not None
    (bad,) = run.state.quarantined
    assert "RowCount says 20" in bad.reason
    dump.put(inbox)
    assert watch_once(store, "--inbox", inbox).status == 0


def test_half_a_dump_is_refused_once_and_may_be_allowed(store: Path, inbox: Path) -> None:
    """What the gate refuses is shown, not tried again, and published when a user allows it."""
    put(inbox, day_of(FIRST_DAY))
    watch_once(store, "--inbox", inbox)
    put(inbox, day_of(NEXT_DAY, ported=5))
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 1
    assert run.state is not None
    (refused,) = run.state.refused
    assert refused.checks == ("shrinkage",)
    again = watch_once(store, "--inbox", inbox)
    assert again.status == 1
    assert again.log == []
    allowed = watch_once(
        store, "--inbox", inbox, "--allow", "shrinkage", "--reason", "a smaller registry"
    )
    assert allowed.status == 0, allowed.text
    assert allowed.state is not None
    assert allowed.state.refused == ()
    assert allowed.state.as_of == as_of(NEXT_DAY)


def test_a_file_larger_than_the_free_room_holds_up_no_other(store: Path, inbox: Path) -> None:
    """It is not even begun; what does not need it is applied, and the record says what is wrong."""
    put(inbox, day_of(FIRST_DAY))
    put(inbox, window_of(FIRST_DAY, 2))
    assert watch_once(store, "--inbox", inbox).status == 0
    huge = inbox / "Port_All_202608240000_4660.zip"
    with huge.open("wb") as file:
        file.truncate(shutil.disk_usage(store).free + (1 << 30))
    (store / "feed.json").unlink()
    put(inbox, window_of(FIRST_DAY, 4))
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 1
    assert run.state is not None
    assert run.state.as_of == as_of(FIRST_DAY, 4)
    assert run.state.error is not None
    assert f"{huge}: No space left on device: it needs" in run.state.error.message
    assert not list((store / "spool").rglob(huge.name))
    huge.unlink()
    assert watch_once(store, "--inbox", inbox).status == 0


def test_a_file_far_larger_than_the_last_of_its_type_is_not_fetched(
    store: Path, inbox: Path
) -> None:
    """A sparse file under a registry's name does not fill the disk: it is put aside unread."""
    put(inbox, day_of(FIRST_DAY))
    assert watch_once(store, "--inbox", inbox).status == 0
    others = day_of(NEXT_DAY, ported=21)
    name = others.pop().name
    put(inbox, others)
    with (inbox / name).open("wb") as file:
        file.truncate(65 << 20)
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 1
    assert run.state is not None
    (bad,) = run.state.quarantined
    assert (bad.name, bad.tries) == (name, 1)
    assert "it has 68,157,440 bytes, and the last usable file of its kind had" in bad.reason
    assert not list((store / "spool").rglob(name))
    (inbox / name).unlink()
    put(inbox, day_of(NEXT_DAY, ported=21))
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0, run.text


def test_a_copy_goes_on_where_it_broke_off(store: Path, inbox: Path) -> None:
    """A part that lies in the spool under the delivery's size and time is its beginning."""
    *_, dump = put(inbox, day_of())
    status = dump.stat()
    part = store / "spool" / ".incoming" / f"{status.st_size}-{status.st_mtime_ns}" / dump.name
    part.parent.mkdir(parents=True)
    part.write_bytes(dump.read_bytes()[:100])
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0, run.text
    assert len(run.events("snapshot published")) == 1


def test_what_came_of_a_file_that_changed_is_not_continued(
    store: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold bytes of both files, and a later one may have the size and time of the first."""
    read = Inbox.read

    def change_and_read(self: Inbox, file: RemoteFile, offset: int) -> Iterator[bytes]:
        os.utime(file.path)
        return read(self, file, offset)

    put(inbox, day_of())
    monkeypatch.setattr(Inbox, "read", change_and_read)
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 1
    assert "it changed while it was copied" in run.text
    assert not any(path.is_file() for path in (store / "spool").rglob("*"))


def test_a_named_pipe_in_place_of_a_listed_file_does_not_block(inbox: Path) -> None:
    """Swapped after the listing, it is refused at once and the others are fetched."""
    source = Inbox(inbox, ())
    path = put(inbox, day_of(types=("Port_All",)), flat=True)[0]
    (listed,) = source.listing()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="it is not a regular file"):
        list(source.read(listed, 0))
    assert source.listing() == []


def test_a_file_of_the_future_waits(store: Path, inbox: Path) -> None:
    """A wrong clock, or a wrong name, does not make every later file look old."""
    put(inbox, day_of(FIRST_DAY.replace(year=2099)))
    run = watch_once(store, "--inbox", inbox)
    assert run.state is not None
    assert "future" in run.state.waiting[0].reason
    assert SnapshotStore(store).ids() == []


def test_the_open_plan_is_not_lost(store: Path, inbox: Path, tmp_path: Path) -> None:
    """A store built with the open numbering plan is not fed without it."""
    registry = write_registry(tmp_path / "r")
    assert command("numroute-load", "build", "--store", store, registry).status == 0
    put(inbox, day_of(NEXT_DAY))
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 1
    assert run.state is not None
    assert run.state.error is not None
    assert "--plan" in run.state.error.hint
    plan = tmp_path / "ABC-4xx.csv"
    plan.write_text(ABC)
    run = watch_once(store, "--inbox", inbox, "--plan", plan)
    assert run.status == 0, run.text
    found = command("numroute", "lookup", "--store", store, "+74951000000", "--json")
    assert json.loads(found.out)["status"] == "NOT_PORTED"


def test_increments_are_no_plan(store: Path, inbox: Path, tmp_path: Path) -> None:
    """An increment in a folder of `--plan` is named, and read as no full dump."""
    plan = tmp_path / "plan"
    plan.mkdir()
    (plan / "ABC-4xx.csv").write_text(ABC)
    increment = window_of(NEXT_DAY, 2)[0].put(plan, flat=True)
    put(inbox, day_of(NEXT_DAY))
    run = watch_once(store, "--inbox", inbox, "--plan", plan)
    assert run.status == 1
    (failed,) = run.events("poll failed")
    assert f"{increment}: the file is an increment" in failed["reason"]
    increment.unlink()
    run = watch_once(store, "--inbox", inbox, "--plan", plan)
    assert run.status == 0, run.text


def test_a_missing_inbox_is_an_error_that_heals(store: Path, inbox: Path) -> None:
    """An inbox that is not mounted yet is reported, and forgotten once it is there."""
    run = watch_once(store, "--inbox", inbox / "x")
    assert run.status == 1
    assert "cannot be listed" in run.text
    assert run.state is not None
    assert run.state.error is not None
    run = watch_once(store, "--inbox", inbox)
    assert run.status == 0
    assert run.state is not None
    assert run.state.error is None


def test_one_watcher_per_store(store: Path, inbox: Path) -> None:
    """A second one ends at once and says why."""
    from numroute_loader.feeds.loop import feeding

    watch_once(store, "--inbox", inbox)
    with feeding(store):
        run = watch_once(store, "--inbox", inbox)
    assert run.status == 1
    assert "another `watch` or `pull` feeds this store" in run.text


def test_info_shows_the_feed(store: Path, inbox: Path) -> None:
    """A table for people and an object for programs, even before there is a snapshot."""
    put(inbox, day_of(types=("Port_All",)))
    watch_once(store, "--inbox", inbox)
    nothing = command("numroute", "info", "--store", store)
    assert nothing.status == 1
    told = " ".join(nothing.out.split())  # a table wraps long facts
    assert "ru-bdpn/numbering-plan and ru-bdpn/operators of the same time must come too" in told
    put(inbox, day_of())
    watch_once(store, "--inbox", inbox)
    shown = command("numroute", "info", "--store", store)
    assert f"inbox {inbox}" in " ".join(shown.out.split())
    document = json.loads(command("numroute", "info", "--store", store, "--json").out)
    assert document["feed"]["healthy"] is True
    assert document["feed"]["as_of"] == as_of(FIRST_DAY).isoformat()


def test_the_state_survives_what_it_is_not(store: Path, inbox: Path) -> None:
    """A damaged state file is reported by info, and written anew by the next run."""
    put(inbox, day_of())
    watch_once(store, "--inbox", inbox)
    (store / "feed.json").write_text("[")
    shown = command("numroute", "info", "--store", store)
    assert "it is not the state of a feed" in shown.err
    watch_once(store, "--inbox", inbox)
    assert read_feed_state(store) is not None


def _with_row_count(data: bytes, count: int) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (name,) = archive.namelist()
        text = archive.read(name).decode()
    head, _, rest = text.partition("\r\n")
    first, _, rest = rest.partition("\r\n")
    return zip_of(name, f"{head}\r\n{first.rpartition(',')[0]},{count}\r\n{rest}")


def test_new_snapshots_are_pushed(store: Path, inbox: Path, tmp_path: Path) -> None:
    """With --push each new snapshot travels once; a push that failed is made good by the next."""
    remote = tmp_path / "remote"
    words = ["--inbox", inbox, "--push", remote]
    put(inbox, day_of())
    remote.write_bytes(b"in the way")
    assert watch_once(store, *words).status == 1
    remote.unlink()
    for _ in range(2):
        assert watch_once(store, *words).status == 0
    pulled = tmp_path / "pulled"
    assert command("numroute-load", "pull", remote, "--store", pulled).status == 0
    assert SnapshotStore(pulled).current_id() == SnapshotStore(store).current_id()
    for path in remote.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
