"""Made-up parsed files, and a slow way to read merged content."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from numroute.index.content import Content
from numroute.model import Operator, Route
from numroute_loader.brands import Brand, BrandTable
from numroute_loader.reading.description import (
    ParsedFile,
    PortedRecords,
    Ranges,
    RouteKey,
    SourceFile,
)

BRANDS = BrandTable(
    layers=(
        {
            ("mA", ""): Brand(brand="Alpha", mcc="001", mnc="01"),
            ("mA", "09"): Brand(brand="Old Alpha"),
            ("7000000003", ""): Brand(brand="Gamma", mcc="001", mnc="03"),
        },
    )
)
REGIONS = {"77": "Столица", "78": "Порт"}


def source(name: str, registry: str, layer: str) -> SourceFile:
    """Describe a made-up file."""
    return SourceFile(path=Path(name), name=name, registry=registry, kind="kind", layer=layer)


def plan_file(
    rows: list[tuple[int, int, RouteKey]], *, name: str = "plan.csv", registry: str = "plan"
) -> ParsedFile:
    """Return a plan of (first, last, key)."""
    keys = list(dict.fromkeys(key for _, _, key in rows))
    return ParsedFile(
        source=source(name, registry, "ranges"),
        ranges=Ranges(
            first=np.array([first for first, _, _ in rows], np.uint64),
            last=np.array([last for _, last, _ in rows], np.uint64),
            key=np.array([keys.index(key) for _, _, key in rows], np.uint32),
            keys=keys,
        ),
    )


def dump_file(
    records: dict[int, RouteKey], *, donors: dict[int, str] | None = None, name: str = "dump.csv"
) -> ParsedFile:
    """Return a full dump of number -> key."""
    keys = list(dict.fromkeys(records.values()))
    codes = sorted(set(donors.values())) if donors else []
    numbers = sorted(records)
    return ParsedFile(
        source=source(name, "bdpn", "ported"),
        ported=PortedRecords(
            numbers=np.array(numbers, np.uint64),
            route=np.array([keys.index(records[number]) for number in numbers], np.uint16),
            keys=keys,
            donor=None
            if donors is None
            else np.array([codes.index(donors[number]) for number in numbers], np.uint8),
            donor_codes=codes,
        ),
    )


def operator_file(*rows: tuple[str, str, str, str], name: str = "operators.csv") -> ParsedFile:
    """Return an operator table of (code, MNC, tax number, name)."""
    return ParsedFile(
        source=source(name, "bdpn", "operators"),
        operators=[
            RouteKey(
                operator_code=code, registry_mnc=mnc, tax_number=tax_number, operator_name=text
            )
            for code, mnc, tax_number, text in rows
        ],
    )


def range_route_at(content: Content, number: int) -> Route:
    """Return the route of the piece that a number lies in, found by walking over the pieces."""
    row = 0
    for start, candidate in zip(
        content.range_start.tolist(), content.range_route.tolist(), strict=True
    ):
        if start <= number:
            row = candidate
    return content.routes[row]


def ported_routes(content: Content) -> dict[int, Route]:
    """Return number -> route."""
    return {
        number: content.routes[row]
        for number, row in zip(content.numbers.tolist(), content.number_route.tolist(), strict=True)
    }


OPERATOR_ROWS = (
    ("mA", "01", "7000000001", "Альфа"),
    ("mA", "09", "", "Альфа"),
    ("mB", "02", "7000000002", "Бета"),
    ("mC", "03", "", "Гамма"),
    ("mD", "03", "", "Двойник"),
    ("mE", "03", "", "Двойник"),
)
TABLE = {
    "mA": Operator(code="mA", name="Альфа", tax_number="7000000001"),
    "mB": Operator(code="mB", name="Бета", tax_number="7000000002"),
    "mC": Operator(code="mC", name="Гамма"),
    "mD": Operator(code="mD", name="Двойник"),
    "mE": Operator(code="mE", name="Двойник"),
}
