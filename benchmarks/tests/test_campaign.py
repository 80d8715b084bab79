"""The campaign benchmark itself, on a small list."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.campaign import prepare
from benchmarks.campaign.__main__ import main
from benchmarks.campaign.running import check, route

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_benchmark_measures_and_checks(tmp_path: Path) -> None:
    """A small run checks every output and writes its results."""
    results = tmp_path / "results" / "campaign"
    main(
        [
            *("--rows", "5000", "--ported", "20000", "--rounds", "1"),
            *("--work", str(tmp_path / "work"), "--results", str(results)),
        ]
    )
    written = json.loads(results.with_suffix(".json").read_text("utf-8"))
    assert set(written["seconds"]) == {"csv", "parquet"}
    assert "rows a second" in results.with_suffix(".md").read_text("utf-8")


def test_a_long_list_is_made_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces share no number but the last, which is the first again: counted so, and found so."""
    monkeypatch.setattr(prepare, "PIECE_ROWS", 2000)
    material = prepare.ensure(tmp_path, 6000, 20_000, ("csv",))
    assert not material.parquet.exists()
    expected = json.loads(material.expected.read_text("utf-8"))
    assert expected["rows"] == 6000
    numbers, is_first = np.load(material.numbers), np.load(material.is_first)
    assert np.count_nonzero(is_first) == len(np.unique(numbers[numbers != 0]))
    assert not is_first[4000:].any()
    np.testing.assert_array_equal(numbers[:2000], numbers[4000:])
    route("csv", material, tmp_path / "out")
    check(material, tmp_path / "out")
