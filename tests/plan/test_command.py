"""``numroute plan`` as a person meets it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from numroute.cli import numroute
from numroute.errors import InputError, SettingError
from numroute.plan import measure
from numroute.plan.table import Calibration, save, this_machine

QUESTION = ["--rate", "2e6", "--ported", "30e6", "--batch", "1000", "--spare", "2"]


def ask(path: Path, *words: str) -> Result:
    return CliRunner().invoke(
        numroute, ["plan", "--calibration", str(path), *words], standalone_mode=False
    )


@pytest.fixture
def file(calibration: Calibration, tmp_path: Path) -> Path:
    path = tmp_path / "c.json"
    save(replace(calibration, machine=this_machine(tmp_path)), path)
    return path


def test_a_plan_is_a_table(file: Path) -> None:
    """Every part of the answer has a line."""
    result = ask(file, *QUESTION, "--p99", "5")
    assert result.return_value == 0
    for name in (
        "machines", "processes", "cores", "binding limit", "load", "p99", "memory, private",
        "memory, page cache", "disk", "network in", "network out", "CPU a call",
    ):  # fmt: skip
        assert name in result.stdout
    assert result.stderr == ""


def test_a_plan_is_a_json_object(file: Path) -> None:
    """Question, answer and calibration in one line."""
    result = ask(file, *QUESTION, "--json")
    document = json.loads(result.stdout)
    assert document["asked"]["rate"] == 2e6
    assert document["asked"]["spare"] == 2
    assert document["plan"]["index_bytes"] > 0
    assert document["calibration"]["machine"]["cores"] >= 1


def test_a_latency_out_of_reach_is_answered_and_reported(file: Path) -> None:
    """The plan for what is possible is printed, and the exit status is 1."""
    result = ask(file, *QUESTION, "--p99", "0.001")
    assert result.return_value == 1
    assert "which no measured load keeps" in " ".join(result.stdout.split())


def test_a_plan_from_another_machines_calibration_says_so(
    calibration: Calibration, tmp_path: Path
) -> None:
    """It is for machines of the calibrated kind."""
    path = tmp_path / "c.json"
    save(calibration, path)
    result = ask(path, *QUESTION)
    assert result.return_value == 0
    assert "of another machine: Made-up CPU" in result.stderr


def test_a_disturbed_calibration_is_warned_of(calibration: Calibration, tmp_path: Path) -> None:
    """Disturbed steps and a single core are named beside the plan."""
    path = tmp_path / "c.json"
    one_core = replace(calibration.machine, cores=1)
    save(replace(calibration, disturbed_steps=3, machine=one_core), path)
    for words in ([], ["--json"]):
        result = ask(path, *QUESTION, *words)
        assert "other processes disturbed 3 steps" in result.stderr
        assert "one core" in result.stderr


def test_single_numbers_are_gathered_by_default(file: Path) -> None:
    """One core answers 3,000 of them a second, unless each travels alone."""
    asked = ["--rate", "3000", "--ported", "30e6", "--batch", "1", "--json"]
    plans = [
        json.loads(ask(file, *asked, *words).stdout)["plan"] for words in ([], ["--not-gathered"])
    ]
    assert [each["processes"] for each in plans] == [1, 2]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--rate", "1"],
        ["--ported", "1"],
        ["--calibrate"],
        *(
            ["--rate", text, "--ported", "1"]
            for text in ("", "many", "-1", "0", "1e999", "5ms", "nan", "inf")
        ),
        *(["--rate", "1", "--ported", "1", "--p99", text] for text in ("5ms", "-5", "0")),
        ["--rate", "1", "--ported", "0.5"],
        ["--rate", "1", "--ported", "1", "--batch", "0"],
        ["--rate", "1", "--ported", "1", "--network", "0"],
        ["--rate", "1", "--ported", "1e9"],
        ["--rate", "1", "--ported", "1", "--batch", "1000000"],
        ["--rate", "1", "--ported", "1", "--load", "0.95"],
    ],
    ids=" ".join,
)
def test_questions_that_cannot_be_answered_are_refused(file: Path, words: list[str]) -> None:
    """Each with what to do instead."""
    error = ask(file, *words).exception
    assert isinstance(error, click.UsageError) or (isinstance(error, SettingError) and error.hint)


def test_without_a_calibration_there_is_no_plan(tmp_path: Path) -> None:
    """The remedy is the command that makes one."""
    error = ask(tmp_path / "c.json", *QUESTION).exception
    assert isinstance(error, InputError)
    assert "--calibrate" in error.hint


def test_a_calibration_is_written_and_shown(
    calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is printed, and the file can be planned with."""
    monkeypatch.setattr(measure, "calibrate", lambda *_: calibration)
    path = tmp_path / "c.json"
    result = ask(path, "--calibrate", "--store", "s")
    assert result.return_value == 0
    assert "500,000" in result.stdout
    assert f"written to {path}" in result.stdout
    assert ask(path, *QUESTION).return_value == 0
    assert json.loads(ask(path, "--calibrate", "--store", "s", "--json").stdout)["rows"]


def test_an_unwritable_file_is_refused_before_measuring(tmp_path: Path) -> None:
    """A minute of measuring is not lost to a missing folder."""
    error = ask(tmp_path / "missing" / "c.json", "--calibrate", "--store", "s").exception
    assert isinstance(error, InputError)
    assert "cannot be written" in error.message
