"""Who takes part: operators with their market shares, and regions.

Codes, names, tax numbers and MNCs of ``operators.csv`` and ``regions.csv`` restate public tables
where those name them (registries.md, 1). Other operator codes are made up in the same style, and
so are the codes 85 to 88 of the regions that the registry added after 2022. Weights are round
figures of the right order.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

MNC_PERIOD = 5
"""An operator with several MNCs uses its second one in one region of five, and so on."""

_SEPARATORS = {"mncs": ",", "areas": ",", "spellings": "|", "plan_names": "|"}
"""The columns that hold several values."""

_Row = TypeVar("_Row")


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """An operator and its weight in the market; one of fixed networks has no code.

    ``mncs``: the usual one first. ``name``: as in the Operators dump, quotes included;
    ``spellings``: as in the numbering plan, the usual one first. ``areas``: where the operator
    works; empty means everywhere. ``gain``: weight among recipients. ``loss``: how readily its
    subscribers leave, per cent of the average. ``since``: first year in which it can receive
    numbers. ``capacity``: weight among the smaller holders of a numbering code.
    """

    code: str = ""
    tax_number: str = ""
    mncs: tuple[str, ...] = ()
    name: str = ""
    spellings: tuple[str, ...]
    areas: tuple[str, ...] = ()
    gain: int = 0
    loss: int = 0
    since: int = 0
    capacity: int = 0

    def mnc_in(self, region: int) -> str:
        """Return the MNC that the operator uses in a region, given by index."""
        place = region % MNC_PERIOD
        return self.mncs[place] if place < len(self.mncs) else self.mncs[0]

    def works_in(self, area: str) -> bool:
        """Return whether the operator has a network there."""
        return not self.areas or area in self.areas


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A region as the registry numbers it and as the plan's two columns name it."""

    code: str
    territory: str
    plan_names: tuple[str, ...]
    area: str
    people: int


class Market(NamedTuple):
    """All operators and regions; arrays of the generator hold indexes into these."""

    operators: tuple[Operator, ...]
    regions: tuple[Region, ...]

    @property
    def areas(self) -> tuple[str, ...]:
        """The distinct areas, in the order of the regions."""
        return tuple(dict.fromkeys(region.area for region in self.regions))

    @property
    def area_of(self) -> NDArray[np.int64]:
        """Each region's index into ``areas``."""
        return np.array([self.areas.index(region.area) for region in self.regions])


@cache
def load_market() -> Market:
    """Read the package's own tables."""
    return Market(read_table("operators", Operator), read_table("regions", Region))


def read_table(name: str, kind: type[_Row]) -> tuple[_Row, ...]:
    """Read one of the package's own tables: ``;`` between fields, quotes are data."""
    path = Path(__file__).with_name(f"{name}.csv")
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [
            {
                column: list(filter(None, cell.split(_SEPARATORS[column])))
                if column in _SEPARATORS
                else cell
                for column, cell in row.items()
            }
            for row in csv.DictReader(lines, delimiter=";", quoting=csv.QUOTE_NONE)
        ]
    return msgspec.convert(tuple(rows), tuple[kind, ...], strict=False)  # type: ignore[valid-type]
