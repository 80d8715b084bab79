"""The plot of a soak: memory of each worker and latency of each client over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIZE_INCHES = (10.0, 6.5)


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Draw what ``soak.json`` says."""
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "soak"
    figure, (memory, latency) = plt.subplots(2, 1, figsize=SIZE_INCHES, sharex=True)
    for place, rows in enumerate(document["samples"]["rows"].values(), 1):
        minutes = [row[0] / 60 for row in rows]
        memory.plot(minutes, [row[2] / 1e6 for row in rows], label=f"worker {place}")
    memory.set_ylabel("private bytes, MB")
    memory.set_ylim(bottom=0)
    for name, rows in document["periods"]["rows"].items():
        latency.plot([row[0] / 60 for row in rows], [row[4] for row in rows], label=name)
    for moment in document["swaps"]:
        latency.axvline(moment / 60, color="0.85", linewidth=0.7, zorder=0)
    latency.set_ylabel("p99 of 10 s, ms")
    latency.set_ylim(bottom=0)
    latency.set_xlabel("minutes; a grey line is a change of snapshot")
    for axes in (memory, latency):
        if axes.lines:
            axes.legend(loc="upper right", fontsize=8)
        axes.grid(alpha=0.3)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
