"""The oracle's own readers of a dump and of a plan, simple and slow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from benchmarks.oracle import Held, Nobody, Ported, Truth
from numroute.model import LineType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.registry import Registry

COUNTRY = 7 * 10**10
"""What to add to a national number of ten digits."""
CODE = 10**7
"""Numbers of one code of the plan."""

PORTED_COLUMNS = ("OwnerId", "MNC", "Route", "RegionCode")
_TAX_NUMBER = re.compile(r"\d{10}(\d{2})?")


def read_truth(registry: Registry) -> Truth:
    """Read the dump and the plans."""
    ported, ported_fact, ported_facts = _read_dump(registry.port_all)
    first, last, held = _read_plans(registry.plans.paths)
    held_facts = list(dict.fromkeys(held))
    place = {fact: len(ported_facts) + i for i, fact in enumerate(held_facts)}
    return Truth(
        ported=ported,
        ported_fact=ported_fact,
        first=first,
        last=last,
        range_fact=np.array([place[fact] for fact in held], np.uint32),
        facts=(*ported_facts, *held_facts, Nobody()),
    )


def _read_dump(path: Path) -> tuple[NDArray[np.uint64], NDArray[np.uint32], list[Ported]]:
    numbers, facts = [], []
    place: dict[str, int] = {}
    reader = csv.open_csv(
        path,
        parse_options=csv.ParseOptions(quote_char=False),
        convert_options=csv.ConvertOptions(
            include_columns=["Number", *PORTED_COLUMNS],
            column_types={"Number": pa.int64(), **dict.fromkeys(PORTED_COLUMNS, pa.string())},
        ),
    )
    for batch in reader:
        numbers.append(batch.column("Number").to_numpy())
        joined = pc.binary_join_element_wise(*map(batch.column, PORTED_COLUMNS), ",")
        encoded = pc.dictionary_encode(joined)
        mapping = [place.setdefault(text, len(place)) for text in encoded.dictionary.to_pylist()]
        facts.append(np.array(mapping, np.uint32)[encoded.indices.to_numpy()])
    ported = np.concatenate(numbers).astype(np.uint64) + np.uint64(COUNTRY)
    order = np.argsort(ported, kind="stable")
    return ported[order], np.concatenate(facts)[order], [Ported(*row.split(",")) for row in place]


def _read_plans(
    paths: Sequence[Path],
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], list[Held]]:
    """Return where ranges begin and end, ascending, and what each says."""
    rows: list[tuple[int, int, Held]] = []
    for path in paths:
        for line in path.read_text("utf-8-sig").splitlines():
            cells = [cell.strip() for cell in line.split(";")]
            if not cells[0].isdecimal():
                continue
            code = int(cells[0])
            base = COUNTRY + code * CODE
            rows.append((base + int(cells[1]), base + int(cells[2]), _held(code, cells)))
    rows.sort(key=lambda row: row[0])
    first, last, held = zip(*rows, strict=True)
    return np.array(first, np.uint64), np.array(last, np.uint64), list(held)


def _held(code: int, cells: list[str]) -> Held:
    """Read a row of 2021 (six columns) or of 2026 (then territory and tax number follow)."""
    region, territory, tax_number = (*cells[5:8], "", "")[:3]
    named = next((name for name in (region, territory) if name not in {"", "-"}), "")
    if code == 800:
        line_type = LineType.TOLL_FREE
    elif 801 <= code <= 809:
        line_type = LineType.SERVICE
    else:
        line_type = LineType.MOBILE if code >= 900 else LineType.FIXED
    return Held(
        operator=" ".join(cells[4].split()),
        tax_number=tax_number if _TAX_NUMBER.fullmatch(tax_number) else "",
        region=named,
        line_type=line_type,
    )
