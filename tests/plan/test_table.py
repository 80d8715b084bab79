"""The calibration file, and files that are refused."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from numroute.errors import InputError
from numroute.plan.table import (
    Calibration,
    OtherWork,
    load,
    require_writable,
    save,
    warnings,
)


def test_a_calibration_is_read_as_it_was_written(calibration: Calibration, tmp_path: Path) -> None:
    """Nothing is lost, the file is private, and nothing else is left."""
    path = tmp_path / "c.json"
    save(calibration, path)
    assert load(path) == calibration
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    save(replace(calibration, disturbed_steps=3), path)
    assert load(path).disturbed_steps == 3
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_place_is_refused(calibration: Calibration, tmp_path: Path) -> None:
    """A missing folder is reported before measuring."""
    path = tmp_path / "missing" / "c.json"
    with pytest.raises(InputError, match="cannot be written"):
        require_writable(path)
    with pytest.raises(InputError, match="cannot be written"):
        save(calibration, path)
    require_writable(tmp_path / "c.json")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_calibration_says_how_to_make_one(tmp_path: Path) -> None:
    """The remedy is the command."""
    with pytest.raises(InputError, match=r"no calibration.*--calibrate --store"):
        load(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format_version": 1}, "not a whole.*format_version"),
        ({"format": "other"}, "not a whole calibration file"),
        ({"rows": []}, "not a whole.*rows"),
        ({"rows": [{"batch": 1}]}, "not a whole.*rows"),
        ({"disturbed_steps": -1}, "not a whole.*disturbed_steps"),
        ({"machine": {"cpu": "x"}}, "not a whole.*machine"),
    ],
    ids=str,
)
def test_another_or_damaged_file_is_refused(
    calibration: Calibration, tmp_path: Path, change: dict, complaint: str
) -> None:
    """The refusal says what was found."""
    path = tmp_path / "c.json"
    save(calibration, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=complaint):
        load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"busy_cpu_seconds": [0, 0, 0]},
        {"busy_cpu_seconds": [1.0]},
        {"answer_bytes": True},
        {"steps": []},
        {"steps": [{"load": 1.5}]},
    ],
    ids=str,
)
def test_a_damaged_row_is_refused(calibration: Calibration, tmp_path: Path, change: dict) -> None:
    """A figure that cannot have been measured never reaches a plan."""
    path = tmp_path / "c.json"
    save(calibration, path)
    document = json.loads(path.read_text())
    document["rows"][0] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="not a whole calibration file of this version: "):
        load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    """The refusal names the file."""
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not a whole calibration file"):
        load(path)


def test_another_machine_is_named(calibration: Calibration) -> None:
    """Other cores or memory are another machine; a little memory or another disk is not."""
    machine = calibration.machine
    more_memory = int(machine.memory_bytes * 1.05)
    assert not warnings(calibration, replace(machine, memory_bytes=more_memory, disk_bytes=1))
    for change in ({"cpu": "Other"}, {"cores": 2}, {"memory_bytes": 10**9}):
        (text,) = warnings(calibration, replace(machine, **change))
        assert "another machine: Made-up CPU, 4 cores, 32.0 GB of memory; this one: " in text


def test_other_processes_work_is_a_share_of_the_machine() -> None:
    """This process's own work does not count, nor does that of the service it watches."""
    others = OtherWork(lambda: 0.0)
    assert 0 <= others.share() <= 1
    assert OtherWork(iter([0.0, 1e9]).__next__).share() == 0
