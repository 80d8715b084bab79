"""The tables of brands, with the MCC-MNC that a message router uses, and of region names.

A registry's own MNC is not reliably that of a radio network, so an MCC-MNC is never derived from
it: an operator without a row in the brand table has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute_loader.commented_csv import read_own_tables, read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numroute_loader.commented_csv import Row

COLUMNS = ("tax_number", "operator_code", "registry_mnc", "brand", "mcc", "mnc")

_REGION_COLUMNS = ("region_code", "name")

_MCC = re.compile(r"[0-9]{3}", re.ASCII)
_MNC = re.compile(r"[0-9]{2,3}", re.ASCII)


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
        for layer in self.layers:
            for mnc in (registry_mnc, "") if registry_mnc else ("",):
                for identity in (code, tax_number):
                    if identity and (identity, mnc) in layer:
                        return layer[identity, mnc]
        return NO_BRAND


def load_brands(path: Path | None = None) -> BrandTable:
    """Return the project's brand table; rows of the user's table at ``path`` override it.

    Raises InputError, with the line, when the user's table cannot be read or is wrong.
    """
    own = _by_operator(read_own_tables("_brands.csv", COLUMNS))
    if path is None:
        return BrandTable(layers=(own,))
    return BrandTable(layers=(_by_operator(read_table(path, COLUMNS)), own))


def _by_operator(rows: Iterable[Row]) -> Mapping[tuple[str, str], Brand]:
    """Return the rows by operator code and by tax number."""
    brands: dict[tuple[str, str], Brand] = {}
    line_of: dict[tuple[str, str], int] = {}
    for row in rows:
        brand = _brand(row)
        keys = [
            (identity, row.cells["registry_mnc"])
            for identity in (row.cells["operator_code"], row.cells["tax_number"])
            if identity
        ]
        for key in keys:
            if key in brands:
                raise InputError(
                    row.path,
                    f"a second row for the operator {key[0]}, the first is on line {line_of[key]}",
                    line=row.line,
                    hint="Keep one of them, or distinguish them by registry_mnc",
                )
            brands[key] = brand
            line_of[key] = row.line
    return brands


def _brand(row: Row) -> Brand:
    """Check a row and return its brand."""
    cells = row.cells
    wrong = ""
    if not cells["operator_code"] and not cells["tax_number"]:
        wrong = "a row needs a tax_number or an operator_code"
    elif not cells["brand"]:
        wrong = "a row needs a brand"
    elif bool(cells["mcc"]) != bool(cells["mnc"]):
        wrong = "mcc and mnc stand together or not at all"
    elif cells["mcc"] and not _MCC.fullmatch(cells["mcc"]):
        wrong = "mcc is not three digits"
    elif cells["mnc"] and not _MNC.fullmatch(cells["mnc"]):
        wrong = "mnc is not two or three digits"
    if wrong:
        raise InputError(
            row.path, wrong, line=row.line, hint="Leading zeros of mnc count: write 01, not 1"
        )
    return Brand(brand=cells["brand"], mcc=cells["mcc"], mnc=cells["mnc"])


def load_regions() -> Mapping[str, str]:
    """Return the name of each region code; registries add codes that are not in it."""
    names: dict[str, str] = {}
    for row in read_own_tables("_regions.csv", _REGION_COLUMNS):
        code = row.cells["region_code"]
        if code in names:
            raise InputError(row.path, f"a second row for region {code}", line=row.line)
        names[code] = row.cells["name"]
    return names
