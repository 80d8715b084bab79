"""Figures in turns beside their yardstick, and the report of a run: JSON and Markdown."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numroute.plan.table import OTHERS_SHARE_MAX, memory_bytes, this_machine

FORMAT = "numroute benchmarks 1"
PACKAGES = ("numpy", "grpcio", "protobuf", "pyarrow", "lmdb")
ROUNDS_MIN = 2
SECONDS_MIN = 1.0
"""With less time one round must do: a test asks for that, and no figure."""

ROUNDS_MAX = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured thing: a value per round, and its ratio to the yardstick's of the same round.

    ``yardstick`` names what the ratios are to; empty for a yardstick itself.
    """

    section: str
    name: str
    unit: str
    values: Sequence[float]
    yardstick: str = ""
    ratios: Sequence[float] = ()

    def document(self) -> dict[str, Any]:
        """Return the figure as JSON knows it."""
        return {
            "section": self.section,
            "name": self.name,
            "unit": self.unit,
            "median": statistics.median(self.values),
            "values": list(self.values),
            "yardstick": self.yardstick or None,
            "ratio": statistics.median(self.ratios) if self.ratios else None,
            "ratios": list(self.ratios),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Something to be timed: ``run`` does ``count`` units of work, ``check`` asserts its result."""

    run: Callable[[], Any]
    check: Callable[[Any], None]
    count: int

    def seconds(self) -> float:
        """Run once, check the answers, and return the seconds per unit of work."""
        enabled = gc.isenabled()
        gc.disable()
        try:
            begin = time.perf_counter()
            result = self.run()
            seconds = time.perf_counter() - begin
        finally:
            if enabled:
                gc.enable()
        self.check(result)
        return seconds / self.count


def rounds(seconds: float) -> Iterator[int]:
    """Yield the numbers of rounds until the time is used up: two at least, sixty at most."""
    end = time.monotonic() + seconds
    least = ROUNDS_MIN if seconds >= SECONDS_MIN else 1
    for number in range(ROUNDS_MAX):
        if number >= least and time.monotonic() >= end:
            return
        yield number


def take_turns(
    section: str, sides: Mapping[str, Side], *, unit: str, scale: float, seconds: float
) -> list[Figure]:
    """Time the sides by turns for this long, so that drift hits all alike; the first warms up.

    The first side is the yardstick. ``scale`` turns seconds per unit of work into ``unit``.
    """
    for side in sides.values():
        side.seconds()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in rounds(seconds):
        for name, side in sides.items():
            times[name].append(side.seconds() * scale)
    return beside(section, times, unit=unit)


def beside(section: str, values: Mapping[str, Sequence[float]], *, unit: str) -> list[Figure]:
    """Return a figure for each row of values, with its ratios to the first row."""
    yardstick, *_ = values
    return [
        Figure(
            section=section,
            name=name,
            unit=unit,
            values=row,
            yardstick="" if name == yardstick else yardstick,
            ratios=()
            if name == yardstick
            else [mine / its for mine, its in zip(row, values[yardstick], strict=True)],
        )
        for name, row in values.items()
    ]


@dataclass(kw_only=True)
class Report:
    """Everything that a run has found so far, written again after each benchmark."""

    scale: str
    notes: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)
    complete: bool = False

    def write(self, folder: Path, name: str) -> None:
        """Write NAME.json and NAME.md into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            "format": FORMAT,
            "scale": self.scale,
            "complete": self.complete,
            "notes": self.notes,
            "machine": facts(),
            "seconds": self.seconds,
            "others_share": self.others,
            "figures": [figure.document() for figure in self.figures],
        }
        text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
        (folder / f"{name}.json").write_text(text, "utf-8")
        (folder / f"{name}.md").write_text(self.text(), "utf-8")

    def text(self) -> str:
        """Return the report as Markdown."""
        lines = [f"# Benchmarks: {self.scale}", "", *(f"- {note}" for note in self.notes)]
        lines += [f"- {name}: {fact}" for name, fact in facts().items()]
        if not self.complete:
            lines.append("- **The run was interrupted: this is what was measured until then.**")
        disturbed = [name for name, share in self.others.items() if share > OTHERS_SHARE_MAX]
        if disturbed:
            lines.append(
                f"- **Other processes used more than {OTHERS_SHARE_MAX:.0%} of the machine during "
                f"{', '.join(disturbed)}: read these ratios with care, and no absolute figure.**"
            )
        for section in dict.fromkeys(figure.section for figure in self.figures):
            lines += ["", f"## {section}", "", "| what | median | range | ratio | to |"]
            lines += ["|---|---|---|---|---|"]
            lines += [_row(figure) for figure in self.figures if figure.section == section]
        return "\n".join(lines) + "\n"


def facts() -> dict[str, str]:
    """Return the machine's facts, which can be public: neither the host's name nor a path."""
    machine = this_machine(Path("/"))
    return {
        "CPU": f"{machine.cpu}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory_bytes('MemTotal') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: version(name) for name in PACKAGES},
    }


def value_text(value: float) -> str:
    """Return a value with three significant digits, as many as repeat from run to run."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return (
        f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
        if abs(value) >= 0.1
        else f"{value:.3f}"
    )


def _row(figure: Figure) -> str:
    cells = [figure.name, f"{value_text(statistics.median(figure.values))} {figure.unit}".strip()]
    cells.append(_range(figure.values))
    ratio = value_text(statistics.median(figure.ratios)) if figure.ratios else ""
    if len(figure.ratios) > 1:
        ratio += f" ({_range(figure.ratios)})"
    return f"| {' | '.join([*cells, ratio, figure.yardstick])} |"


def _range(values: Sequence[float]) -> str:
    return f"{value_text(min(values))} … {value_text(max(values))}" if len(values) > 1 else ""
