"""Numbering plans laid over one another as piecewise-constant functions of the number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from numroute.errors import InputError
from numroute_loader.reading.description import Ranges, RouteKey

NOBODY = -1
"""The key of a piece without a holder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The plan of one registry, gaps included.

    ``start``: uint64[p], ascending and unique, the first is 0; piece i runs from ``start[i]`` to
    ``start[i + 1] - 1``, the last one without end. ``key``: int64[p], index into ``keys`` or
    ``NOBODY``, as for the last piece.
    """

    start: NDArray[np.uint64]
    key: NDArray[np.int64]
    keys: Sequence[RouteKey]


def plan_layer(plans: Sequence[tuple[Path, Ranges]]) -> Layer:
    """Return the plan that the files of one registry make together.

    Raises InputError, with both files, when two of them have a number in common.
    """
    first = np.concatenate([ranges.first for _, ranges in plans])
    order = np.argsort(first, kind="stable")
    first, last = first[order], np.concatenate([ranges.last for _, ranges in plans])[order]
    origin = np.repeat(np.arange(len(plans)), [len(ranges.first) for _, ranges in plans])[order]
    # Each file's keys follow those of the files before it.
    offsets = np.cumsum([0, *(len(ranges.keys) for _, ranges in plans)])
    key = np.concatenate([ranges.key.astype(np.int64) for _, ranges in plans])[order]
    key += offsets[origin]
    clashes = np.flatnonzero(first[1:] <= last[:-1])
    if len(clashes):
        earlier, later = sorted(origin[clashes[0] : clashes[0] + 2].tolist())
        raise InputError(
            plans[later][0],
            f"its ranges overlap those of {plans[earlier][0]}",
            hint="Give each part of the plan once: two issues of one file cannot be merged",
        )
    after = last + np.uint64(1)
    # A gap follows each range that the next one does not adjoin, and one goes before the first.
    gap = np.append(after[:-1] != first[1:], [True])[: len(after)]
    start = np.concatenate([np.zeros(1, dtype=np.uint64), first, after[gap]])
    of_gap = np.full(1 + int(gap.sum()), NOBODY)
    order = np.argsort(start, kind="stable")
    return Layer(
        start=start[order],
        key=np.concatenate([of_gap[:1], key, of_gap[1:]])[order],
        keys=tuple(key for _, ranges in plans for key in ranges.keys),
    )


def stack_layers(layers: Sequence[Layer]) -> Layer:
    """Lay plans over one another; the first that has a range decides who holds it.

    A region's name or a line type that it leaves open is taken from the next plan that gives it.
    """
    stack = Layer(start=np.zeros(1, np.uint64), key=np.array([NOBODY]), keys=())
    for layer in layers:
        start = np.union1d(stack.start, layer.start)
        upper, lower = (
            each.key[each.start.searchsorted(start, side="right") - 1] for each in (stack, layer)
        )
        # NOBODY is -1: with one added, the pairs of keys are numbered uniquely, and the first, of
        # the last piece, is nobody's.
        pairs, key = np.unique((upper + 1) * (len(layer.keys) + 1) + lower + 1, return_inverse=True)
        keys = []
        for pair in pairs[1:].tolist():
            at, below = divmod(pair, len(layer.keys) + 1)
            decisive = stack.keys[at - 1] if at else layer.keys[below - 1]
            if at and below:
                decisive = replace(
                    decisive,
                    region_name=decisive.region_name or layer.keys[below - 1].region_name,
                    line_type=decisive.line_type or layer.keys[below - 1].line_type,
                )
            keys.append(decisive)
        stack = Layer(start=start, key=key - 1, keys=keys)
    return stack
