"""The plots of a run, drawn from its JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.figures import value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Row = Mapping[str, Any]

SIZE_INCHES = (9.0, 5.2)
MARKERS = "osD^vPX*<>"


def write(document: Mapping[str, Any], folder: Path, *, suffix: str = ".svg") -> list[Path]:
    """Draw every plot for which there are rows; return the files, named after the run."""
    mpl.use("Agg")
    # Equal results give equal files.
    mpl.rcParams["svg.hashsalt"] = document["name"]
    mpl.rcParams["font.size"] = 10
    written = []
    rows: Sequence[Row] = [row for row in document["rows"] if row["median"] is not None]
    for name, draw in PLOTS.items():
        figure = draw(rows)
        if figure is None:
            continue
        path = folder / f"{document['name']}-{name}{suffix}"
        figure.savefig(
            path, bbox_inches="tight", dpi=110, metadata={"Date": None} if suffix == ".svg" else {}
        )
        plt.close(figure)
        written.append(path)
    return written


def _throughput(rows: Sequence[Row]) -> Figure | None:
    """Million numbers a second over the batch size, with the yardsticks."""
    figure, (inside, outside) = plt.subplots(
        1, 2, figsize=(SIZE_INCHES[0] + 4, SIZE_INCHES[1] + 1.4), sharey=True
    )
    found = 0
    for section, axes, form in (
        ("In process, over batch size", inside, "{}"),
        ("Other stores, over batch size: numbers that are ported", inside, "{}"),
        ("gRPC, over batch size, 4 under way", outside, "{}, 4 under way"),
        ("gRPC, over batch size, one after the other", outside, "{}, one after the other"),
    ):
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            subject = row["where"].get("subject", "")
            if row["section"] == section and "batch" in row["where"] and subject != "numroute":
                point = (row["where"]["batch"], 1e3 / row["median"])
                lines.setdefault(subject, []).append(point)
        for subject, points in lines.items():
            own = subject.startswith("mobile") or "BulkLookup" in subject
            # Redis answers over a connection, as the service does.
            there = outside if subject.startswith("Redis") else axes
            there.plot(
                *zip(*sorted(points), strict=True),
                label=("numroute: " if own else "")
                + (subject if there is not axes else form.format(subject)).replace("`", ""),
                marker=MARKERS[len(there.lines) % len(MARKERS)],
                markersize=5,
                linewidth=2.2 if own else 1.2,
                linestyle="-" if own else "--",
            )
            found += 1
    for axes, title in ((inside, "in process"), (outside, "over a loopback connection")):
        _logarithmic(axes, "numbers in a lookup or call", "")
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8.5, frameon=False
        )
        axes.set_title(title)
    inside.set_ylabel("million numbers a second")
    figure.suptitle("Throughput over batch size (solid: numroute; dashed: yardsticks)")
    figure.tight_layout()
    return figure if found else None


def _latency(rows: Sequence[Row]) -> Figure | None:
    """Percentiles of the latency over the load."""
    found = [row for row in rows if row["section"].startswith("Latency under open load")]
    found = [row for row in found if "percentile" in row["where"]]
    batches = sorted({row["where"]["batch"] for row in found})
    if not batches:
        return None
    figure, all_axes = plt.subplots(
        1,
        len(batches),
        figsize=(4.6 * len(batches) + 2, SIZE_INCHES[1]),
        squeeze=False,
        sharey=True,
    )
    for axes, batch in zip(all_axes[0], batches, strict=True):
        _draw_percentiles(axes, [row for row in found if row["where"]["batch"] == batch])
        axes.set_yscale("log")
        axes.set_xticks([25, 50, 75, 90])
        _plain(axes.yaxis)
        axes.grid(visible=True, which="both", alpha=0.25)
        axes.set_xlabel("load, % of BulkLookup's measured capacity")
        axes.set_title(f"{batch:,} number{'s' * (batch > 1)} a call")
    all_axes[0][0].set_ylabel("latency from the intended send, ms")
    _legend_beside(all_axes[0][-1])
    figure.suptitle("Latency under open load, same rate for service and empty handler")
    figure.tight_layout()
    return figure


def _draw_percentiles(axes: Axes, rows: Sequence[Row]) -> None:
    colours = {"p50": "C0", "p90": "C2", "p99": "C1", "p99.9": "C3"}
    for subject, style in (("`BulkLookup`", "-"), ("empty handler", "--")):
        for percentile, colour in colours.items():
            points = [
                (row["where"]["share"] * 100, row["median"])
                for row in rows
                if row["where"]["subject"] == subject and row["where"]["percentile"] == percentile
            ]
            axes.plot(
                *zip(*sorted(points), strict=True),
                label=f"{subject} {percentile}".replace("`", ""),
                color=colour,
                linestyle=style,
                marker="o" if style == "-" else "x",
                markersize=5,
            )


def _cost(rows: Sequence[Row]) -> Figure | None:
    """Nanoseconds per number over the size of the index."""
    found = [row for row in rows if row["section"].startswith("In process, over index size")]
    if not found:
        return None
    figure, axes = plt.subplots(figsize=SIZE_INCHES)
    for place, subject in enumerate(dict.fromkeys(row["where"]["subject"] for row in found)):
        points = [
            (row["where"]["ported"] / 1e6, row["median"])
            for row in found
            if row["where"]["subject"] == subject
        ]
        axes.plot(
            *zip(*sorted(points), strict=True),
            label="numpy.take, as many words as cells" if "take" in subject else subject,
            marker=MARKERS[place],
            linestyle="--" if "take" in subject else "-",
        )
    _logarithmic(axes, "million ported numbers in the index", "ns per number")
    axes.set_yscale("linear")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted({row["where"]["ported"] / 1e6 for row in found}))
    axes.xaxis.set_minor_formatter(NullFormatter())
    _legend_beside(axes)
    axes.set_title("Cost of a lookup over index size, in process, one thread")
    return figure


def _memory(rows: Sequence[Row]) -> Figure | None:
    """What one service has resident, by size of the index and by how much was asked."""
    found = [row for row in rows if row["section"].startswith("Memory of one service")]
    if not found:
        return None
    files = {
        row["where"]["ported"]: row["median"] for row in found if row["where"]["what"] == "file"
    }
    asked = sorted({row["where"]["asked"] for row in found if "asked" in row["where"]})
    figure, axes = plt.subplots(figsize=SIZE_INCHES)
    kinds = {
        "snapshot": ("snapshot pages mapped, shared", "C0"),
        "other_files": ("programs and libraries, shared", "C7"),
        "private": ("private bytes", "C3"),
    }
    labels, place = [], 0
    for ported, file_size in sorted(files.items()):
        begin = place
        for count in asked:
            bottom = 0.0
            for what, (label, colour) in kinds.items():
                (value,) = (
                    row["median"]
                    for row in found
                    if row["where"]["ported"] == ported
                    and row["where"].get("asked") == count
                    and row["where"]["what"] == what
                )
                axes.bar(
                    place,
                    value,
                    bottom=bottom,
                    color=colour,
                    width=0.7,
                    label=None if place else label,
                )
                bottom += value
            axes.text(place, bottom, value_text(bottom), ha="center", va="bottom", fontsize=8)
            labels.append(f"{_short(ported)}\n{_short(count)} asked")
            place += 1
        axes.hlines(
            file_size,
            begin - 0.45,
            place - 0.55,
            color="black",
            linestyles=":",
            label=None if begin else "length of the snapshot file",
        )
    axes.set_xticks(range(place), labels, fontsize=8)
    axes.set_xlabel("ported numbers in the index, and numbers asked since the start")
    axes.set_ylabel("resident, MB")
    axes.margins(y=0.12)
    axes.grid(visible=True, axis="y", alpha=0.25)
    _legend_beside(axes)
    axes.set_title("Resident memory of one service process")
    return figure


PLOTS: dict[str, Callable[[Sequence[Row]], Figure | None]] = {
    "throughput": _throughput,
    "latency": _latency,
    "cost": _cost,
    "memory": _memory,
}


def _logarithmic(axes: Axes, across: str, up: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        _plain(axis)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.set_xlabel(across)
    axes.set_ylabel(up)


def _plain(axis: Any) -> None:  # noqa: ANN401 - matplotlib's axis classes share no public base
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend_beside(axes: Axes) -> None:
    """Put the legend outside, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles, labels, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8.5, frameon=False
    )


def _short(count: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:g}{letter}"
    return f"{count:g}"
