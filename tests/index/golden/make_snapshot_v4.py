"""How the golden file was made: records, overrides, blocks that share a place, and coverage."""

from __future__ import annotations

import gzip
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from support.snapshots import make_content, make_metadata, make_routes

from numroute.index import Override, Snapshot
from numroute.index.writer import write_snapshot
from numroute.model import Coverage, LineType, Operator, Region, Status

HERE = Path(__file__).resolve().parent
COVERAGE = (Coverage(first=79_000_000_000, last=79_009_999_999, ported=True),)
OVERRIDES = (
    Override(
        first=79_000_000_000,
        last=79_000_000_099,
        operator=Operator(code="mX", name="Икс", brand="X", tax_number="7700000000"),
        mcc="250",
        mnc="77",
        routing_number="D7777",
        region=Region(code="77", name="Москва"),
        line_type=LineType.MOBILE,
        reason="all of it",
        author="first author",
    ),
    Override(
        first=79_000_000_049,
        last=79_000_000_049,
        operator=Operator(code="mY"),
        reason="one of it",
        author="second author",
        expires=datetime(2200, 1, 1, tzinfo=UTC),
    ),
    Override(
        first=79_000_000_012,
        last=79_000_000_012,
        operator=Operator(code="mZ"),
        reason="expired",
        author="third author",
        expires=datetime(2026, 1, 1, tzinfo=UTC),
    ),
    Override(
        first=999_000_000_000_000,
        last=999_999_999_999_999,
        operator=Operator(code="mX"),
        reason="the end",
        author="first author",
    ),
)


def main() -> None:
    """Write the file, compressed, and the answers that it gives."""
    records = {79_000_000_012 + 37 * i: 2 + i % 5 for i in range(40)}
    routes = make_routes(5, 3)
    routes[0] = replace(routes[0], status=Status.NOT_COVERED)
    routes.append(replace(routes[0], status=Status.UNALLOCATED))
    pieces = {
        79_000_000_000: 7,
        79_000_001_024: 8,
        79_000_001_500: len(routes) - 1,
        79_010_000_000: 0,
    }
    times = {number: 1_700_000_000 + number % 1000 for number in records}
    content = make_content(records, pieces, routes, times=times)
    content = replace(content, coverage=COVERAGE)
    asked = [
        *list(records)[:8],
        *pieces,
        79_005_000_000,
        79_000_000_050,
        79_000_000_100,
        999_999_999_999_999,
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.lmdb"
        write_snapshot(path, content, replace(make_metadata(), coverage=COVERAGE), OVERRIDES)
        (HERE / "snapshot-v4.lmdb.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
        with Snapshot(path) as snapshot:
            got = snapshot.lookup(np.array(asked, np.uint64), ported_at=True, range_route=True)
            answers = []
            for number, row, time, in_range in zip(
                asked,
                got.route.tolist(),
                got.ported_at.tolist(),
                got.range_route.tolist(),
                strict=True,
            ):
                route = snapshot.route(row)
                answer = [
                    row, route.status.name, route.operator.code, route.region.name, time, in_range
                ]  # fmt: skip
                answers.append({"number": number, "answer": answer})
            document = {
                "snapshot_id": snapshot.metadata.snapshot_id,
                "decided_by": "override",
                "overrides": [[each.first, each.last, each.reason] for each in snapshot.overrides],
                "answers": answers,
            }
    text = json.dumps(document, ensure_ascii=False, indent=0)
    (HERE / "snapshot-v4.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
