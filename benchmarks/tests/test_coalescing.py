"""The benchmark of single numbers and of streams, whole and short."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from benchmarks.production.coalescing import main

if TYPE_CHECKING:
    from pathlib import Path


def test_measures_single_numbers_and_streams(tmp_path: Path) -> None:
    """Every answer is right, and the figures are left in both forms, the judged ones marked."""
    assert main(["--rounds", "1", "--seconds", "0.1", "--results", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "coalescing.json").read_text("utf-8"))["figures"]
    assert all(math.isfinite(value) for figure in figures for value in figure["values"])
    judged = [figure["name"] for figure in figures if figure["target"] is not None]
    assert judged == ["gathered, in times of unary calls", "gathered, at 50% of that rate: p99"]
    assert "stream, in times of unary" in (tmp_path / "coalescing.md").read_text("utf-8")
