"""The oracle: what the registry's files say of a number, found without the product's code.

The dump is a sorted array, the plan another one, and ``numpy.searchsorted`` finds a number in them.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from numroute.model import LineType, Operator, Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from numroute.model import Route

_ARRAYS = ("ported", "ported_fact", "first", "last", "range_fact")
_FACTS = "facts.json"


@dataclass(frozen=True, slots=True)
class Ported:
    """What a row of the dump says, as the dump writes it."""

    operator: str
    mnc: str
    routing_number: str
    region: str

    def agrees(self, route: Route) -> bool:
        """Whether a route says the same."""
        return (
            route.status is Status.PORTED
            and route.operator.code == self.operator
            and route.registry_mnc == self.mnc
            and route.routing_number == self.routing_number
            and route.region.code == self.region
        )


@dataclass(frozen=True, slots=True)
class Held:
    """What a row of the plan says."""

    operator: str
    tax_number: str
    region: str
    line_type: LineType

    def agrees(self, route: Route) -> bool:
        """Whether a route says the same; where there is a tax number, it names the operator."""
        return (
            route.status is Status.NOT_PORTED
            and (
                route.operator.tax_number == self.tax_number
                if self.tax_number
                else route.operator.name == self.operator
            )
            and route.region.name == self.region
            and route.line_type is self.line_type
        )


@dataclass(frozen=True, slots=True)
class Nobody:
    """What is in neither."""

    def agrees(self, route: Route) -> bool:
        """Whether a route says the same."""
        return route.status is Status.UNALLOCATED and route.operator == Operator()


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The files' contents.

    Attributes:
        ported: uint64[p], the dump's numbers, ascending.
        ported_fact: uint32[p], for each of them its place in ``facts``.
        first: uint64[r], where the plan's ranges begin, ascending.
        last: uint64[r], where they end.
        range_fact: uint32[r], for each of them its place in ``facts``.
        facts: What can be said of a number; the last entry is ``Nobody``.
    """

    ported: NDArray[np.uint64]
    ported_fact: NDArray[np.uint32]
    first: NDArray[np.uint64]
    last: NDArray[np.uint64]
    range_fact: NDArray[np.uint32]
    facts: Sequence[Ported | Held | Nobody]

    def is_ported(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which of the numbers stand in the dump."""
        place = np.searchsorted(self.ported, numbers)
        place[place == len(self.ported)] = 0
        found: NDArray[np.bool_] = self.ported[place] == numbers
        return found

    def expected(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """Return for each number the place in ``facts`` of what the files say of it."""
        facts = np.full(len(numbers), len(self.facts) - 1, np.uint32)
        piece = np.searchsorted(self.first, numbers, side="right") - 1
        held = (piece >= 0) & (numbers <= self.last[piece])
        facts[held] = self.range_fact[piece[held]]
        ported = self.is_ported(numbers)
        facts[ported] = self.ported_fact[np.searchsorted(self.ported, numbers[ported])]
        return facts

    def check(
        self,
        expected: NDArray[np.uint32],
        route_index: NDArray[np.integer],
        routes: Sequence[Route],
    ) -> None:
        """Compare every answer of a batch with what is expected.

        Args:
            expected: uint32[n], places in ``facts``.
            route_index: integer[n], places in ``routes``.
            routes: The routes that the answers point into.

        Raises:
            AssertionError: Some answer is wrong.
        """
        assert len(route_index) == len(expected)
        pairs = np.unique(expected.astype(np.int64) * len(routes) + route_index)
        wrong = [
            (self.facts[pair // len(routes)], routes[pair % len(routes)])
            for pair in pairs.tolist()
            if not self.facts[pair // len(routes)].agrees(routes[pair % len(routes)])
        ]
        assert not wrong, f"{len(wrong)} kinds of answers are wrong, e.g. {wrong[0]}"

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        rows = {
            kind.__name__: [astuple(fact) for fact in self.facts if isinstance(fact, kind)]
            for kind in (Ported, Held)
        }
        (folder / _FACTS).write_text(json.dumps(rows, ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Truth:
        """Return what ``save`` wrote; the arrays stay on disk until they are read."""
        rows = json.loads((folder / _FACTS).read_text("utf-8"))
        facts: list[Ported | Held | Nobody] = [Ported(*row) for row in rows[Ported.__name__]]
        facts += [
            Held(operator, tax_number, region, LineType(line_type))
            for operator, tax_number, region, line_type in rows[Held.__name__]
        ]
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        return cls(**arrays, facts=(*facts, Nobody()))
