"""Figures, what they should be, and whether they are."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a figure should be at least, or at most."""

    limit: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether a value is what it should be."""
        return value >= self.limit if self.at_least else value <= self.limit


def at_least(limit: float) -> Target:
    """Return the target of a figure that must not be smaller."""
    return Target(limit=limit, at_least=True)


def at_most(limit: float) -> Target:
    """Return the target of a figure that must not be larger."""
    return Target(limit=limit, at_least=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured thing.

    Attributes:
        section: The heading under which it stands.
        name: What was measured.
        unit: Of the values, e.g. ``ns/number``; empty for a ratio.
        values: One per repetition; their median is the figure.
        target: What it should be, if anything.
        worst_counts: The target holds for every repetition instead of for the median.
    """

    section: str
    name: str
    unit: str
    values: Sequence[float]
    target: Target | None = None
    worst_counts: bool = False

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        """``met`` or ``missed``; empty without a target."""
        if self.target is None:
            return ""
        worst: Callable[..., float] = min if self.target.at_least else max
        value = worst(self.values) if self.worst_counts else self.median
        return "met" if self.target.met(value) else "missed"

    def document(self) -> dict[str, Any]:
        """Return the figure as JSON knows it."""
        return {
            "section": self.section,
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
            "target": None
            if self.target is None
            else {
                "limit": self.target.limit,
                "at_least": self.target.at_least,
                "every_repetition": self.worst_counts,
            },
            "verdict": self.verdict or None,
        }


def markdown(figures: Sequence[Figure]) -> str:
    """Return the figures as one Markdown table per section."""
    lines: list[str] = []
    for section in dict.fromkeys(figure.section for figure in figures):
        lines += [
            f"### {section}",
            "",
            "| what | median | min … max | target | verdict |",
            "|---|---|---|---|---|",
            *(_row(figure) for figure in figures if figure.section == section),
            "",
        ]
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit else ""
    spread = ""
    if len(figure.values) > 1:
        spread = f"{value_text(min(figure.values))} … {value_text(max(figure.values))}"
    target = ""
    if figure.target is not None:
        sign = "≥" if figure.target.at_least else "≤"
        target = (
            f"{sign} {value_text(figure.target.limit)}{', always' if figure.worst_counts else ''}"
        )
    median = f"{value_text(figure.median)}{unit}"
    return f"| {figure.name} | {median} | {spread} | {target} | {figure.verdict} |"


def value_text(value: float) -> str:
    """Return a value with three digits that count, as many as repeat from run to run."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
