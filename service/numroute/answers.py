"""Answers to texts in any human format, as values, for the service and the commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from numroute import e164
from numroute.index import Snapshot, explain
from numroute.model import Answer, Explanation, Operator, SnapshotRef

_NOBODY = Operator()


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
                route=route if route.status.has_route else None,
                ported_at=datetime.fromtimestamp(seconds, UTC) if seconds else None,
                range_holder=None if holder == _NOBODY else holder,
            )
        )
    return answers


def explain_text(
    snapshot: Snapshot, ref: SnapshotRef, text: str, default_region: str | None
) -> Explanation:
    """Explain how a snapshot answers one text.

    Raises SettingError when ``default_region`` is no region.
    """
    parsed = e164.parse(text, default_region)
    return replace(
        explain(snapshot, parsed.number), input=text, invalid_reason=parsed.reason, snapshot=ref
    )
