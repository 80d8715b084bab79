"""Lookups in this process, from a snapshot store and without a service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from numroute.answers import answer_texts, explain_text
from numroute.client.messages import BulkAnswer, as_numbers
from numroute.index import Snapshot, SnapshotStore
from numroute.index.kernel import distinct_rows
from numroute.model import Answer, Explanation, Operator, SnapshotRef


class LocalClient:
    """Answers as ``Client`` does, from the snapshot that was current when the store was opened.

    Any number of threads may ask at once. Open the store again for a newer snapshot.
    """

    def __init__(self, path: Path | str, *, as_of: datetime | None = None) -> None:
        """Open a snapshot store for lookups in this process.

        ``as_of``: answer from the snapshot that was current at this time (aware), while the store
        keeps it. Raises StoreError when there is no such snapshot, or it cannot be opened.
        """
        opened = SnapshotStore(path)
        self._opened: Snapshot | None = (
            opened.open() if as_of is None else opened.open_past(opened.current_at(as_of), as_of)
        )
        metadata = self._opened.metadata
        self.snapshot = SnapshotRef(id=metadata.snapshot_id, as_of=metadata.as_of)

    def lookup(
        self,
        numbers: NDArray[Any] | Sequence[int],
        *,
        with_range_holder: bool = False,
        with_ported_at: bool = False,
    ) -> BulkAnswer:
        """Look up whole E.164 numbers, as many as you like; see ``Client.lookup``.

        Raises ValueError when the store is closed.
        """
        found = self._snapshot.lookup(
            as_numbers(numbers), ported_at=with_ported_at, range_route=with_range_holder
        )
        rows, _, route_index = distinct_rows(found.route, self._snapshot.route_count)
        holders: list[Operator] = []
        holder_index = None
        if found.range_route is not None:
            table = self._snapshot.routes
            operators = table.operator_of_row.take(found.range_route)
            distinct, _, holder_index = distinct_rows(operators, len(table.operators))
            holders = [table.operators[place] for place in distinct.tolist()]
        return BulkAnswer(
            route_index=route_index,
            routes=tuple(map(self._snapshot.route, rows.tolist())),
            snapshot=self.snapshot,
            ported_at=found.ported_at,
            range_holder_index=holder_index,
            range_holders=tuple(holders),
        )

    def lookup_text(self, texts: Sequence[str], default_region: str | None = None) -> list[Answer]:
        """Look up phone numbers in any human format; one answer per text, in order.

        Raises SettingError when the region is unknown, and ValueError when the store is closed.
        """
        return answer_texts(self._snapshot, self.snapshot, texts, default_region)

    def explain(self, text: str, default_region: str | None = None) -> Explanation:
        """Explain why a number, in any human format, is answered as it is.

        The errors are those of ``lookup_text``.
        """
        return explain_text(self._snapshot, self.snapshot, text, default_region)

    def close(self) -> None:
        """Close the snapshot. No call may be under way."""
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    @property
    def _snapshot(self) -> Snapshot:
        if self._opened is None:
            raise ValueError("the store is closed: open it again")
        return self._opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


open_store = LocalClient
