"""What a run of the suite has found: rows with ratios to a yardstick, as JSON and as Markdown."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.figures import value_text
from numroute.plan.table import OTHERS_SHARE_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.timing import Side

FORMAT = 1
"""The version of the JSON; ``benchmarks.compare`` refuses others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured thing.

    Attributes:
        section: The heading under which it stands.
        name: What was measured; names it together with the section, from run to run.
        unit: Of the values, e.g. ``ns/number``.
        values: One per repetition; their median is the figure. Empty when it was not measured.
        against: The row of the same section that is its yardstick; empty for a yardstick.
        ratios: Value over the yardstick's value of the same repetition.
        where: What the measurement was taken at, e.g. ``{"batch": 1000}``: the axes of the plots.
        note: Why it was not measured, or what to know.
        details: More about it for other programs, e.g. a histogram.
    """

    section: str
    name: str
    unit: str
    values: Sequence[float] = ()
    against: str = ""
    ratios: Sequence[float] = ()
    where: Mapping[str, float | str] = field(default_factory=dict)
    note: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float | None:
        """The figure; None when it was not measured."""
        return statistics.median(self.values) if self.values else None

    @property
    def ratio(self) -> float | None:
        """The median of the ratios; None without a yardstick."""
        return statistics.median(self.ratios) if self.ratios else None

    def document(self) -> dict[str, Any]:
        """Return the row as JSON knows it."""
        return {
            "section": self.section,
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "values": list(self.values),
            "against": self.against,
            "ratio": self.ratio,
            "ratios": list(self.ratios),
            "where": dict(self.where),
            "note": self.note,
            "details": dict(self.details),
        }


@dataclass(slots=True, kw_only=True)
class Results:
    """All rows of a run so far.

    Attributes:
        name: Of the run's scale, which is also the name of its files.
        facts: The machine's, by name.
        others: Which share of the machine's CPU time other processes used, by step.
        seconds: How long each step took.
        rows: In the order of the tables.
        complete: Whether every step has been measured.
    """

    name: str
    facts: dict[str, str]
    others: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    complete: bool = False

    def document(self) -> dict[str, Any]:
        """Return the results as JSON knows them."""
        return {
            "format": FORMAT,
            "name": self.name,
            "machine": self.facts,
            "others_cpu_share": self.others,
            "seconds": self.seconds,
            "complete": self.complete,
            "rows": [row.document() for row in self.rows],
        }

    def text(self) -> str:
        """Return the results as Markdown, one table per section."""
        lines = [
            "; ".join(f"{name} {fact}" for name, fact in self.facts.items())
            + ". CPU time that other processes used meanwhile: "
            + ", ".join(f"{share:.0%} in {step}" for step, share in self.others.items())
            + f". The run took {sum(self.seconds.values()) / 60:.1f} minutes.",
            "",
        ]
        if any(share > OTHERS_SHARE_MAX for share in self.others.values()):
            lines += ["**Other work was running: these figures are not clean.**", ""]
        if not self.complete:
            lines += ["**The run was not completed: later steps are missing.**", ""]
        for section in dict.fromkeys(row.section for row in self.rows):
            lines += [
                f"## {section}",
                "",
                "| what | median | min … max | in times of |",
                "|---|---|---|---|",
                *(_line(row) for row in self.rows if row.section == section),
                "",
            ]
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write the JSON and the Markdown."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.document(), ensure_ascii=False, indent=1)
        (folder / f"{self.name}.json").write_text(text + "\n", "utf-8")
        (folder / f"{self.name}.md").write_text(self.text(), "utf-8")


def in_turn(sides: Mapping[str, Side], rounds: int) -> dict[str, list[float]]:
    """Time every side once to warm up, then ``rounds`` times, one after the other each time.

    Returns:
        By name, one value per round in seconds per unit of the side's work.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(-1, rounds):
        for name, side in sides.items():
            value = side.seconds()
            if turn >= 0:
                seconds[name].append(value)
    return seconds


def rows_against(
    section: str,
    yardstick: str,
    measured: Mapping[str, Sequence[float]],
    *,
    label: str,
    where: Mapping[str, float | str],
    scale: float = 1e9,
    unit: str = "ns/number",
) -> list[Row]:
    """Return rows of what was measured in turn, each against one of them.

    Args:
        section: Of all rows.
        yardstick: Its name in ``measured``; it gets no ratios.
        measured: By name, one value per round.
        label: Follows the name in each row, e.g. ``, 1,000 numbers a call``.
        where: Of all rows; the name is added as ``subject``.
        scale: From the values measured to ``unit``.
        unit: Of the rows' values.
    """
    base = measured[yardstick]
    return [
        Row(
            section=section,
            name=f"{name}{label}",
            unit=unit,
            values=[value * scale for value in values],
            against="" if name == yardstick else f"{yardstick}{label}",
            ratios=()
            if name == yardstick
            else [value / other for value, other in zip(values, base, strict=True)],
            where={"subject": name, **where},
        )
        for name, values in measured.items()
    ]


def _line(row: Row) -> str:
    if row.median is None:
        return f"| {row.name} | {row.note} |  |  |"
    spread = ""
    if len(row.values) > 1:
        spread = f"{value_text(min(row.values))} … {value_text(max(row.values))}"
    ratio = "" if row.ratio is None else f"{value_text(row.ratio)} × {row.against}"
    note = f" ({row.note})" if row.note else ""
    return f"| {row.name}{note} | {value_text(row.median)} {row.unit} | {spread} | {ratio} |"
