"""Policy conditions on how long ago a number was ported."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from numroute.errors import InputError
from numroute.index import SnapshotStore
from numroute.model import Route, Status
from numroute_campaign import route_batches
from numroute_campaign.policy import read_policy, rules_that_never_match

DAY = 86_400


@pytest.fixture(scope="module")
def days_ago(store: Path, ported: list[int]) -> dict[int, float]:
    """Return how many days ago each of some numbers was ported."""
    numbers = np.array(ported[:400], np.uint64)
    with SnapshotStore(store).open() as snapshot:
        times = snapshot.lookup(numbers, ported_at=True).ported_at
    assert times is not None
    ages = (time.time() - times) / DAY
    return dict(zip(numbers.tolist(), ages.tolist(), strict=True))


@pytest.fixture(scope="module")
def limit(days_ago: dict[int, float]) -> int:
    """Return a number of days in the middle, which no number's age is close to."""
    return max(
        range(int(np.quantile(list(days_ago.values()), 0.3)), int(max(days_ago.values()))),
        key=lambda day: (
            min(abs(age - day) for age in days_ago.values()) > 0.01,
            -abs(sum(age < day for age in days_ago.values()) - 200),
        ),
    )


def policy(path: Path, limit: int) -> Path:
    """Write a policy that holds back what was ported not long ago."""
    path.write_text(
        f'[[rule]]\nname = "fresh"\nported_within = "{limit}d"\nroute = "hold"\nwindow = "day"\n'
        '[[rule]]\nname = "rest"\nroute = "rest"\n[fallback]\nforeign = "world"\n'
        '[window.day]\nfrom = "10:00"\nuntil = "20:00"\nunknown_time_zone = "+03:00"\n',
        "utf-8",
    )
    return path


def test_recently_ported_numbers_take_their_rule(
    route, days_ago: dict[int, float], limit: int, tmp_path: Path
) -> None:
    """Exactly the numbers ported within the time go to the rule's route, with its window."""
    others = [79_160_000_000 + i for i in range(100)]
    path = tmp_path / "list.csv"
    path.write_text("phone\n" + "".join(f"{n}\n" for n in [*days_ago, *others]), "ascii")
    routed = route(path, "--policy", policy(tmp_path / "p.toml", limit))
    held = {int(row["number"]): row for row in routed.rows("hold.csv")}
    assert set(held) == {number for number, age in days_ago.items() if age < limit}
    assert 0 < len(held) < len(days_ago)
    assert all(row["send_from_utc"] and row["status"] == "PORTED" for row in held.values())
    rest = {int(row["number"]) for row in routed.rows("rest.csv")}
    assert {number for number, age in days_ago.items() if age > limit} <= rest
    assert "can never match" not in routed.err
    counts = {each["name"]: each["numbers"] for each in routed.summary["routes"]}
    assert (counts["hold"], counts["rest"]) == (len(held), len(rest))
    sample = route(path, "--policy", tmp_path / "p.toml", "--dry-run", "--sample", 500, out="dry")
    assert sample.result.out.count("fresh") == len(held)


def test_batches_know_the_condition(
    store: Path, days_ago: dict[int, float], limit: int, tmp_path: Path
) -> None:
    """``route_batches`` decides as a campaign does."""
    batch = pa.RecordBatch.from_pydict({"phone": [str(number) for number in days_ago]})
    rules = read_policy(policy(tmp_path / "p.toml", limit))
    (answer,) = route_batches([batch], store=store, column="phone", region="RU", policy=rules)
    expected = ["hold" if age < limit else "rest" for age in days_ago.values()]
    assert answer.column("route").to_pylist() == expected


def test_what_is_wrong_with_the_condition_is_said(tmp_path: Path) -> None:
    """A malformed time, and two different times, are refused."""
    path = tmp_path / "p.toml"
    path.write_text('[[rule]]\nroute = "a"\nported_within = "1 day"\n', "utf-8")
    with pytest.raises(InputError, match=r"rule 1\.ported_within: Expected"):
        read_policy(path)
    rules = '[[rule]]\nroute = "a"\nported_within = "{}"\n'
    path.write_text(rules.format("24h") + rules.format("1d"), "utf-8")
    with pytest.raises(InputError, match="differs from rule to rule"):
        read_policy(path)


def test_a_rule_with_the_condition_leaves_the_others_to_the_next(tmp_path: Path) -> None:
    """It is no rule that takes all; behind one that does, it can never match."""
    path = tmp_path / "p.toml"
    fresh, rest = '[[rule]]\nroute = "a"\nported_within = "24h"\n', '[[rule]]\nroute = "b"\n'
    routes = [
        Route(status=Status.PORTED),
        Route(status=Status.NOT_PORTED),
    ]
    path.write_text(fresh + rest, "utf-8")
    assert rules_that_never_match(read_policy(path), routes) == []
    path.write_text(rest + fresh, "utf-8")
    assert rules_that_never_match(read_policy(path), routes) == ["rule 2"]
