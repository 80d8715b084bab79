"""What a run is told, and what its steps share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PORTED_DEFAULT = 50_000_000
QUERIES_DEFAULT = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How large a run is.

    Attributes:
        work: Folder of everything that is made.
        ported: Ported numbers in the registry.
        queries: Numbers of each set that is asked for.
        rounds: Repetitions of each measurement; building and starting are repeated less often.
    """

    work: Path
    ported: int = PORTED_DEFAULT
    queries: int = QUERIES_DEFAULT
    rounds: int = 15

    @property
    def store(self) -> Path:
        """The snapshot store that the run builds."""
        return self.work / "store"

    @property
    def slow_rounds(self) -> int:
        """Repetitions of what takes long."""
        return max(1, self.rounds // 5)
