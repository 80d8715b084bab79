"""The output folder: a file per route, the rejects, the summary."""

from __future__ import annotations

import enum
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from numroute.campaign.file_names import REJECTS, SUMMARY, file_stem
from numroute.campaign.text_files import TextFiles
from numroute.campaign.text_rows import (
    REJECT_COLUMNS,
    RouteCells,
    cell_text,
    leaving_text,
    staying_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.campaign.decisions import Decisions
    from numroute.campaign.lists.block import Block
    from numroute.campaign.sorting import Leaving, Staying
    from numroute.campaign.summary import Summary
    from numroute.campaign.workspace import Workspace
    from numroute.model import Route

COLUMNS: Final = ("row_id", "number", "route", "operator", "mcc", "mnc", "status")
"""What leaves of every row."""


class OutputForm(enum.Enum):
    """How the output files hold their rows."""

    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """Form and size of the output files; ``rows_per_file`` None makes one file per route."""

    form: str = "csv"
    rows_per_file: int | None = None


class Outputs:
    """All files of one run, while they are written."""

    def __init__(
        self,
        workspace: Workspace,
        settings: OutputSettings,
        decisions: Decisions,
        routes: Sequence[Route],
        *,
        kept: Sequence[str],
        kept_types: Sequence[pa.DataType],
    ) -> None:
        """Begin with no file."""
        self._workspace, self._settings, self._decisions = workspace, settings, decisions
        self._kept, self._kept_types = tuple(kept), tuple(kept_types)
        self._cells = RouteCells(routes, decisions, self._cells_of)
        self._files: list[TextFiles] = []
        self._stems: list[str] = []
        self.rejects = TextFiles(
            workspace.output, REJECTS, _header(REJECT_COLUMNS), settings.rows_per_file
        )
        self.rejects.begin()

    def write(self, leaving: Leaving, staying: Staying, block: Block) -> None:
        """Write the rows of a block."""
        if len(leaving.row_id):
            names = pc.cast(pa.array(leaving.number), pa.string())
            text = leaving_text(leaving, names, self._cells.array(), block)
            for i, destination in enumerate(leaving.destinations):
                self._of(destination).append(text, leaving.bounds[i], leaving.bounds[i + 1])
        if len(staying.row_id):
            self.rejects.append(staying_text(staying, self._decisions), 0, len(staying.row_id))

    def finish(self) -> None:
        """Complete the files."""

    def write_summary(self, summary: Summary) -> None:
        """Write ``summary.json``."""
        path = self._workspace.output / SUMMARY
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 - a descriptor
            json.dump(asdict(summary), file, ensure_ascii=False, indent=2)
            file.write("\n")

    def files_of(self, destination: int) -> tuple[str, ...]:
        """Return the names of the files of an output route."""
        return tuple(self._files[destination].names) if destination < len(self._files) else ()

    def state(self) -> dict[str, Any]:
        """Return where all files end."""
        return {
            "stems": self._stems,
            "files": [files.state() for files in self._files],
            "rejects": self.rejects.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Cut all files back to where they ended, and remove those that were begun later."""
        self._stems = list(state["stems"])
        for stem, each in zip(self._stems, state["files"], strict=True):
            files = self._new_files(stem)
            files.restore(each)
            self._files.append(files)
        self.rejects.restore(state["rejects"])
        known = {name for files in (*self._files, self.rejects) for name in files.names}
        for path in self._workspace.output.iterdir():
            if path.name not in known:
                path.unlink()

    def _of(self, destination: int) -> TextFiles:
        while len(self._files) <= destination:
            stem = file_stem(self._decisions.destinations[len(self._files)], self._stems)
            self._stems.append(stem)
            self._files.append(self._new_files(stem))
        return self._files[destination]

    def _new_files(self, stem: str) -> TextFiles:
        return TextFiles(
            self._workspace.output,
            stem,
            _header((*COLUMNS, *self._kept)),
            self._settings.rows_per_file,
        )

    def _cells_of(self, route: Route, code: int) -> Sequence[str]:
        operator = route.operator
        return (
            self._decisions.decided[code].destination,
            operator.brand or operator.name or operator.code,
            route.mcc,
            route.mnc,
            route.status.name,
        )


def _header(columns: Sequence[str]) -> bytes:
    return (",".join(cell_text(column) for column in columns) + "\n").encode()
