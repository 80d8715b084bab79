"""``python -m benchmarks.compare OLD.json NEW.json``: what changed between two runs of the suite.

Compared are the ratios to the yardsticks of the same run: absolute times drift from machine to
machine and from day to day. Where a row has no yardstick, e.g. memory, its value is compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import value_text
from benchmarks.suite.results import FORMAT
from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ABSOLUTE_UNITS = frozenset({"MB", "bytes", "%"})
"""Units that do not depend on the machine's speed: values without a yardstick are compared."""

CHANGE_MIN = 0.1
"""Smaller changes are not listed: medians of ratios differ by about a tenth from run to run."""


class ResultsError(NumrouteError):
    """A file is not the results of a run that this program can compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A row that both runs have.

    Attributes:
        section: Of the row.
        name: Of the row.
        against: Its yardstick; empty when the values themselves were compared.
        unit: Of the values; empty when ratios were compared.
        old: The median of the older run.
        new: That of the newer run.
        ranges: ``apart`` when the two runs' values do not overlap, else ``overlap``; ``single``
            when a run has one value only, of which no range is known.
    """

    section: str
    name: str
    against: str
    unit: str
    old: float
    new: float
    ranges: str

    @property
    def factor(self) -> float:
        """New over old: over 1 is slower or larger, except for rates."""
        return self.new / self.old if self.old else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs.

    ``gone`` and ``added`` are the names of rows that only one of them measured; ``machine`` are the
    facts that differ, by name, each as (old, new).
    """

    changes: Sequence[Change]
    gone: Sequence[str]
    added: Sequence[str]
    machine: Mapping[str, tuple[str, str]]

    def text(self, change_min: float) -> str:
        """Return what changed as Markdown, the largest change first."""
        listed = sorted(
            (
                change
                for change in self.changes
                if max(change.factor, 1 / change.factor if change.factor else 0) >= 1 + change_min
            ),
            key=lambda change: -max(change.factor, 1 / change.factor if change.factor else 0),
        )
        lines = [
            f"{len(self.changes)} rows compared, {len(listed)} differ by {change_min:.0%} or more."
        ]
        lines += [f"{name}: {old} → {new}" for name, (old, new) in self.machine.items()]
        if listed:
            lines += ["", "| what | in times of | old | new | new / old | ranges |"]
            lines += ["|---|---|---|---|---|---|", *map(_line, listed)]
        for title, names in (("Only in the old run", self.gone), ("Only in the new", self.added)):
            if names:
                lines += ["", f"{title}:", *(f"- {name}" for name in names)]
        return "\n".join(lines)


def load(path: Path) -> dict[str, Any]:
    """Return the results in a file.

    Raises:
        ResultsError: It cannot be read, is not such a file, or is of another version.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        found = document["format"]
        document["rows"], document["machine"]
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}", hint="Check the path") from None
    except (ValueError, KeyError, TypeError):
        raise ResultsError(
            f"{path}: not the results of benchmarks.suite",
            hint="Give a suite.json or suite-quick.json",
        ) from None
    if found != FORMAT:
        raise ResultsError(
            f"{path}: results of format {found}, this program reads {FORMAT}",
            hint="Measure both runs with the same version of the benchmarks",
        )
    return document


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    """Compare two runs row by row."""
    before, after = (
        {(row["section"], row["name"]): row for row in run["rows"] if row["median"] is not None}
        for run in (old, new)
    )
    return Comparison(
        changes=[
            change
            for key, row in before.items()
            if key in after and (change := _change(row, after[key])) is not None
        ],
        gone=[" / ".join(key) for key in before if key not in after],
        added=[" / ".join(key) for key in after if key not in before],
        machine={
            name: (fact, new["machine"].get(name, "?"))
            for name, fact in old["machine"].items()
            if new["machine"].get(name, "?") != fact
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what changed; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--min", type=float, default=CHANGE_MIN, help="smallest change to list")
    given = parser.parse_args(arguments)
    try:
        print(compare(load(given.old), load(given.new)).text(given.min))
    except NumrouteError as error:
        print(f"benchmarks.compare: {error}", file=sys.stderr)
        return 1
    return 0


def _change(old: Mapping[str, Any], new: Mapping[str, Any]) -> Change | None:
    """Return the change of one row; None where only absolute times or rates could be compared."""
    if old["ratios"] and new["ratios"] and old["against"] == new["against"]:
        kind, values, unit = "ratio", "ratios", ""
    elif old["unit"] == new["unit"] and old["unit"] in ABSOLUTE_UNITS:
        kind, values, unit = "median", "values", old["unit"]
    else:
        return None
    return Change(
        section=old["section"],
        name=old["name"],
        against="" if unit else old["against"],
        unit=unit,
        old=old[kind],
        new=new[kind],
        ranges=_ranges(old[values], new[values]),
    )


def _ranges(old: Sequence[float], new: Sequence[float]) -> str:
    if min(len(old), len(new)) == 1:
        return "single"
    return "apart" if max(old) < min(new) or max(new) < min(old) else "overlap"


def _line(change: Change) -> str:
    unit = f" {change.unit}" if change.unit else ""
    return (
        f"| {change.section} / {change.name} | {change.against} "
        f"| {value_text(change.old)}{unit} | {value_text(change.new)}{unit} "
        f"| {value_text(change.factor)} | {change.ranges} |"
    )


if __name__ == "__main__":
    sys.exit(main())
