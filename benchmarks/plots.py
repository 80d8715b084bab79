"""The plot of a report: how many numbers a second, over the size of a batch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Figure

UNIT = "ns/number"
CPU = "CPU of the service"
MARK = " a batch: "
"""A figure named ``1,000 a batch: BulkLookup`` is a point of the line BulkLookup."""


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Write the plot; nothing where there is nothing to draw or matplotlib is missing."""
    lines: dict[str, dict[int, float]] = {}
    for figure in figures:
        batch, mark, name = figure.name.partition(MARK)
        if mark and figure.unit == UNIT and CPU not in name:
            points = lines.setdefault(name, {})
            points[int(batch.replace(",", ""))] = 1e3 / statistics.median(figure.values)
    if not lines:
        return
    try:
        import matplotlib as mpl  # noqa: PLC0415 - only the plot needs it
    except ImportError:
        return
    mpl.use("svg")
    # Equal results give equal files.
    mpl.rcParams["svg.hashsalt"] = "numroute"
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of the backend

    drawn, axes = plt.subplots(figsize=(9, 6))
    for name, points in lines.items():
        axes.loglog(*zip(*sorted(points.items()), strict=True), marker="o", label=name)
    axes.set_xlabel("numbers in a batch")
    axes.set_ylabel("million numbers a second")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(fontsize=8)
    drawn.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(drawn)
