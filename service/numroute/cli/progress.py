"""Progress bars of the commands."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.progress import Progress, TaskID


class Bars:
    """A progress bar per step, on standard error, only where it is a terminal."""

    def __init__(self) -> None:
        """Prepare the bars; none is shown before the first step."""
        self._progress = Progress(console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._tasks: dict[str, TaskID] = {}

    def update(self, step: str, done: int, total: int) -> None:
        """Show how much of a step is done, in any unit; a total of 0 is not known yet."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=total or None)
        self._progress.update(self._tasks[step], completed=done, total=total or None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
