"""A registry over days: increments and full dumps agree, and hold what makes increments hard."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from support.dict_registry import DictRegistry, rows_of

from numroute.errors import SettingError
from numroute_loader.generate import GeneratedRegistry, GenerateOptions, Tier, generate

DAYS = 3
OPTIONS = GenerateOptions(
    ported=800,
    seed=4,
    date=date(2026, 8, 10),
    days=DAYS,
    changes_per_window=60,
    tiers=(Tier.PORT_ALL, Tier.PORT_ALL_FULL),
    zipped=False,
)
EPOCH = datetime(2013, 11, 20)  # noqa: DTZ001 - the registry's own local time


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> GeneratedRegistry:
    """Return three generated days."""
    return generate(tmp_path_factory.mktemp("days"), OPTIONS)


def files(registry: GeneratedRegistry, kind: str) -> list[Path]:
    return [path for path in registry.following if re.match(rf"{kind}_\d", path.name)]


def windows(registry: GeneratedRegistry) -> list[tuple[Path, Path]]:
    ports, returns = files(registry, "Port_Increment"), files(registry, "Return_Increment")
    return list(zip(ports, returns, strict=True))


def stamp(path: Path) -> datetime:
    return datetime.strptime(path.name.split("_")[2][:12], "%Y%m%d%H%M")  # noqa: DTZ007


def test_windows_are_named_by_time_and_sequence(registry: GeneratedRegistry) -> None:
    """Twelve windows a day, sequence 12 x days since 2013-11-20 + hour / 2, both files alike."""
    assert len(windows(registry)) == 12 * DAYS
    expected = datetime(2026, 8, 7, 2)  # noqa: DTZ001
    for port, back in windows(registry):
        assert stamp(port) == expected
        sequence = (expected - EPOCH) // timedelta(hours=2)
        assert port.name == f"Port_Increment_{expected:%Y%m%d%H%M}_{sequence}.csv"
        assert back.name == port.name.replace("Port", "Return")
        expected += timedelta(hours=2)
    base = int(registry.port_all[0].stem.split("_")[-1])
    first = int(windows(registry)[0][0].stem.split("_")[-1])
    assert first == 12 * base + 1


def test_every_midnight_has_its_dumps_behind_its_last_window(registry: GeneratedRegistry) -> None:
    """The files follow each other as they would appear."""
    kinds = [path.name.rpartition("_")[0].rpartition("_")[0] for path in registry.following]
    day = ["Port_Increment", "Return_Increment"] * 12
    day += ["Operators", "Numbering_plan", "Port_All", "Port_All_Full"]
    assert kinds == day * DAYS


@pytest.mark.parametrize("tier", ["Port_All", "Port_All_Full"])
def test_increments_lead_from_one_dump_to_the_next(registry: GeneratedRegistry, tier: str) -> None:
    """A dump plus the twelve windows after it is the next dump, whichever kind is read."""
    oracle = DictRegistry()
    oracle.load(next(path for path in registry.port_all if path.name.startswith(f"{tier}_2")))
    later = files(registry, tier)
    for place, (port, back) in enumerate(windows(registry), 1):
        oracle.apply(port, back)
        if place % 12 == 0:
            dump = DictRegistry()
            dump.load(later[place // 12 - 1])
            assert dump.ported == oracle.ported
    assert len(oracle.ported) > OPTIONS.ported


def test_row_counts_state_the_rows(registry: GeneratedRegistry) -> None:
    """The first data row alone counts them; a window without events is a header only."""
    empty = 0
    for path in (*registry.following, *registry.port_all):
        rows = rows_of(path)
        empty += not rows
        if rows:
            assert rows[0]["RowCount"] == str(len(rows)), path.name
            assert {row["RowCount"] for row in rows[1:]} <= {"", "0"}
    assert empty >= 2
    sizes = {len(rows_of(port)) + len(rows_of(back)) for port, back in windows(registry)}
    assert sizes == {0, OPTIONS.changes_per_window}


def test_windows_hold_what_makes_increments_hard(registry: GeneratedRegistry) -> None:
    """Returns of both sorts, updates, onward and corporate ports, repeats, ties, early dates."""
    seen: Counter[str] = Counter()
    owner = {int(row["Number"]): row["OwnerId"] for row in rows_of(registry.port_all[0])}
    for port, back in windows(registry):
        rows, returns = rows_of(port), rows_of(back)
        numbers = Counter(row["Number"] for row in rows)
        seen["twice in one file"] += any(count > 1 for count in numbers.values())
        seen["in both files"] += bool(numbers.keys() & {row["Number"] for row in returns})
        seen["return"] += len(returns)
        processes = Counter(row["NPId"] for row in rows)
        seen["corporate"] += sum(count > 1 for count in processes.values())
        begins = stamp(port) - timedelta(hours=2)
        for row in rows:
            at = datetime.fromisoformat(row["PortDate"]).replace(tzinfo=None)
            assert begins - timedelta(seconds=9) <= at < stamp(port)
            seen["before the window"] += at < begins
            seen["port home"] += row["RecipientId"] == row["RangeHolderId"]
            seen["update"] += row["RecipientId"] == row["DonorId"]
            seen["onward"] += row["DonorId"] not in {row["RangeHolderId"], row["RecipientId"]}
            assert row["NewRoute"] == f"D{row['RegionCode']}{row['NewMNC']}"
        by_time = Counter((row["Number"], row["PortDate"]) for row in (*rows, *returns))
        seen["twice in one second"] += any(count > 1 for count in by_time.values())
    assert owner
    expected = {
        "twice in one file", "in both files", "return", "corporate", "before the window",
        "port home", "update", "onward", "twice in one second",
    }  # fmt: skip
    assert {what for what in expected if seen[what]} == expected


def test_equal_options_give_equal_days(registry: GeneratedRegistry, tmp_path: Path) -> None:
    """The same seed makes the same files, and the order of rows in dumps changes no event."""
    again = generate(tmp_path, OPTIONS)
    assert [path.name for path in again.following] == [path.name for path in registry.following]
    for one, other in zip(again.following, registry.following, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_later_dumps_may_be_left_out(tmp_path: Path) -> None:
    """For a large base the windows alone are enough."""
    made = generate(
        tmp_path,
        GenerateOptions(ported=500, days=1, changes_per_window=10, later_dumps=False),
    )
    assert len(made.following) == 24
    assert {path.name.partition("_")[0] for path in made.following} == {"Port", "Return"}
    assert all("Increment" in path.name for path in made.following)


def test_days_before_the_first_date_are_refused(tmp_path: Path) -> None:
    """The whole stretch must lie within the registry's life, and nothing is left behind."""
    with pytest.raises(SettingError, match="40 days before it"):
        GenerateOptions(ported=10, date=date(2014, 8, 1), days=40)
