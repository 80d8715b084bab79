"""What a campaign costs, against sums over rows in plain Python."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from numroute.errors import InputError
from numroute.index import SnapshotStore
from numroute.model import Operator, Status
from numroute_campaign.prices import read_prices

PRICES = {
    "MTS": Decimal("2.35"),
    "MegaFon": Decimal("1.999"),
    "Beeline": Decimal(3),
    "Tele2": Decimal("0.5"),
}
"""A price per segment of brands; all others have none."""

ROWS = 3000
LEAVES = {Status.PORTED, Status.NOT_PORTED}


@dataclass(frozen=True)
class Row:
    """A row of the list, and who answers for its number."""

    number: int
    segments: int
    serving: Operator
    holder: Operator
    status: Status


def price_file(path: Path, *head: str) -> Path:
    """Write a price list of the brands."""
    lines = ['currency = "RUB"', *head]
    for brand, price in PRICES.items():
        lines += ["[[price]]", f'brand = "{brand}"', f'price = "{price}"']
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.fixture(scope="module")
def rows(store: Path, ported: list[int]) -> list[Row]:
    """Return ported and other numbers, every fifth of them a second time, of 1 to 4 segments."""
    rng = np.random.default_rng(8)
    others = (79_160_000_000 + rng.integers(0, 30_000_000, ROWS)).tolist()
    numbers = [*ported[: ROWS // 2], *others]
    numbers += numbers[::5]
    rng.shuffle(numbers)
    with SnapshotStore(store).open() as snapshot:
        found = snapshot.lookup(np.array(numbers, np.uint64), range_route=True)
        assert found.range_route is not None
        return [
            Row(
                number=number,
                segments=1 + i % 4,
                serving=snapshot.route(route).operator,
                holder=snapshot.route(held).operator,
                status=snapshot.route(route).status,
            )
            for i, (number, route, held) in enumerate(
                zip(numbers, found.route.tolist(), found.range_route.tolist(), strict=True)
            )
        ]


@pytest.fixture(scope="module")
def list_file(rows: list[Row], tmp_path_factory) -> Path:
    """Return the rows as a list."""
    path = tmp_path_factory.mktemp("costs") / "list.csv"
    text = "".join(f"{row.number},{row.segments}\n" for row in rows)
    path.write_text("phone,parts\n" + text, "ascii")
    return path


@dataclass
class Sums:
    """Amounts, and what they leave out."""

    total: Decimal = Decimal(0)
    duplicates: Decimal = Decimal(0)
    by_prefix: Decimal = Decimal(0)
    unpriced: int = 0


def sums(rows: list[Row], *, segments: bool, factor: int = 1) -> Sums:
    """Add up row by row."""
    found, seen = Sums(), set()
    for row in rows:
        if row.status not in LEAVES:
            continue
        price = PRICES.get(row.serving.brand)
        parts = row.segments if segments else factor
        if row.number in seen:
            found.duplicates += (price or 0) * parts
            continue
        seen.add(row.number)
        if price is None:
            found.unpriced += 1
            continue
        found.total += price * parts
        wrong = price
        if row.status is Status.PORTED and row.holder != row.serving:
            wrong = PRICES.get(row.holder.brand, price)
        found.by_prefix += wrong * parts
    return found


def cents(amount: Decimal) -> str:
    """Return an amount as the summary has it."""
    return str(amount.quantize(Decimal("0.01")))


@pytest.mark.parametrize("parts", ["one", "three", "column"])
def test_costs_are_sums_over_the_rows(
    route, rows: list[Row], list_file: Path, tmp_path: Path, parts: str
) -> None:
    """Total and both savings are what the rows add up to, however segments are counted."""
    words = {"one": (), "three": ("--segments", 3), "column": ("--segments-column", "parts")}
    prices = price_file(tmp_path / "prices.toml")
    routed = route(list_file, "--column", "phone", "--prices", prices, *words[parts])
    expected = sums(
        rows,
        segments=parts == "column",
        factor=3 if parts == "three" else 1,
    )
    cost = routed.summary["cost"]
    assert expected.by_prefix != expected.total
    assert expected.duplicates > 0
    assert cost["currency"] == "RUB"
    assert cost["total"] == cents(expected.total)
    assert cost["saved_duplicates"] == cents(expected.duplicates)
    assert cost["by_prefix"] == cents(expected.by_prefix)
    assert cost["saved_by_prefix"] == cents(expected.by_prefix - expected.total)
    assert cost["unpriced_numbers"] == expected.unpriced > 0


def test_costs_per_operator_add_up(route, rows: list[Row], list_file: Path, tmp_path: Path) -> None:
    """Each operator's cost is its numbers' segments at its own price."""
    prices = price_file(tmp_path / "prices.toml")
    routed = route(
        list_file, "--column", "phone", "--prices", prices, "--segments-column", "parts"
    )  # fmt: skip
    expected: Counter[str] = Counter()
    for row in {row.number: row for row in reversed(rows)}.values():
        if row.status in LEAVES and row.serving.brand in PRICES:
            expected[row.serving.brand] += row.segments
    found = {each["brand"]: each for each in routed.summary["operators"] if each["cost"]}
    assert set(found) == set(expected) == set(PRICES)
    for brand, parts in expected.items():
        assert found[brand]["price"] == str(PRICES[brand])
        assert found[brand]["parts"] == parts
        assert found[brand]["cost"] == cents(PRICES[brand] * parts)


def test_prices_missing_are_said_beside_the_total(
    route, rows: list[Row], list_file: Path, tmp_path: Path
) -> None:
    """Operators without a price are named and counted wherever the total stands."""
    prices = price_file(tmp_path / "prices.toml")
    routed = route(list_file, "--column", "phone", "--prices", prices)
    expected = sums(rows, segments=False)
    missing = Counter(
        row.serving.brand or row.serving.name
        for row in {row.number: row for row in rows}.values()
        if row.status in LEAVES and row.serving.brand not in PRICES
    )
    assert set(routed.summary["cost"]["unpriced_operators"]) == set(missing)
    beside = f"RUB, without {expected.unpriced:,} numbers that have no price"
    assert beside in routed.result.out
    name, _ = missing.most_common(1)[0]
    assert name in (routed.folder / "report.html").read_text("utf-8")


def test_a_price_of_a_route_wins_for_that_route_only(
    route, rows: list[Row], list_file: Path, tmp_path: Path
) -> None:
    """The first price that matches counts; one with a route is not for others."""
    policy, prices = tmp_path / "policy.toml", tmp_path / "prices.toml"
    policy.write_text('[[rule]]\nbrand = "MTS"\nroute = "own"\n[[rule]]\nroute = "rest"\n', "utf-8")
    prices.write_text(
        'currency = "EUR"\n[[price]]\nroute = "own"\nprice = "0.01"\n[[price]]\nprice = "1"\n',
        "utf-8",
    )
    routed = route(list_file, "--column", "phone", "--policy", policy, "--prices", prices)
    costs = {each["name"]: each["cost"] for each in routed.summary["routes"]}
    once = {row.number: row for row in rows if row.status in LEAVES}.values()
    own = sum(row.serving.brand == "MTS" for row in once)
    assert costs["own"] == cents(own * Decimal("0.01"))
    assert costs["rest"] == cents(Decimal(len(once) - own))


def test_duplicates_of_suppressed_numbers_save_nothing(route, tmp_path: Path) -> None:
    """Who is on the do-not-send list would not have got the second message either."""
    clients, stop, prices = tmp_path / "c.csv", tmp_path / "s.csv", tmp_path / "p.toml"
    clients.write_text("phone\n" + "79161110000\n79161110001\n" * 2, "ascii")
    stop.write_text("phone\n79161110000\n", "ascii")
    prices.write_text('currency = "RUB"\n[[price]]\nprice = "2"\n', "ascii")
    cost = route(clients, "--suppress", stop, "--prices", prices).summary["cost"]
    assert (cost["total"], cost["saved_duplicates"]) == ("2.00", "2.00")


def test_segments_that_are_none_count_as_one(route, tmp_path: Path) -> None:
    """Cells outside of 1 to 255 count as one segment each, and a warning counts the rows."""
    cells = ("0", "x", "", "256", "300", "99999999999", "-1", "1", "255", "2.0")
    clients, prices = tmp_path / "clients.csv", tmp_path / "prices.toml"
    rows = "".join(f"7916111{i:04},{cell}\n" for i, cell in enumerate(cells))
    clients.write_text("phone,parts\n" + rows, "ascii")
    prices.write_text('currency = "RUB"\n[[price]]\nprice = "1"\n', "ascii")
    routed = route(clients, "--prices", prices, "--segments-column", "parts")
    assert routed.summary["cost"]["total"] == f"{8 + 255 + 2}.00"
    assert "rows without a whole number of segments from 1 to 255, taken as 1: 7" in routed.err


@pytest.mark.parametrize("fraction", ["2.5", "0,5"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_half_a_segment_is_an_error(route, tmp_path: Path, fraction: str, form: str) -> None:
    """No message has 2.5 segments: the run ends and names the row; ``2.0`` is two."""
    cells = ["2.0"] * 70 + [fraction, "1"]
    table = pa.table(
        {
            "phone": [f"7916111{i:04}" for i in range(len(cells))],
            "parts": [float(cell.replace(",", ".")) for cell in cells]
            if form == "parquet"
            else cells,
        }
    )
    path, prices = tmp_path / f"clients.{form}", tmp_path / "prices.toml"
    (pq.write_table if form == "parquet" else pa_csv.write_csv)(table, path)
    prices.write_text('currency = "RUB"\n[[price]]\nprice = "1"\n', "ascii")
    words = ("--column", "phone", "--prices", prices, "--segments-column", "parts")
    err = route(path, *words, status=1).err
    assert "the segments of row 71 are a fraction" in err


@pytest.mark.parametrize("category", [None, "service", "authorisation"])
def test_each_category_has_its_prices(
    route, rows: list[Row], list_file: Path, tmp_path: Path, category: str | None
) -> None:
    """The list is billed in its own category; the cost in every other one is said beside it."""
    prices = tmp_path / "prices.toml"
    prices.write_text(
        'currency = "RUB"\n'
        '[[price]]\ncategory = "advertising"\nprice = "3.10"\n'
        '[[price]]\ncategory = ["service", "transactional"]\nprice = "1.05"\n'
        '[[price]]\nbrand = "MTS"\nprice = "9"\n',
        "utf-8",
    )
    words = () if category is None else ("--category", category)
    cost = route(list_file, "--column", "phone", "--prices", prices, *words).summary["cost"]
    once = {row.number: row for row in rows if row.status in LEAVES}.values()
    mts = sum(row.serving.brand == "MTS" for row in once)
    expected = {
        "advertising": (cents(Decimal("3.10") * len(once)), 0),
        "transactional": (cents(Decimal("1.05") * len(once)), 0),
        "service": (cents(Decimal("1.05") * len(once)), 0),
    }
    if category == "authorisation":
        expected["authorisation"] = (cents(Decimal(9) * mts), len(once) - mts)
    assert {
        each["category"]: (each["total"], each["unpriced_numbers"]) for each in cost["categories"]
    } == expected
    assert cost["category"] == (category or "advertising")
    assert cost["total"] == expected[cost["category"]][0]


def test_the_volume_step_that_is_reached_applies_to_all(
    route, rows: list[Row], list_file: Path, tmp_path: Path
) -> None:
    """Segments sent before count towards the step; what the next step would save is said."""
    once = {row.number: row for row in rows if row.status in LEAVES}.values()
    mts = sum(row.serving.brand == "MTS" for row in once)
    prices = tmp_path / "prices.toml"
    prices.write_text(
        f'currency = "RUB"\nsegments = 2\n[[price]]\nbrand = "MTS"\nprice = "3"\nsent = 1000\n'
        f'step = [{{ from = {1000 + 2 * mts}, price = "2.5" }}, '
        f'{{ from = {1001 + 2 * mts}, price = "2" }}]\n[[price]]\nprice = 1\n',
        "utf-8",
    )
    cost = route(list_file, "--column", "phone", "--prices", prices).summary["cost"]
    assert cost["total"] == cents(Decimal("2.5") * 2 * mts + 2 * (len(once) - mts))
    assert cost["next_steps"] == [
        {
            "name": "MTS",
            "segments": 1000 + 2 * mts,
            "price": "2.5",
            "next_from": 1001 + 2 * mts,
            "next_price": "2",
            "saving": cents(Decimal(mts)),
        }
    ]


BAD_PRICES = {
    "currency": ('currency = "rubles"\n', "currency: Expected 'str' matching regex"),
    "no currency": ("segments = 1\n", "missing required field 'currency'"),
    "segments": ('currency = "RUB"\nsegments = 256\n', "segments: Expected 'int' <= 255"),
    "amount": (
        'currency = "RUB"\n[[price]]\nprice = "2,35"\n',
        "price 1.price: Invalid",
    ),
    "negative": ('currency = "RUB"\n[[price]]\nprice = -1\n', "price 1: price: invalid amount"),
    "no amount": (
        'currency = "RUB"\n[[price]]\nbrand = "MTS"\n',
        "price 1: Object missing",
    ),
    "true": ('currency = "RUB"\n[[price]]\nprice = true\n', "price 1.price: Expected"),
    "category": (
        'currency = "RUB"\n[[price]]\nprice = 1\ncategory = "advert"\n',
        "price 1.category",
    ),
    "no category": (
        'currency = "RUB"\n[[price]]\nprice = 1\ncategory = []\n',
        "price 1.category",
    ),
    "steps": (
        'currency = "RUB"\n[[price]]\nprice = 3\nstep = [{from=9, price=2}, {from=9, price=1}]',
        "price 1: step: the steps must ascend",
    ),
    "key": ('currency = "RUB"\nsegmnts = 1\n', "unknown field 'segmnts'"),
}


@pytest.mark.parametrize("defect", BAD_PRICES)
def test_a_bad_price_file_is_refused_with_the_path_of_the_key(defect: str, tmp_path: Path) -> None:
    """Each defect names the file, the key and what is wrong with it."""
    content, words = BAD_PRICES[defect]
    path = tmp_path / "prices.toml"
    path.write_text(content, "utf-8")
    with pytest.raises(InputError) as caught:
        read_prices(path)
    assert f"{path}: " in str(caught.value)
    assert words in str(caught.value)
