"""The oracle: what the registry's files say of a number, found without the product's code.

The dump is one sorted array, the plan another, and ``numpy.searchsorted`` finds a number in them.
The readers here are simple and slow.
"""

from __future__ import annotations

import csv as text_csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

COUNTRY = 7 * 10**10
"""What to add to a national number of ten digits."""

PORTED_COLUMNS = ("OwnerId", "MNC", "Route", "RegionCode")
_TAX_NUMBER = re.compile(r"\d{10}(\d{2})?")


class Ported(NamedTuple):
    """What a row of the dump says, as the dump writes it."""

    operator: str
    mnc: str
    routing_number: str
    region: str

    def agrees(self, route: Any) -> bool:  # noqa: ANN401 - a route of the index or of the wire
        """Whether a route says the same."""
        return (
            _status(route) == "PORTED"
            and route.operator.code == self.operator
            and route.registry_mnc == self.mnc
            and route.routing_number == self.routing_number
            and route.region.code == self.region
        )


class Held(NamedTuple):
    """What a row of the plan says."""

    operator: str
    tax_number: str
    region: str

    def agrees(self, route: Any) -> bool:  # noqa: ANN401 - as above
        """Whether a route says the same; a tax number names the operator better than its name."""
        return (
            _status(route) == "NOT_PORTED"
            and (
                route.operator.tax_number == self.tax_number
                if self.tax_number
                else route.operator.name == self.operator
            )
            and route.region.name == self.region
        )


class Unallocated(NamedTuple):
    """What neither file has."""

    def agrees(self, route: Any) -> bool:  # noqa: ANN401 - as above
        """Whether a route says the same."""
        return _status(route) == "UNALLOCATED" and not (route.operator and route.operator.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The contents of a dump and of a plan.

    ``ported``: uint64[p], the dump's numbers, ascending. ``ported_fact``: uint32[p], for each of
    them its index into ``facts``. ``first``, ``last``: uint64[r], the plan's ranges, ascending.
    ``range_fact``: uint32[r]. ``facts``: what can be said of a number; the first is Unallocated.
    """

    ported: NDArray[np.uint64]
    ported_fact: NDArray[np.uint32]
    first: NDArray[np.uint64]
    last: NDArray[np.uint64]
    range_fact: NDArray[np.uint32]
    facts: Sequence[Ported | Held | Unallocated]

    def is_ported(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which of the numbers are in the dump."""
        place = np.searchsorted(self.ported, numbers)
        place[place == len(self.ported)] = 0
        found: NDArray[np.bool_] = self.ported[place] == numbers
        return found

    def expected(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """Return for each number the index into ``facts`` of what the files say of it."""
        facts = np.zeros(len(numbers), np.uint32)
        piece = np.searchsorted(self.first, numbers, side="right") - 1
        held = (piece >= 0) & (numbers <= self.last[piece])
        facts[held] = self.range_fact[piece[held]]
        ported = self.is_ported(numbers)
        facts[ported] = self.ported_fact[np.searchsorted(self.ported, numbers[ported])]
        return facts

    def check(
        self, numbers: NDArray[np.uint64], route_index: NDArray[Any], routes: Sequence[Any]
    ) -> None:
        """Assert that every answer is what the files say; the indexes point into ``routes``."""
        assert len(route_index) == len(numbers), f"{len(route_index)} answers to {len(numbers)}"
        kinds = self.expected(numbers).astype(np.int64) * len(routes) + route_index
        for kind in np.unique(kinds).tolist():
            fact, route = self.facts[kind // len(routes)], routes[kind % len(routes)]
            assert fact.agrees(route), f"a wrong answer: {route}, the files say {fact}"

    def after(self, increments: Iterable[Path]) -> Truth:
        """Return what the files say once the increments of one window are applied."""
        rows: list[dict[str, str]] = []
        for path in increments:
            with path.open(encoding="utf-8", newline="") as file:
                rows += text_csv.DictReader(file)
        # Of several rows for one number the latest counts.
        rows.sort(key=lambda row: (row["PortDate"], int(row["NPId"])))
        changes = {COUNTRY + int(row["Number"]): _ported_by(row) for row in rows}
        facts = list(self.facts)
        place = {fact: index for index, fact in enumerate(facts)}
        for fact in changes.values():
            if fact is not None and place.setdefault(fact, len(facts)) == len(facts):
                facts.append(fact)
        kept = ~np.isin(self.ported, np.array(list(changes), np.uint64))
        new = {number: place[fact] for number, fact in changes.items() if fact is not None}
        ported = np.concatenate((self.ported[kept], np.array(list(new), np.uint64)))
        fact_of = np.concatenate((self.ported_fact[kept], np.array(list(new.values()), np.uint32)))
        order = np.argsort(ported, kind="stable")
        return replace(self, ported=ported[order], ported_fact=fact_of[order], facts=facts)


def read_truth(dump: Path, plans: Sequence[Path]) -> Truth:
    """Read a Port_All dump and the files of a plan, as CSV."""
    facts: dict[Ported | Held | Unallocated, int] = {Unallocated(): 0}
    ported, ported_fact = _read_dump(dump, facts)
    rows = sorted((row for path in plans for row in _read_plan(path)), key=lambda row: row[0])
    first, last, held = zip(*rows, strict=True)
    return Truth(
        ported=ported,
        ported_fact=ported_fact,
        first=np.array(first, np.uint64),
        last=np.array(last, np.uint64),
        range_fact=np.array([facts.setdefault(fact, len(facts)) for fact in held], np.uint32),
        facts=list(facts),
    )


def _ported_by(row: dict[str, str]) -> Ported | None:
    """Return what an increment's row makes of its number; None when it goes home."""
    if row.get("RecipientId", row["RangeHolderId"]) == row["RangeHolderId"]:
        return None
    return Ported(row["RecipientId"], row["NewMNC"], row["NewRoute"], row["RegionCode"])


def _read_dump(
    path: Path, facts: dict[Ported | Held | Unallocated, int]
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    numbers, found = [], []
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
        encoded = pc.dictionary_encode(
            pc.binary_join_element_wise(*map(batch.column, PORTED_COLUMNS), ",")
        )
        mapping = [
            facts.setdefault(Ported(*text.split(",")), len(facts))
            for text in encoded.dictionary.to_pylist()
        ]
        found.append(np.array(mapping, np.uint32)[encoded.indices.to_numpy()])
    ported = np.concatenate(numbers).astype(np.uint64) + np.uint64(COUNTRY)
    order = np.argsort(ported, kind="stable")
    return ported[order], np.concatenate(found)[order]


def _read_plan(path: Path) -> list[tuple[int, int, Held]]:
    """Return first and last number of each range, and what the row says.

    Rows have six columns (2021) or, after the region, also territory and tax number (2026).
    """
    rows = []
    for line in path.read_text("utf-8-sig").splitlines():
        cells = [cell.strip() for cell in line.split(";")]
        if not cells[0].isdecimal():
            continue
        base = COUNTRY + int(cells[0]) * 10**7
        region, territory, tax_number = (*cells[5:8], "", "")[:3]
        held = Held(
            operator=" ".join(cells[4].split()),
            tax_number=tax_number if _TAX_NUMBER.fullmatch(tax_number) else "",
            region=next((name for name in (region, territory) if name not in {"", "-"}), ""),
        )
        rows.append((base + int(cells[1]), base + int(cells[2]), held))
    return rows


def _status(route: Any) -> str:  # noqa: ANN401 - as above
    """Return a status by name, whether it is the index's or the wire's."""
    if isinstance(route.status, int) and not hasattr(route.status, "name"):
        # Imported here: most benchmarks do without the wire.
        from numroute.v1 import number_routing_pb2 as pb  # noqa: PLC0415

        return pb.Status.Name(route.status).removeprefix("STATUS_")
    return str(route.status.name)
