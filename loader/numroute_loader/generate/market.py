"""Who takes part: operators with their market shares, and regions.

Codes, names, tax numbers and MNCs of ``operators.csv`` and ``regions.csv`` restate public tables
where those name them (registries.md, 1). Other operator codes are made up in the same style, and
so are the codes 85 to 88 of the regions that the registry added after 2022. Weights are round
figures of the right order.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MNC_PERIOD = 5
"""An operator with several MNCs uses its second one in one region of five, and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """An operator and its weight in the market.

    ``code`` is the registry's, ``tax_number`` is empty where it has none. ``mncs``: the usual one
    first. ``name``: as in the Operators dump, quotes included; ``spellings``: as in the numbering
    plan, the usual one first. ``areas``: where the operator works; empty means everywhere.
    ``gain``: weight among recipients. ``loss``: how readily its subscribers leave, per cent of the
    average. ``since``: first year in which it can receive numbers. ``capacity``: weight among the
    smaller holders of a numbering code.
    """

    code: str
    tax_number: str
    mncs: tuple[str, ...]
    name: str
    spellings: tuple[str, ...]
    areas: frozenset[str] = frozenset()
    gain: int
    loss: int
    since: int
    capacity: int = 0

    def mnc_in(self, region: int) -> str:
        """Return the MNC that the operator uses in a region, given by index."""
        place = region % MNC_PERIOD
        return self.mncs[place] if place < len(self.mncs) else self.mncs[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A region as the registry numbers it and as the plan's two columns name it."""

    code: str
    territory: str
    plan_names: tuple[str, ...]
    area: str
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """All operators and regions; arrays of the generator hold indexes into these."""

    operators: Sequence[Operator]
    regions: Sequence[Region]

    @property
    def areas(self) -> tuple[str, ...]:
        """The distinct areas, in the order of the regions."""
        return tuple(dict.fromkeys(region.area for region in self.regions))

    @property
    def area_of(self) -> NDArray[np.int64]:
        """Each region's index into ``areas``."""
        areas = self.areas
        return np.array([areas.index(region.area) for region in self.regions])


@cache
def load_market() -> Market:
    """Read the package's own tables."""
    return Market(
        operators=tuple(
            Operator(
                code=row["code"],
                tax_number=row["tax_number"],
                mncs=tuple(row["mncs"].split(",")),
                name=row["name"],
                spellings=tuple(row["spellings"].split("|")),
                areas=names(row["areas"]),
                gain=int(row["gain"]),
                loss=int(row["loss"]),
                since=int(row["since"]),
                capacity=int(row["capacity"]),
            )
            for row in read_table("operators")
        ),
        regions=tuple(
            Region(
                code=row["code"],
                territory=row["territory"],
                plan_names=tuple(row["plan_name"].split("|")),
                area=row["area"],
                people=int(row["people"]),
            )
            for row in read_table("regions")
        ),
    )


def names(cell: str) -> frozenset[str]:
    """Return the names in a cell, which are apart by commas."""
    return frozenset(filter(None, cell.split(",")))


def read_table(name: str) -> list[dict[str, str]]:
    """Read one of the package's own tables: ``;`` between fields, quotes are data."""
    path = Path(__file__).with_name(f"{name}.csv")
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter=";", quoting=csv.QUOTE_NONE))
