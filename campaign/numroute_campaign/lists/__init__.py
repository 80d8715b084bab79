"""Reading campaign lists of any common form as blocks of Arrow columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from numroute_campaign.lists.cells import segment_counts

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Some records of a list, in order, as every reader hands them over.

    Attributes:
        records: How many records of the list they are, damaged ones included.
        lines: How many lines of text the records have; 0 where the list is no text.
        blank: How many records have no content in any column; 0 where that is not known.
        phones: The phone columns of the whole records; a campaign list has one.
        headers: Their names in the header; empty without a header.
        kept: The columns that are needed besides, as long as a phone column.
        segments: int64[n], segments of each record's message, -1 where its cell is a fraction, 0
            where it is no such number; None when no column says so.
        record: int64[n], the place in the block of each whole record; None when none is damaged.
        damaged: int64[k], the places of the damaged records.
        damage: uint8[k], ``Reject`` values.
    """

    records: int
    lines: int = 0
    blank: int = 0
    phones: tuple[pa.Array, ...]
    headers: tuple[str, ...]
    kept: tuple[pa.Array, ...] = ()
    segments: NDArray[np.int64] | None = None
    record: NDArray[np.int64] | None = None
    damaged: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    damage: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What to read of every file, and how; None is judged from the file.

    ``option`` begins the names of the options by which the user says so, for messages.
    """

    region: str | None = None
    column: str | None = None
    keep: tuple[str, ...] = ()
    segments_column: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    has_header: bool | None = None
    sheet: str | None = None
    option: str = "--"

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that the user named; a number is a place."""
        names = (self.column, self.segments_column, *self.keep)
        return tuple(name for name in names if name is not None and not name.isdecimal())


class ListReader:
    """Reads a file of one form; ``choose`` says which columns.

    Attributes:
        columns: The names of all columns.
        sample: Some values of each column; None for a type that cannot hold phone numbers.
        warnings: What was guessed about the file and may be wrong.
        bytes_done: How many bytes of the file have been read.
    """

    columns: tuple[str, ...]
    sample: Sequence[pa.Array | None]
    encoding = delimiter = sheet = ""
    has_header = True
    warnings: tuple[str, ...] = ()
    bytes_done: int

    def choose(self, phones: Sequence[int], kept: Sequence[int], segments: int | None) -> None:
        """Say by place which columns are needed.

        Raises:
            InputError: The type of one cannot hold what it is needed for.
        """
        self.phones, self.kept, self.segments = tuple(phones), tuple(kept), segments
        places = [*phones, *kept, *([] if segments is None else [segments])]
        self.needed = list(dict.fromkeys(places))

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of the phone columns in the header; empty without a header."""
        return tuple(self.columns[place] if self.has_header else "" for place in self.phones)

    def block(
        self,
        columns: dict[int, pa.Array],
        damage: NDArray[np.uint8],
        *,
        lines: int = 0,
        blank: int = 0,
    ) -> Block:
        """Return the needed columns of the whole records as a block.

        ``damage``: uint8[records], ``Reject`` values of all records, 0 for whole ones.
        """
        damaged = np.flatnonzero(damage)
        return Block(
            records=len(damage),
            lines=lines,
            blank=blank,
            phones=tuple(columns[place] for place in self.phones),
            headers=self.headers,
            kept=tuple(columns[place] for place in self.kept),
            segments=None if self.segments is None else segment_counts(columns[self.segments]),
            record=np.flatnonzero(damage == 0) if len(damaged) else None,
            damaged=damaged,
            damage=damage[damaged],
        )

    def tasks(self) -> Iterator[Callable[[], Block]]:
        """Yield functions to be called, on any thread, for a block each.

        Raises:
            InputError: The file is damaged.
        """
        raise NotImplementedError

    def check_lines(self, parsed: int) -> None:
        """Check, behind the last block, that the blocks' lines are all that the file has.

        Raises:
            InputError: They are not: rows would be lost without a word.
        """

    def close(self) -> None:
        """Close the file."""
        raise NotImplementedError
