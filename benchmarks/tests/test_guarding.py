"""The benchmark of what protection costs, whole, on a small registry."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from benchmarks.production.guarding import main

if TYPE_CHECKING:
    from pathlib import Path


def test_measures_every_protection(tmp_path: Path) -> None:
    """Each service is asked, every answer is right, and the figures are left in both forms."""
    words = ["--work", str(tmp_path / "work"), "--ported", "20000", "--rounds", "1"]
    assert main([*words, "--results", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "guarding.json").read_text("utf-8"))["figures"]
    assert len(figures) == 24
    assert all(math.isfinite(value) for figure in figures for value in figure["values"])
    judged = [figure["name"] for figure in figures if figure["target"] is not None]
    assert judged == [
        "metrics, tokens and limits: share of the bare rate",
        "TLS: share of the bare rate",
    ]
    assert "1,000 numbers a call" in (tmp_path / "guarding.md").read_text("utf-8")
