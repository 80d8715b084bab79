"""What the benchmark needs, made once and kept: a store, the lists, the truth."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.campaign.lists import ListFile, Planted, make_list
from benchmarks.children import BIN, run_measured
from numroute.index import SnapshotStore
from numroute.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SEED: Final = 6
STRETCHES: Final = np.array(
    [[79000000000, 79299999999], [79500000000, 79539999999], [79600000000, 79699999999]],
    np.uint64,
)
"""Where the lists' numbers lie; some of them nobody holds."""

PIECE_ROWS: Final = 10_000_000
"""So many rows are made at once, in about four gigabytes of memory."""

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Paths of what was made.

    ``expected`` holds the counts that a run must give, ``numbers`` what each row's text says
    (uint64), ``is_first`` whether its number was not met before (bool).
    """

    store: Path
    csv: Path
    parquet: Path
    expected: Path
    numbers: Path
    is_first: Path


def ensure(work: Path, rows: int, ported: int, forms: Sequence[str]) -> Material:
    """Return the material for lists of so many rows, made unless the last run made the same.

    A list of more than ``PIECE_ROWS`` rows, a multiple of it, is made in pieces, which share no
    number; the last piece is the first one again, so that its duplicates are as far away as can be.
    """
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Material(
        store=work / "store",
        csv=work / "list.csv",
        parquet=work / "list.parquet",
        expected=work / "expected.json",
        numbers=work / "numbers.npy",
        is_first=work / "first.npy",
    )
    wanted: dict[str, object] = {"rows": rows, "ported": ported, "seed": SEED}
    if "parquet" not in forms:
        wanted["forms"] = [*forms]
    manifest = work / MANIFEST
    if manifest.is_file() and json.loads(manifest.read_text("utf-8")) == wanted:
        return made
    manifest.unlink(missing_ok=True)
    if not made.store.exists():
        registry = work / "registry"
        run_measured(
            [
                *(BIN / "numroute-load", "generate", registry, "--csv"),
                *("--ported", str(ported), "--seed", str(SEED)),
            ]
        )
        run_measured([BIN / "numroute-load", "build", "--store", made.store, registry])
    expected = _write_lists(made, rows, forms)
    made.expected.write_text(json.dumps(expected), "utf-8")
    # Written last: what an interrupted run leaves is not taken for the whole.
    manifest.write_text(json.dumps(wanted), "utf-8")
    return made


def _write_lists(made: Material, rows: int, forms: Sequence[str]) -> dict[str, object]:
    """Write the lists, and what each row says; return the counts that a run must give."""
    rejects: Counter[str] = Counter()
    routes: Counter[str] = Counter()
    duplicates = 0
    numbers = np.lib.format.open_memmap(made.numbers, "w+", np.uint64, (rows,))
    is_first = np.lib.format.open_memmap(made.is_first, "w+", np.bool_, (rows,))
    with contextlib.ExitStack() as stack:
        files: list[ListFile] = []
        for begin, planted in _pieces(rows):
            if not files:
                paths = [getattr(made, form) for form in forms]
                files = [
                    stack.enter_context(contextlib.closing(ListFile(path, planted.table.schema)))
                    for path in paths
                ]
            for file in files:
                file.write(planted)
            rejects.update(planted.rejects)
            duplicates += planted.duplicates
            routes.update(_routes(made.store, planted.numbers[planted.is_first]))
            numbers[begin : begin + len(planted.numbers)] = planted.numbers
            is_first[begin : begin + len(planted.numbers)] = planted.is_first
    return {"rows": rows, "rejects": rejects, "duplicates": duplicates, "routes": routes}


def _pieces(rows: int) -> Iterator[tuple[int, Planted]]:
    """Yield pieces and the place of their first row."""
    if rows <= PIECE_ROWS:
        yield 0, make_list(rows, STRETCHES, SEED)
        return
    if rows % PIECE_ROWS:
        raise ValueError(f"more than {PIECE_ROWS:,} rows come in pieces of so many")
    pieces = rows // PIECE_ROWS
    # Each piece's numbers are a part of each stretch.
    bounds = np.linspace(STRETCHES[:, 0], STRETCHES[:, 1] + 1, pieces).astype(np.uint64)
    for i in range(pieces - 1):
        stretches = np.stack([bounds[i], bounds[i + 1] - np.uint64(1)], axis=1)
        yield i * PIECE_ROWS, make_list(PIECE_ROWS, stretches, SEED + i)
    again = make_list(PIECE_ROWS, np.stack([bounds[0], bounds[1] - np.uint64(1)], axis=1), SEED)
    yield rows - PIECE_ROWS, replace(again, is_first=np.zeros(PIECE_ROWS, np.bool_))


def _routes(store: Path, numbers: NDArray[np.uint64]) -> dict[str, int]:
    """Return how many of the numbers each operator serves, straight from the snapshot."""
    counts: Counter[str] = Counter()
    with SnapshotStore(store).open() as snapshot:
        rows = np.bincount(snapshot.lookup(numbers).route)
        for row in np.flatnonzero(rows).tolist():
            route = snapshot.route(row)
            if route.status in {Status.PORTED, Status.NOT_PORTED}:
                operator = route.operator
                counts[operator.brand or operator.name or operator.code] += int(rows[row])
    return dict(counts)
