"""The region table: the names of the regions that a registry gives by code only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute_loader.commented_csv import read_own_tables

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = ("region_code", "name")


def load_regions() -> Mapping[str, str]:
    """Return the name of each region code; registries add codes that are not in it.

    Raises:
        InputError: two rows of the project's tables name the same code.
    """
    names: dict[str, str] = {}
    for row in read_own_tables("_regions.csv", COLUMNS):
        code = row.cells["region_code"]
        if code in names:
            raise InputError(row.path, f"a second row for region {code}", line=row.line)
        names[code] = row.cells["name"]
    return names
