"""The calibration file, and what is wrong with other ones."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from numroute.errors import InputError, SettingError
from numroute.plan.calibration import Calibration, load, require_machine, save


def test_a_calibration_is_read_as_it_was_written(calibration: Calibration, tmp_path: Path) -> None:
    """Nothing is lost, the file is private, and nothing else is left."""
    path = tmp_path / "c.json"
    save(calibration, path)
    assert load(path) == calibration
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    save(replace(calibration, pinned=False), path)
    assert not load(path).pinned
    assert list(tmp_path.iterdir()) == [path]


def test_a_calibration_that_cannot_be_written_is_an_error(
    calibration: Calibration, tmp_path: Path
) -> None:
    """A missing folder is named."""
    with pytest.raises(InputError, match="cannot be written"):
        save(calibration, tmp_path / "missing" / "c.json")


def test_a_missing_calibration_says_how_to_make_one(tmp_path: Path) -> None:
    """The remedy is the command."""
    with pytest.raises(InputError, match=r"no calibration.*--calibrate"):
        load(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format_version": 2}, "format version 2, this program reads version 1"),
        ({"format": "other"}, "not a calibration file"),
        ({"costs": []}, "damaged"),
        ({"kernel": []}, "damaged"),
        ({"kernel": [{"touched_bytes": 1}]}, "damaged"),
        ({"under_load": [{"batch": 1, "queue_factor": "1", "waking_fade": 0}]}, "damaged"),
        ({"under_load": []}, "damaged"),
        ({"others_share": float("nan")}, "damaged"),
        ({"machine": {"cpu": "x"}}, "damaged"),
    ],
    ids=str,
)
def test_another_or_damaged_file_is_refused(
    calibration: Calibration, tmp_path: Path, change: dict, complaint: str
) -> None:
    """A file that says something else is refused with what it says."""
    path = tmp_path / "c.json"
    save(calibration, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=complaint):
        load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"busy_cpu_seconds": 0},
        {"wake_cpu_seconds": -1},
        {"latency_seconds": [1.0]},
        {"batch": 10**6},
        {"answer_bytes": True},
    ],
    ids=str,
)
def test_a_damaged_cost_is_refused(calibration: Calibration, tmp_path: Path, change: dict) -> None:
    """No figure that cannot have been measured goes into a plan."""
    path = tmp_path / "c.json"
    save(calibration, path)
    document = json.loads(path.read_text())
    document["costs"][0] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="damaged"):
        load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    """Any other file is named as what it is not."""
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not a calibration file"):
        load(path)


def test_another_machine_is_named(calibration: Calibration) -> None:
    """The refusal lists each difference, and a new kernel is none."""
    machine = calibration.machine
    require_machine(calibration, replace(machine, kernel="7.0", disk_bytes=1))
    require_machine(calibration, replace(machine, memory_bytes=int(machine.memory_bytes * 1.05)))
    with pytest.raises(
        SettingError, match=r"another machine: CPU .* cores, .* memory.*--calibrate"
    ):
        require_machine(calibration, replace(machine, cpu="Other", cores=2, memory_bytes=10**9))
