"""The tables of brands, with the MCC-MNC that a message router uses, and of region names.

A registry's own MNC is not reliably that of a radio network, so an MCC-MNC is never derived from
it: an operator without a row in the brand table has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from numroute_loader.commented_csv import Row, read_own_tables, read_table


class _BrandCells(msgspec.Struct, kw_only=True):
    brand: str
    tax_number: str = ""
    operator_code: str = ""
    registry_mnc: str = ""
    mcc: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{3}\Z")] = ""
    mnc: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{2,3}\Z")] = ""

    def __post_init__(self) -> None:
        if not self.operator_code and not self.tax_number:
            raise ValueError("a row needs a tax_number or an operator_code")
        if bool(self.mcc) != bool(self.mnc):
            raise ValueError("mcc and mnc stand together or not at all")


class _RegionCells(msgspec.Struct, kw_only=True):
    region_code: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """A brand and its network; ``mcc`` and ``mnc`` are empty where it has no own network."""

    brand: str = ""
    mcc: str = ""
    mnc: str = ""


NO_BRAND = Brand()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandTable:
    """Brands by operator.

    ``layers`` are searched in order: a user's table before the project's own. A key is (operator
    code or tax number, registry MNC or "").
    """

    layers: Sequence[Mapping[tuple[str, str], Brand]] = ()

    def find(self, *, code: str = "", tax_number: str = "", registry_mnc: str = "") -> Brand:
        """Return the brand of an operator, ``NO_BRAND`` where no row names it.

        Within a table a row with the registry's MNC is preferred to one without, and then the
        operator's code to its tax number.
        """
        keys = [(identity, mnc) for mnc in (registry_mnc, "") for identity in (code, tax_number)]
        return next((layer[key] for layer in self.layers for key in keys if key in layer), NO_BRAND)


def load_brands(path: Path | None = None) -> BrandTable:
    """Return the project's brand table; rows of the user's table at ``path`` override it.

    Raises InputError, with the line, when the user's table cannot be read or is wrong.
    """
    own = _by_operator(read_own_tables("_brands.csv", _BrandCells))
    layers = [_by_operator(read_table(path, _BrandCells))] if path is not None else []
    return BrandTable(layers=(*layers, own))


def _by_operator(rows: Iterable[Row[_BrandCells]]) -> Mapping[tuple[str, str], Brand]:
    """Return the rows by operator code and by tax number."""
    found: dict[tuple[str, str], Row[_BrandCells]] = {}
    for row in rows:
        for identity in filter(None, (row.cells.operator_code, row.cells.tax_number)):
            first = found.setdefault((identity, row.cells.registry_mnc), row)
            if first is not row:
                raise row.error(
                    f"a second row for the operator {identity}, the first is on line {first.line}",
                    hint="Keep one of them, or distinguish them by registry_mnc",
                )
    return {
        key: Brand(brand=row.cells.brand, mcc=row.cells.mcc, mnc=row.cells.mnc)
        for key, row in found.items()
    }


def load_regions() -> Mapping[str, str]:
    """Return the name of each region code; registries have further codes."""
    rows = read_own_tables("_regions.csv", _RegionCells)
    return {row.cells.region_code: row.cells.name for row in rows}
