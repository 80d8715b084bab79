"""The numbers that are asked for, and what the oracle expects, kept in the work folder."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.oracle import Truth
from benchmarks.oracle_files import COUNTRY, read_truth
from benchmarks.registry import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.registry import Registry

PORTED_SHARE = 0.07
"""Share of ported numbers in the real mix: 50 million of the 0.7 thousand million mobile ones."""

MOBILE_MIX = "mobile_mix"
ALL_PORTED = "all_ported"
FIXED = "fixed"
SETS = (MOBILE_MIX, ALL_PORTED, FIXED)

SEED = 2
FOLDER = "oracle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Numbers in no order, uint64[n], and for each what the oracle expects, uint32[n]."""

    numbers: NDArray[np.uint64]
    expected: NDArray[np.uint32]


def ensure_queries(work: Path, registry: Registry, count: int) -> None:
    """Make the oracle's arrays and ``count`` numbers of each set, unless they are there already."""
    folder = work / FOLDER
    manifest = folder / MANIFEST
    wanted = {
        "registry": json.loads((registry.port_all.parent / MANIFEST).read_text("utf-8")),
        "count": count,
    }
    if manifest.is_file() and json.loads(manifest.read_text("utf-8")) == wanted:
        return
    print("reading the registry for the oracle", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    truth = read_truth(registry)
    truth.save(folder)
    rng = np.random.default_rng(SEED)
    for name in SETS:
        numbers = _draw(truth, name, count, rng)
        np.save(folder / f"{name}.npy", numbers)
        np.save(folder / f"{name}.expected.npy", truth.expected(numbers))
    manifest.write_text(json.dumps(wanted), "utf-8")


def load_truth(work: Path) -> Truth:
    """Return the oracle that ``ensure_queries`` made."""
    return Truth.load(work / FOLDER)


def load_queries(work: Path, name: str) -> Queries:
    """Return one of ``SETS``."""
    folder = work / FOLDER
    return Queries(
        numbers=np.load(folder / f"{name}.npy"),
        expected=np.load(folder / f"{name}.expected.npy"),
    )


def _draw(truth: Truth, name: str, count: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    if name == FIXED:
        return _uniform(truth, count, rng, mobile=False)
    ported = rng.choice(truth.ported, count if name == ALL_PORTED else round(count * PORTED_SHARE))
    others = np.empty(0, np.uint64)
    while len(ported) + len(others) < count:
        more = _uniform(truth, count, rng, mobile=True)
        others = np.concatenate((others, more[~truth.is_ported(more)]))
    numbers = np.concatenate((ported, others[: count - len(ported)]))
    rng.shuffle(numbers)
    return numbers


def _uniform(
    truth: Truth, count: int, rng: np.random.Generator, *, mobile: bool
) -> NDArray[np.uint64]:
    """Draw from the numbers of the mobile or of the fixed plan, each as likely as any other."""
    of_plan = (truth.first >= COUNTRY + 9 * 10**9) == mobile
    first = truth.first[of_plan].astype(np.int64)
    sizes = truth.last[of_plan].astype(np.int64) - first + 1
    ends = np.cumsum(sizes)
    drawn = rng.integers(0, ends[-1], count)
    piece = np.searchsorted(ends, drawn, side="right")
    numbers: NDArray[np.int64] = first[piece] + drawn - (ends - sizes)[piece]
    return numbers.astype(np.uint64)
