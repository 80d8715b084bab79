"""The results of a run as JSON, as Markdown, and as the quoted section of benchmarks/README.md."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, markdown
from numroute.plan.table import OTHERS_SHARE_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.speed.options import Options

BEGIN = "<!-- speed: begin; written by `make bench-speed` -->"
END = "<!-- speed: end -->"


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run has found so far.

    Attributes:
        options: How large the run was.
        facts: The machine's, by name.
        others: Which share of the machine's CPU time other processes used, by step.
        figures: In the order of the table.
        complete: Whether every step has been measured.
    """

    options: Options
    facts: dict[str, str]
    others: dict[str, float] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    complete: bool = False

    def text(self) -> str:
        """Return the report as Markdown."""
        options = self.options
        lines = [
            f"{options.ported:,} ported numbers over the mobile plan of 2026 and the fixed plan of "
            f"2021; {options.queries:,} numbers asked for in each set; medians of {options.rounds} "
            f"rounds ({options.slow_rounds} for building and starting). "
            + "; ".join(f"{name} {fact}" for name, fact in self.facts.items())
            + ". CPU time that other processes used meanwhile: "
            + ", ".join(f"{share:.0%} while {step}" for step, share in self.others.items())
            + ".",
        ]
        if any(share > OTHERS_SHARE_MAX for share in self.others.values()):
            lines.append("**Other work was running: these figures are not clean.**")
        if not self.complete:
            lines.append("**The run was not completed: later steps are missing.**")
        return "\n\n".join(lines) + "\n\n" + markdown(self.figures)

    def write(self, folder: Path) -> None:
        """Write ``speed.json`` and ``speed.md``."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            "ported": self.options.ported,
            "queries": self.options.queries,
            "rounds": self.options.rounds,
            "machine": self.facts,
            "others_cpu_share": self.others,
            "complete": self.complete,
            "figures": [figure.document() for figure in self.figures],
        }
        (folder / "speed.json").write_text(
            json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8"
        )
        (folder / "speed.md").write_text(self.text(), "utf-8")


def quote(readme: Path, text: str) -> None:
    """Replace the quoted section of the page."""
    page = readme.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}", "utf-8")
