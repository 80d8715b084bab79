"""The two small dumps: Operators and the registry's own Numbering_plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numroute_loader.generate.market import Market
    from numroute_loader.generate.plan import HeldRanges


def operators_bytes(market: Market) -> bytes:
    """Return the Operators dump: a row for each operator and MNC, ordered by code."""
    rows = sorted(
        (operator.code, mnc, operator.tax_number, operator.name)
        for operator in market.operators
        for mnc in operator.mncs
    )
    return _dump("OrgCode,MNC,TIN,OrgName", [",".join(row) for row in rows])


def numbering_plan_bytes(market: Market, ranges: HeldRanges) -> bytes:
    """Return the Numbering_plan dump: the mobile ranges with holder, region and MNC."""
    rows = zip(
        ranges.first.tolist(),
        ranges.last.tolist(),
        ranges.operator.tolist(),
        ranges.region.tolist(),
        strict=True,
    )
    lines = []
    for first, last, holder, region in rows:
        operator = market.operators[holder]
        code = market.regions[region].code
        lines.append(f"{first},{last},{operator.code},{code},{operator.mnc_in(region)}")
    return _dump("NumberFrom,NumberTo,OwnerId,RegionCode,MNC", lines)


def _dump(columns: str, rows: list[str]) -> bytes:
    """Add the RowCount column: the number of rows in the first one, nothing in the others."""
    lines = [f"{columns},RowCount"]
    lines += [f"{row},{'' if i else len(rows)}" for i, row in enumerate(rows)]
    return "".join(f"{line}\r\n" for line in lines).encode()
