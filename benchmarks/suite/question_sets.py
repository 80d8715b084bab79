"""Sets of numbers that differ in what a lookup's cost may depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.queries import ALL_PORTED, FIXED, MOBILE_MIX, Queries, load_queries

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.oracle import Truth

CAMPAIGN_RUN = 500
"""Numbers of a campaign list that stand near each other: a client list by sales office."""
CAMPAIGN_SPREAD = 10_000
"""Among how many neighbours they lie."""
SEED = 5


def question_sets(work: Path, truth: Truth, count: int) -> dict[str, Queries]:
    """Return ``count`` numbers of every kind, by a name that says which.

    Ported share (none, the real mix, all) times uniform or clustered times unsorted or sorted for
    mobile numbers; fixed-line numbers uniform, unsorted and sorted.
    """
    rng = np.random.default_rng(SEED)
    mix = load_queries(work, MOBILE_MIX)
    sets: dict[str, NDArray[np.uint64]] = {}
    not_ported = mix.numbers[~truth.is_ported(mix.numbers)]
    uniform = {
        "mobile, none ported": not_ported,
        "mobile, 7 % ported": mix.numbers,
        "mobile, all ported": load_queries(work, ALL_PORTED).numbers,
    }
    for name, numbers in uniform.items():
        sets[f"{name}, uniform"] = numbers[:count]
    near = _near(mix.numbers, count * 2, rng)
    sets["mobile, none ported, clustered"] = near[~truth.is_ported(near)][:count]
    sets["mobile, as ported as it comes, clustered"] = near[:count]
    sets["mobile, all ported, clustered"] = _runs(truth.ported, count, rng)
    sets["fixed, uniform"] = load_queries(work, FIXED).numbers[:count]
    found: dict[str, Queries] = {}
    for name, numbers in sets.items():
        for order, ordered in (("unsorted", numbers), ("sorted", np.sort(numbers))):
            found[f"{name}, {order}"] = Queries(numbers=ordered, expected=truth.expected(ordered))
    return found


def _near(numbers: NDArray[np.uint64], count: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    """Return numbers from around a few of the given ones, in no order."""
    centres = numbers[: -(-count // CAMPAIGN_RUN)] // CAMPAIGN_SPREAD * CAMPAIGN_SPREAD
    spread = rng.integers(0, CAMPAIGN_SPREAD, (len(centres), CAMPAIGN_RUN), dtype=np.uint64)
    near = (centres[:, None] + spread).ravel()[:count]
    rng.shuffle(near)
    return near


def _runs(ported: NDArray[np.uint64], count: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    """Return runs of neighbours among the ported numbers, in no order."""
    run = min(CAMPAIGN_RUN, len(ported))
    begins = rng.integers(0, len(ported) - run + 1, -(-count // run))
    near = ported[(begins[:, None] + np.arange(run)).ravel()[:count]]
    rng.shuffle(near)
    return near
