"""A generated registry has the shape of the real one: shares, sizes, runs, dates."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from numroute_loader.generate import GeneratedRegistry, GenerateOptions, Tier, generate
from numroute_loader.reading.description import PortedRecords, Ranges
from numroute_loader.registries import read

PORTED = 300_000
OPTIONS = GenerateOptions(ported=PORTED, seed=3, zipped=False)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> GeneratedRegistry:
    """Return a registry of several chunks."""
    return generate(tmp_path_factory.mktemp("registry"), OPTIONS)


@pytest.fixture(scope="module")
def ported(registry: GeneratedRegistry) -> PortedRecords:
    """Return its ported numbers."""
    records = read(registry.port_all[0]).ported
    assert records is not None
    return records


@pytest.fixture(scope="module")
def mobile(registry: GeneratedRegistry) -> Ranges:
    """Return its mobile plan."""
    return ranges_of(registry.plan[-1])


def ranges_of(path: Path) -> Ranges:
    """Return the ranges of a plan file."""
    ranges = read(path).ranges
    assert ranges is not None
    return ranges


def first_columns(path: Path) -> list[str]:
    """Return the number column of a plain dump."""
    return [line.split(",", 1)[0] for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def range_index(ported: PortedRecords, mobile: Ranges) -> np.ndarray:
    """Return for each ported number the range it lies in."""
    return np.searchsorted(mobile.first, ported.numbers, side="right") - 1


def test_numbers_are_exact_in_count_unique_and_in_order(registry: GeneratedRegistry):
    """Port_All holds as many numbers as asked for, ascending without duplicates."""
    numbers = first_columns(registry.port_all[0])
    assert len(numbers) == PORTED
    assert all(one < other for one, other in pairwise(numbers))


def test_every_ported_number_lies_in_a_range_of_another_operator(
    registry: GeneratedRegistry, ported: PortedRecords
):
    """A ported number is inside the plan, in its range's region, and not with its range holder."""
    plan = ranges_of(registry.numbering_plan)
    index = range_index(ported, plan)
    assert (index >= 0).all()
    assert (ported.numbers <= plan.last[index]).all()
    holders = np.array([key.operator_code for key in plan.keys])[plan.key[index]]
    owners = np.array([key.operator_code for key in ported.keys])[ported.route]
    assert (holders != owners).all()
    range_regions = np.array([key.region_code for key in plan.keys])[plan.key[index]]
    regions = np.array([key.region_code for key in ported.keys])[ported.route]
    assert (range_regions == regions).all()


def test_every_owner_and_mnc_is_in_the_operator_table(
    registry: GeneratedRegistry, ported: PortedRecords
):
    """The pairs of OwnerId and MNC in the dump are rows of Operators."""
    rows = read(registry.operators).operators
    assert rows is not None
    known = {(row.operator_code, row.registry_mnc) for row in rows}
    assert {(key.operator_code, key.registry_mnc) for key in ported.keys} <= known


def test_plan_operators_join_the_operator_table_by_tax_number(
    registry: GeneratedRegistry, mobile: Ranges
):
    """Nearly all mobile numbers belong to holders whose tax number Operators has."""
    rows = read(registry.operators).operators
    assert rows is not None
    known = {row.tax_number for row in rows}
    sizes = mobile.last - mobile.first + 1
    joined = np.array([key.tax_number in known for key in mobile.keys])[mobile.key]
    assert sizes[joined].sum() > 0.97 * sizes.sum()


def test_the_mobile_plan_has_the_real_size(registry: GeneratedRegistry, mobile: Ranges):
    """About 16-17 thousand ranges, 700 million numbers, sizes from one to ten million."""
    assert 15_500 < registry.mobile_ranges < 17_500
    assert 660_000_000 < registry.mobile_numbers < 730_000_000
    sizes = (mobile.last - mobile.first + np.uint64(1)).astype(np.int64)
    assert sizes.min() == 1
    assert sizes.max() == 10_000_000
    assert 100 <= np.median(sizes) <= 6000
    assert np.sort(sizes)[-len(sizes) // 10 :].sum() > 0.6 * sizes.sum()


def test_big_operators_hold_their_shares_of_the_plan(mobile: Ranges):
    """The four big operators hold what they hold in reality, give or take a few per cent."""
    sizes = (mobile.last - mobile.first + np.uint64(1)).astype(np.int64)
    tax_numbers = np.array([key.tax_number for key in mobile.keys])[mobile.key]
    shares = {
        tax_number: sizes[tax_numbers == tax_number].sum() / sizes.sum()
        for tax_number in ("7740000076", "7812014560", "7713076301", "7743895280")
    }
    expected = {
        "7740000076": 0.26,
        "7812014560": 0.20,
        "7713076301": 0.19,
        "7743895280": 0.15,
    }
    assert shares == pytest.approx(expected, abs=0.04)
    assert len(set(tax_numbers)) > 50


def test_one_tax_number_has_several_spellings(mobile: Ranges):
    """The big holders are spelled in more than one way."""
    spellings: dict[str, set[str]] = {}
    for key in mobile.keys:
        spellings.setdefault(key.tax_number, set()).add(key.operator_name)
    assert len(spellings["7740000076"]) > 1
    assert len(spellings["7743895280"]) > 1


def test_some_mobile_rows_leave_the_region_to_the_territory(registry: GeneratedRegistry):
    """The region is a dash in some rows of the DEF file, and then the territory names it."""
    lines = registry.plan[-1].read_text(encoding="utf-8-sig").split("\n")[1:]
    unnamed = [line.split(";") for line in lines if line.split(";")[5] == "-"]
    assert 100 < len(unnamed) < 1000
    assert all(row[6] != "-" for row in unnamed)


def test_half_of_the_ranges_of_abc_4_are_single_numbers(registry: GeneratedRegistry):
    """In ABC-4 about half of all ranges are of size 1, mostly between two alternating holders."""
    ranges = ranges_of(registry.plan[1])
    single = ranges.first == ranges.last
    assert 0.4 < single.mean() < 0.6
    holder = np.array([key.tax_number for key in ranges.keys])[ranges.key]
    inner = single[:-2] & single[1:-1] & single[2:]
    alternating = (holder[:-2] == holder[2:]) & (holder[:-2] != holder[1:-1])
    assert (alternating & inner).sum() > 0.8 * inner.sum()


def test_fixed_plans_have_a_sensible_size(registry: GeneratedRegistry):
    """The three ABC files hold tens of thousands of ranges and tens of millions of numbers."""
    assert 60_000 < registry.fixed_ranges < 120_000
    for path in registry.plan[:3]:
        ranges = ranges_of(path)
        numbers = int((ranges.last - ranges.first + np.uint64(1)).sum())
        assert 20_000_000 < numbers < 60_000_000


def test_recipients_gain_by_their_market_shares(ported: PortedRecords):
    """T2 gains most, the other big ones and the virtual operators follow, dozens gain a little."""
    codes = np.array([key.operator_code for key in ported.keys])[ported.route]
    names, counts = np.unique(codes, return_counts=True)
    share = dict(zip(names.tolist(), (counts / len(codes)).tolist(), strict=True))
    assert max(share, key=lambda code: share[code]) == "mTELE2"
    assert 0.2 < share["mTELE2"] < 0.45
    assert all(0.05 < share[code] < 0.25 for code in ("mMTS", "mMEGAFON", "mBEELINE", "mTMOBILE"))
    assert len(names) > 40


def test_what_donors_lose_to_differs_by_donor(ported: PortedRecords, mobile: Ranges):
    """Two donors lose to their recipients in different proportions."""
    holders = np.array([key.tax_number for key in mobile.keys])[mobile.key]
    donor = holders[range_index(ported, mobile)]
    owner = np.array([key.operator_code for key in ported.keys])[ported.route]
    to_t2_from = [
        (owner[donor == tax_number] == "mTELE2").mean()
        for tax_number in ("7740000076", "7812014560", "7713076301")
    ]
    assert max(to_t2_from) > min(to_t2_from) + 0.03


def test_the_ported_share_varies_between_ranges(ported: PortedRecords, mobile: Ranges):
    """Large ranges lose between next to nothing and several times the average."""
    sizes = (mobile.last - mobile.first + np.uint64(1)).astype(np.int64)
    counts = np.bincount(range_index(ported, mobile), minlength=len(sizes))
    large = sizes >= 50_000
    share = counts[large] / sizes[large]
    assert np.quantile(share, 0.9) > 4 * np.quantile(share, 0.2)


def test_corporate_ports_are_runs_of_consecutive_numbers(ported: PortedRecords):
    """Some numbers come in runs with one date and one recipient; most do not."""
    assert ported.ported_at is not None
    together = (
        (np.diff(ported.numbers) == 1)
        & (np.diff(ported.ported_at.astype(np.int64)) == 0)
        & (np.diff(ported.route.astype(np.int64)) == 0)
    )
    assert 0.1 < together.mean() < 0.35
    breaks = np.flatnonzero(~np.concatenate([[False], together, [False]]))
    assert np.diff(breaks).max() > 50


def test_ports_grow_by_year_and_peak_in_december_and_working_hours(ported: PortedRecords):
    """More ports in later years, most in December, few at night."""
    assert ported.ported_at is not None
    moscow = ported.ported_at.astype("datetime64[s]") + np.timedelta64(3, "h")
    years = np.bincount(moscow.astype("datetime64[Y]").astype(int) + 1970)
    assert 0 < years[2013] < years[2014] < years[2017] < years[2019] < years[2024] < years[2025]
    # 2026 is not over in the dump, so its months would tip the balance.
    months = np.bincount(
        moscow[moscow < np.datetime64("2026-01-01")].astype("datetime64[M]").astype(int) % 12
    )
    assert months.argmax() == 11
    hours = np.bincount((moscow - moscow.astype("datetime64[D]")).astype(int) // 3600)
    assert hours[10:18].sum() > 5 * hours[:8].sum()


def test_processes_cover_runs_and_donors_are_not_always_holders(tmp_path: Path):
    """In Port_All_Full a run shares its NPId, and some donors are not the range holder."""
    made = generate(
        tmp_path,
        GenerateOptions(ported=20_000, zipped=False, tiers=(Tier.PORT_ALL_FULL,), seed=9),
    )
    rows = [
        line.split(",") for line in made.port_all[0].read_text(encoding="utf-8").splitlines()[1:]
    ]
    processes: dict[str, set[tuple[str, ...]]] = {}
    for row in rows:
        processes.setdefault(row[7], set()).add((row[1], row[5], row[8], row[12]))
    assert all(len(shared) == 1 for shared in processes.values())
    assert 0.7 * len(rows) < len(processes) < 0.95 * len(rows)
    other_donor = sum(row[8] != row[9] for row in rows if row[1] != row[9])
    assert 0.03 * len(rows) < other_donor < 0.2 * len(rows)
    assert all(row[8] != row[1] for row in rows)
    assert {row[12] for row in rows} == {"ShortTimePort", "LongTimePort"}


def test_ported_numbers_lie_in_dense_and_in_sparse_stretches(ported: PortedRecords, mobile: Ranges):
    """Numbers are issued block by block: stretches of one range differ more than by chance."""
    sizes = (mobile.last - mobile.first).astype(np.int64)
    large = mobile.first[sizes >= 1_000_000]
    ends = large[:, None] + np.arange(0, 1_000_001, 100_000, dtype=np.uint64)
    counts = np.diff(ported.numbers.searchsorted(ends))
    counts = counts[counts.sum(axis=1) > 0]
    assert counts.mean() > 10
    # By chance alone the variance of a count is its mean.
    assert (counts.var(axis=1) / counts.mean(axis=1)).mean() > 5


def test_old_codes_lose_more_numbers_than_new_ones(ported: PortedRecords, mobile: Ranges):
    """A code in use since before porting began has a larger share of ported numbers."""

    def share(first: int, last: int) -> float:
        begin, end = np.uint64(70 * 10**9 + first * 10**7), np.uint64(70 * 10**9 + last * 10**7)
        inside = (mobile.first >= begin) & (mobile.first < end)
        held = (mobile.last - mobile.first + np.uint64(1))[inside].sum()
        return float(np.diff(ported.numbers.searchsorted([begin, end]))[0] / held)

    assert share(902, 930) > 1.3 * share(977, 1000)
