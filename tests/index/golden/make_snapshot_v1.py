"""How the golden file of version 1 was made. Run it only to add a golden file of a new version."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import numpy as np
from support.snapshots import make_content, make_metadata, make_routes

from numroute.index import Snapshot
from numroute.index.writer import write_snapshot

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Write the file, compressed, and the answers that it gives."""
    records = {79_000_000_012 + 37 * i: 2 + i % 5 for i in range(40)}
    pieces = {79_000_000_000: 7, 79_000_001_024: 8, 79_000_001_500: 0, 74_950_000_000: 9}
    pieces |= {74_951_000_000: 0}
    times = {number: 1_700_000_000 + number % 1000 for number in records}
    content = make_content(records, pieces, make_routes(5, 3), times=times)
    asked = [*records, *pieces, 79_000_000_013, 79_000_000_700, 74_950_500_000, 0, 10**15]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.lmdb"
        write_snapshot(path, content, make_metadata())
        (HERE / "snapshot-v1.lmdb.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
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
            document = {"snapshot_id": snapshot.metadata.snapshot_id, "answers": answers}
    text = json.dumps(document, ensure_ascii=False, indent=0)
    (HERE / "snapshot-v1.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
