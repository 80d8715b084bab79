"""Answers to a few texts in any human format, as values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from numroute import e164
from numroute.model import Answer, Operator, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.index import Snapshot
    from numroute.model import SnapshotRef

_NOBODY = Operator()
_WITH_ROUTE = frozenset({Status.PORTED, Status.NOT_PORTED})


def answer_texts(
    snapshot: Snapshot, ref: SnapshotRef, texts: Sequence[str], default_region: str | None
) -> list[Answer]:
    """Return one answer per text, in order; each carries ``ref``.

    Raises SettingError when ``default_region`` is no region.
    """
    parsed = [e164.parse(text, default_region) for text in texts]
    numbers = np.array([each.number for each in parsed], np.uint64)
    columns = snapshot.lookup(numbers, ported_at=True, range_route=True)
    if columns.ported_at is None or columns.range_route is None:
        raise AssertionError("both columns were asked for")
    answers = []
    for text, each, row, seconds, range_row in zip(
        texts,
        parsed,
        columns.route.tolist(),
        columns.ported_at.tolist(),
        columns.range_route.tolist(),
        strict=True,
    ):
        route = snapshot.route(row)
        holder = snapshot.route(range_row).operator
        answers.append(
            Answer(
                input=text,
                number=each.number,
                status=route.status,
                snapshot=ref,
                invalid_reason=each.reason,
                route=route if route.status in _WITH_ROUTE else None,
                ported_at=datetime.fromtimestamp(seconds, UTC) if seconds else None,
                range_holder=None if holder == _NOBODY else holder,
            )
        )
    return answers
