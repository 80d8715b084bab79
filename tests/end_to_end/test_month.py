"""A month of a registry with planted faults, equal to a plain dictionary after every step."""

from __future__ import annotations

import dataclasses
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.dict_registry import DictRegistry, rows_of
from support.gate_days import failed
from support.replay import Day, Replay, days_of, scaled_limits, small_plan, text_of

from numroute.errors import InputError
from numroute_loader.gate.findings import Finding, GateError, Outcome
from numroute_loader.generate import GenerateOptions, generate
from numroute_loader.pipeline import Checked

PAGE = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
HEADER_OF_A_DUMP = b"Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount\r\n"


def month(folder: Path, *, days: int, ported: int, changes: int, plan: list[Path] | None) -> Replay:
    """Generate days up to today, and replay it with its faults."""
    registry = generate(
        folder / "registry",
        GenerateOptions(
            ported=ported,
            seed=11,
            date=(datetime.now(UTC) + timedelta(hours=3)).date(),
            days=days,
            changes_per_window=changes,
            plan=plan,
        ),
    )
    found = days_of(registry)
    replay = Replay.of(
        folder, found, scaled_limits(movement=14 * changes), extra=200 // len(plan or found)
    )
    faults = Faults(replay, found)
    replay.build(found[0])
    for number, day in enumerate(found[:-1]):
        faults.day(number, day)
        faults.midnight(number, day, found[number + 1])
    assert faults.planted >= {
        "missing window", "missing file", "window twice", "out of order", "late older window",
        "damaged zip", "error page", "half uploaded", "header only", "truncated dump",
        "damaged dump", "error page as dump", "wrong operators", "header-only dump",
        "yesterday's dump", "dump with drift", "dump after a gap", "drift told",
        "dump without drift",
    }, faults.planted  # fmt: skip
    return replay


class Faults:
    """What goes wrong on which day."""

    def __init__(self, replay: Replay, days: list[Day]) -> None:
        """Plan the faults: each kind comes again when all have been."""
        self._replay = replay
        self._days = days
        self._dice = random.Random(5)
        self.planted: set[str] = set()
        self._of_day = [
            self._one_by_one,
            self._missing_window,
            self._twice_and_late,
            self._out_of_order,
            self._damaged,
            self._missing_until_midnight,
            self._half_uploaded,
        ]
        self._of_midnight = [
            self._truncated,
            self._wrong_operators,
            self._nothing,
            self._drift,
            self._unusable_dumps,
            self._yesterday,
        ]

    def day(self, number: int, day: Day) -> None:
        """Apply a day's windows, whatever happens to them on the way."""
        if any(not rows_of(port) and not rows_of(back) for port, back in day.windows):
            self.planted.add("header only")
        self._of_day[number % len(self._of_day)](day)

    def midnight(self, number: int, before: Day, day: Day) -> None:
        """Build the next midnight's dump, whatever happens to it on the way."""
        self._of_midnight[number % len(self._of_midnight)](before, day)

    # Windows.

    def _one_by_one(self, day: Day) -> None:
        for window in day.windows:
            checked = self._replay.apply(*window)
            assert len(checked.windows) == 1
            assert checked.gap is None

    def _missing_window(self, day: Day) -> None:
        """A window is missing: what follows waits, and goes on when it comes."""
        for window in day.windows[:4]:
            self._replay.apply(*window)
        waiting = [path for window in day.windows[5:8] for path in window]
        stopped = self._replay.apply(*waiting)
        assert stopped.windows == ()
        assert stopped.gap is not None
        assert stopped.gap.expected == sequence(day.windows[4][0])
        assert len(stopped.gap.missing) == 2
        port, back = day.windows[4]
        half = self._replay.apply(port, *waiting)
        assert half.windows == ()
        assert half.gap is not None
        self.planted |= {"missing window", "missing file"}
        caught_up = self._replay.apply(port, back, *waiting)
        assert len(caught_up.windows) == 4
        for window in day.windows[8:]:
            self._replay.apply(*window)

    def _twice_and_late(self, day: Day) -> None:
        """A window comes again, at once and hours later, and changes nothing."""
        for place, window in enumerate(day.windows):
            self._replay.apply(*window)
            again = self._replay.apply(*window)
            assert again.windows == ()
            assert len(again.skipped) == 2
            if place >= 3:
                late = self._replay.apply(*day.windows[place - 3])
                assert late.windows == ()
                assert late.gap is None
        self.planted |= {"window twice", "late older window"}

    def _out_of_order(self, day: Day) -> None:
        """Windows come in any order, several at once, old ones among them."""
        paths = [path for window in day.windows for path in window]
        for begin in range(0, len(paths), 8):
            together = paths[max(0, begin - 4) : begin + 8]
            self._dice.shuffle(together)
            checked = self._replay.apply(*together)
            assert len(checked.windows) == 4
            assert list(checked.windows) == sorted(checked.windows)
        self.planted.add("out of order")

    def _damaged(self, day: Day) -> None:
        """A damaged zip and an error page take nothing along, and the whole file comes later."""
        for place, (port, back) in enumerate(day.windows):
            if place == 2:
                data = bytearray(port.read_bytes())
                data[len(data) // 2] ^= 0xFF
                self._replay.unusable([self._replay.spoiled(port, bytes(data)), back], ".")
                self.planted.add("damaged zip")
            if place == 5:
                page = self._replay.spoiled(back, PAGE)
                self._replay.unusable([port, page], "not a zip|HTML page")
                self.planted.add("error page")
            self._replay.apply(port, back)

    def _missing_until_midnight(self, day: Day) -> None:
        """A window never comes: the state stays where it was until the next full dump."""
        for place, window in enumerate(day.windows):
            if place < 7:
                self._replay.apply(*window)
            elif place > 7:
                stopped = self._replay.apply(*window)
                assert stopped.windows == ()
                assert stopped.gap is not None
        self.planted.add("dump after a gap")

    def _half_uploaded(self, day: Day) -> None:
        """A file that is still being uploaded is not taken for a whole one."""
        for place, (port, back) in enumerate(day.windows):
            if place in {1, 6}:
                data = port.read_bytes()
                half = self._replay.spoiled(port, data[: len(data) // 2])
                self._replay.unusable([half, back], "zip")
                self.planted.add("half uploaded")
            if place == 3 and rows_of(port):
                text = text_of(port)
                rows = text.split(b"\r\n")
                cut = self._replay.rezipped(port, b"\r\n".join(rows[: len(rows) // 2]) + b"\r\n")
                self._replay.unusable([cut, back], "RowCount says")
            self._replay.apply(port, back)

    # Midnights.

    def _nothing(self, _: Day, day: Day) -> None:
        """Where no window was missed, the dump is what the increments made."""
        checked = self._replay.judge(day)
        assert failed(checked) == set()
        found = finding(checked, "drift")
        with self._replay.store.open() as snapshot:
            caught_up = snapshot.metadata.as_of == checked.as_of
        if caught_up:
            assert (found.outcome, found.actual) == (Outcome.PASSED, 0)
            self.planted.add("dump without drift")
        self._replay.build(day)

    def _truncated(self, _: Day, day: Day) -> None:
        """A dump cut short, in its rows or in its zip."""
        lines = text_of(day.port_all).split(b"\r\n")
        cut = self._replay.rezipped(day.port_all, b"\r\n".join(lines[: len(lines) // 2]) + b"\r\n")
        self._replay.refused(day, cut, InputError, "RowCount says")
        data = day.port_all.read_bytes()
        torn = self._replay.spoiled(day.port_all, data[: len(data) * 2 // 3])
        self._replay.refused(day, torn, InputError, "zip")
        self.planted |= {"truncated dump", "damaged dump"}
        self._replay.build(day)

    def _unusable_dumps(self, _: Day, day: Day) -> None:
        """An error page and a dump without a row are no dumps."""
        page = self._replay.spoiled(day.port_all, PAGE)
        self._replay.refused(day, page, InputError, "not a zip|HTML page")
        empty = self._replay.rezipped(day.port_all, HEADER_OF_A_DUMP)
        self._replay.refused(day, empty, InputError, "only a header")
        self.planted |= {"error page as dump", "header-only dump"}
        self._replay.build(day)

    def _wrong_operators(self, _: Day, day: Day) -> None:
        """A dump in which the largest operators have changed places is refused by the gate."""
        rows = rows_of(day.port_all)
        largest = [code for code, _ in Counter(row["OwnerId"] for row in rows).most_common(4)]
        next_of = dict(zip(largest, largest[1:] + largest[:1], strict=True))
        lines = [HEADER_OF_A_DUMP.decode().strip()]
        for row in rows:
            row["OwnerId"] = next_of.get(row["OwnerId"], row["OwnerId"])
            lines.append(",".join(row[name] for name in lines[0].split(",")))
        swapped = self._replay.rezipped(day.port_all, "\r\n".join([*lines, ""]).encode())
        self._replay.refused(day, swapped, GateError, "movement")
        self.planted.add("wrong operators")
        self._replay.build(day)

    def _yesterday(self, before: Day, day: Day) -> None:
        """Yesterday's dump, under its own name and under today's, does not go back a day."""
        self._replay.refused(before, before.port_all, GateError, "age: ")
        renamed = self._replay.spoiled(day.port_all, before.port_all.read_bytes())
        self._replay.refused(day, renamed, GateError, "sequence: ")
        self.planted.add("yesterday's dump")
        self._replay.build(day)

    def _drift(self, _: Day, day: Day) -> None:
        """A dump that differs from what the increments made in a few numbers wins over them."""
        lines = text_of(day.port_all).split(b"\r\n")
        header, first, body = lines[0], lines[1], lines[2:-1]
        kept = [line for place, line in enumerate(body) if place % (len(body) // 5) != 3]
        count = str(len(kept) + 1).encode()
        first = first.rpartition(b",")[0] + b"," + count
        drifted = self._replay.rezipped(day.port_all, b"\r\n".join([header, first, *kept, b""]))
        expected = DictRegistry()
        expected.load(drifted)
        gone = len(self._replay.oracle.ported) - len(expected.ported)
        assert 5 <= gone <= 6
        limits = dataclasses.replace(
            self._replay.limits, drift_numbers_min=gone - 1, drift_share=0.0
        )
        with_less = dataclasses.replace(self._replay, limits=limits).judge(day, drifted)
        if finding(with_less, "drift").outcome is not Outcome.NOT_CHECKED:
            assert failed(with_less) == {"drift"}
            message = finding(with_less, "drift").message
            assert re.search(rf"in {gone} numbers.* {gone} fewer.*: 7", message), message
            assert not re.search(r"\d{11}", message)
            self.planted.add("drift told")
        self._replay.build(day, drifted)
        self.planted.add("dump with drift")


def finding(checked: Checked, check: str) -> Finding:
    return next(found for found in checked.findings if found.check == check)


def sequence(path: Path) -> int:
    return int(path.stem.split("_")[-1])


def test_eight_days_are_what_the_dictionary_says(tmp_path: Path) -> None:
    """A dump a day, twelve windows each, and every planted fault at least once."""
    plan = small_plan(tmp_path / "DEF-9xx.csv", ranges=12, size=20_000)
    replay = month(tmp_path, days=8, ported=700, changes=12, plan=[plan])
    assert replay.steps > 8 * 12
    assert replay.asked > replay.steps * 2_000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_larger_month_is_what_the_dictionary_says(tmp_path: Path) -> None:
    """Thirty days over the whole mobile plan, with more numbers and more changes."""
    replay = month(tmp_path, days=30, ported=50_000, changes=200, plan=None)
    assert replay.steps > 30 * 12
    assert replay.asked > replay.steps * 50_000


def test_two_days_by_the_commands(tmp_path: Path) -> None:
    """The same by real processes: build, apply, a gap, a refused dump, a dump that replaces."""
    plan = small_plan(tmp_path / "DEF-9xx.csv", ranges=6, size=20_000)
    registry = generate(
        tmp_path / "registry",
        GenerateOptions(
            ported=400,
            seed=2,
            date=(datetime.now(UTC) + timedelta(hours=3)).date(),
            days=1,
            changes_per_window=10,
            plan=[plan],
        ),
    )
    first, second = days_of(registry)
    replay = Replay.of(tmp_path, [first, second], scaled_limits(movement=140), extra=20)
    replay.command("build", first.operators, first.numbering_plan, first.port_all)
    replay.oracle.load(first.port_all)
    replay.agree()
    before = [path for window in first.windows[:5] for path in window]
    after = [path for window in first.windows[6:] for path in window]
    said = replay.command("apply", *before, *after, status=1)
    assert f"window {sequence(first.windows[5][0])} must come next" in said
    for window in first.windows[:5]:
        replay.oracle.apply(*window)
    replay.agree()
    lines = text_of(second.port_all).split(b"\r\n")
    cut = replay.rezipped(second.port_all, b"\r\n".join([*lines[:100], b""]))
    said = replay.command("build", second.operators, second.numbering_plan, cut, status=1)
    assert "RowCount says" in said
    replay.agree()
    replay.command("apply", *first.windows[5], *after)
    for window in first.windows[5:]:
        replay.oracle.apply(*window)
    replay.agree()
    replay.command("build", second.operators, second.numbering_plan, second.port_all)
    replay.oracle.load(second.port_all)
    replay.agree()
