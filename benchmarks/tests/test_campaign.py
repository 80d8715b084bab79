"""The campaign benchmark itself, on a small list."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.campaign.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path


def test_the_benchmark_measures_and_checks(tmp_path: Path) -> None:
    """A small run checks every output and writes its results."""
    results = tmp_path / "results" / "campaign"
    main(
        [
            *("--rows", "5000", "--ported", "20000", "--rounds", "1", "--no-resume"),
            *("--work", str(tmp_path / "work"), "--results", str(results)),
        ]
    )
    written = json.loads(results.with_suffix(".json").read_text("utf-8"))
    assert set(written["seconds"]) == {"csv", "parquet"}
    assert "rows a second" in results.with_suffix(".md").read_text("utf-8")
