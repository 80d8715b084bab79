"""SQLite with one row per number, found by its primary key."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

MMAP_BYTES = 1 << 32


class SqlitePerNumber:
    """A database file, mapped into memory as SQLite can, and a connection to it."""

    def __init__(self, path: Path, numbers: NDArray[np.uint64], facts: NDArray[np.uint32]) -> None:
        """Fill a new file with uint64[n] numbers, ascending, and uint32[n] facts."""
        path.unlink(missing_ok=True)
        self._connection = sqlite3.connect(path)
        self._connection.execute(f"PRAGMA mmap_size = {MMAP_BYTES}")
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        # The primary key is the table's own tree: one search per number, no second index.
        self._connection.execute("CREATE TABLE ported (number INTEGER PRIMARY KEY, fact INTEGER)")
        rows = zip(numbers.tolist(), facts.tolist(), strict=True)
        self._connection.executemany("INSERT INTO ported VALUES (?, ?)", rows)
        self._connection.commit()

    def get(self, numbers: Sequence[int]) -> list[int]:
        """Look numbers up one by one; the statement is prepared once and kept by the connection."""
        execute = self._connection.execute
        statement = "SELECT fact FROM ported WHERE number = ?"
        return [execute(statement, (number,)).fetchone()[0] for number in numbers]

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
