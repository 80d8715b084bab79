"""``numroute plan`` as a person meets it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from numroute.cli import numroute
from numroute.errors import InputError, SettingError
from numroute.plan.calibration import Calibration, save
from numroute.plan.machine import this_machine

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
    """Every part of the answer has a line, and every changed input a row."""
    result = ask(file, *QUESTION, "--p99", "5ms")
    assert result.return_value == 0
    for name in (
        "machines", "processes", "cores", "binding limit", "load", "p99", "memory, private",
        "memory, page cache", "disk", "network in", "network out", "cost of a call",
        "as asked", "twice the rate", "twice the ported numbers", "half the batch", "half the p99",
    ):  # fmt: skip
        assert name in result.stdout
    assert result.stderr == ""


def test_a_plan_is_a_json_object(file: Path) -> None:
    """Question, answer and changes in one line."""
    result = ask(file, *QUESTION, "--json")
    document = json.loads(result.stdout)
    assert document["asked"]["rate"] == 2e6
    assert document["plan"]["spare"] == 2
    assert document["plan"]["memory"].keys() == {"private", "page_cache", "replacing", "build"}
    assert document["changes"][0]["what"] == "twice the rate"
    assert document["calibration"]["machine"]["cores"] >= 1


def test_a_latency_out_of_reach_is_answered_and_told(file: Path) -> None:
    """The plan for what is possible is printed, and the exit status is 1."""
    result = ask(file, *QUESTION, "--p99", "1us")
    assert result.return_value == 1
    assert "cannot be reached: the least possible is" in result.stdout


def test_another_machines_calibration_is_refused_unless_asked_for(
    calibration: Calibration, tmp_path: Path
) -> None:
    """The refusal names the way out, which works."""
    path = tmp_path / "c.json"
    save(calibration, path)
    assert isinstance(ask(path, *QUESTION).exception, SettingError)
    assert ask(path, *QUESTION, "--other-machine").return_value == 0


def test_a_disturbed_calibration_is_told_of(calibration: Calibration, tmp_path: Path) -> None:
    """What others did meanwhile, and a single core, are warned of on standard error."""
    path = tmp_path / "c.json"
    save(replace(calibration, others_share=0.3, pinned=False), path)
    result = ask(path, *QUESTION, "--other-machine")
    assert "other processes used 30%" in result.stderr
    assert "one core" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--rate", "1"],
        ["--ported", "1"],
        ["--calibrate", "--check"],
        ["--calibrate", "--rate", "1"],
        ["--check", "--other-machine"],
        ["--rate", "many", "--ported", "1"],
        ["--rate", "1", "--ported", "1", "--batch", "0"],
        ["--rate", "1", "--ported", "1", "--p99", "5"],
        ["--rate", "1", "--ported", "1e9"],
    ],
    ids=" ".join,
)
def test_questions_that_cannot_be_answered_are_refused(file: Path, words: list[str]) -> None:
    """Each with what to do instead."""
    error = ask(file, *words).exception
    assert isinstance(error, SettingError)
    assert error.hint


def test_without_a_calibration_there_is_no_plan(tmp_path: Path) -> None:
    """The remedy is the command that makes one."""
    error = ask(tmp_path / "c.json", *QUESTION).exception
    assert isinstance(error, InputError)
    assert "--calibrate" in error.hint
