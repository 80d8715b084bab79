"""The merge of two plans, an operator table and a dump against a slow reading of all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from support.parsed import (
    BRANDS,
    OPERATOR_ROWS,
    REGIONS,
    TABLE,
    dump_file,
    operator_file,
    plan_file,
    ported_routes,
    range_route_at,
)

from numroute.index.writer import check_content
from numroute.model import LineType, Operator, Region, Route, Status
from numroute_loader.brands import Brand
from numroute_loader.merge import merge
from numroute_loader.reading.description import RouteKey

SIZE = 40

REGISTRY_KEYS = st.builds(
    RouteKey,
    operator_code=st.sampled_from(["mA", "mB", "mX"]),
    registry_mnc=st.sampled_from(["01", "09"]),
    region_code=st.sampled_from(["77", "99"]),
    line_type=st.sampled_from([LineType.UNSPECIFIED, LineType.MOBILE]),
)
PLAN_KEYS = st.builds(
    RouteKey,
    operator_name=st.sampled_from(["АЛЬФА", "Гамма"]),
    tax_number=st.sampled_from(["", "7000000003", "7000000002"]),
    region_name=st.sampled_from(["", "Край"]),
    line_type=st.sampled_from([LineType.MOBILE, LineType.FIXED]),
)
NAME_KEYS = st.builds(RouteKey, operator_name=st.sampled_from(["Гамма", "Двойник", "Никто"]))

Plan = list[tuple[int, int, RouteKey]]


@st.composite
def plans(draw: st.DrawFn, keys: st.SearchStrategy[RouteKey]) -> Plan:
    """Draw disjoint ascending ranges, some of them adjoining."""
    bounds = sorted(draw(st.sets(st.integers(1, SIZE), max_size=12)))
    return [
        (first, last - draw(st.sampled_from([1, 1, min(2, last - first)])), draw(keys))
        for first, last in pairwise(bounds)
        if draw(st.booleans())
    ]


def covering(plan: Plan, number: int) -> RouteKey | None:
    """Return the key of the range that a number lies in."""
    return next((key for first, last, key in plan if first <= number <= last), None)


@dataclass
class Oracle:
    """Reads the sources number by number; mX is the code that no operator table names."""

    registry_plan: Plan
    other_plan: Plan

    def __post_init__(self) -> None:
        """Count what the plans say of tax numbers."""
        self.names: dict[str, Counter[str]] = {}
        for number in range(SIZE + 2):
            below = covering(self.other_plan, number)
            if below and below.tax_number:
                self.names.setdefault(below.tax_number, Counter())[below.operator_name] += 1

    def usual_names(self, tax_number: str) -> set[str]:
        """Return the spellings that cover the most numbers: more than one where they are even."""
        counts = self.names.get(tax_number, Counter())
        return {name for name, count in counts.items() if count == max(counts.values())} or {""}

    def operators(self, key: RouteKey, *, record: bool) -> set[Operator]:
        """Return who the key may mean; more than one where spellings are even."""
        codes = {"7000000001": "mA", "7000000002": "mB"}
        if record and key.operator_name == "Гамма" and not key.tax_number:
            return {TABLE["mC"]}
        code = key.operator_code or codes.get(key.tax_number or "-", "")
        if code in TABLE:
            return {TABLE[code]}
        if not code and not key.tax_number:
            return {Operator(name=key.operator_name)}
        tax_number = "" if code else key.tax_number
        return {
            Operator(code=code or tax_number, name=name, tax_number=tax_number)
            for name in self.usual_names(tax_number)
        }

    def range_routes(self, number: int) -> set[Route]:
        """Return what the range layer may say of a number."""
        top, below = covering(self.registry_plan, number), covering(self.other_plan, number)
        key = top or below
        if key is None:
            return {Route(status=Status.NOT_COVERED)}
        if top and below:
            key = replace(
                top,
                region_name=below.region_name,
                line_type=top.line_type or below.line_type,
            )
        return self.routes(Status.RANGE_ONLY, key, record=False)

    def routes(self, status: Status, key: RouteKey, *, record: bool) -> set[Route]:
        """Return the routes that a key may mean."""
        routes = set()
        for operator in self.operators(key, record=record):
            brand = expected_brand(operator, key)
            mobile = key.line_type is not LineType.FIXED
            routes.add(
                Route(
                    status=status,
                    operator=replace(operator, brand=brand.brand),
                    mcc=brand.mcc if mobile else "",
                    mnc=brand.mnc if mobile else "",
                    registry_mnc=key.registry_mnc,
                    region=Region(
                        code=key.region_code,
                        name=REGIONS.get(key.region_code, key.region_name),
                    ),
                    line_type=key.line_type,
                )
            )
        return routes


def expected_brand(operator: Operator, key: RouteKey) -> Brand:
    """Return the brand by the rules of ``BRANDS``, written out."""
    if operator.code == "mA" and key.registry_mnc == "09":
        return Brand(brand="Old Alpha")
    if operator.code == "mA":
        return Brand(brand="Alpha", mcc="001", mnc="01")
    if operator.tax_number == "7000000003":
        return Brand(brand="Gamma", mcc="001", mnc="03")
    return Brand()


@settings(max_examples=150)
@given(
    registry_plan=plans(REGISTRY_KEYS),
    other_plan=plans(PLAN_KEYS),
    records=st.dictionaries(st.integers(1, SIZE + 2), st.one_of(REGISTRY_KEYS, NAME_KEYS)),
)
def test_merge_equals_a_slow_reading(
    registry_plan: Plan, other_plan: Plan, records: dict[int, RouteKey]
):
    """Each number's record and range say what a slow reading of all sources says."""
    oracle = Oracle(registry_plan=registry_plan, other_plan=other_plan)
    result = merge(
        [
            plan_file(other_plan),
            operator_file(*OPERATOR_ROWS),
            plan_file(registry_plan, registry="bdpn", name="ranges.csv"),
            dump_file(records),
        ],
        brands=BRANDS,
        regions=REGIONS,
    )
    content, report = result.content, result.report
    check_content(content)
    held = {number: range_route_at(content, number) for number in range(SIZE + 3)}
    for number, route in held.items():
        assert route in oracle.range_routes(number)
    ported = ported_routes(content)
    assert ported.keys() == records.keys()
    for number, key in records.items():
        assert ported[number] in oracle.routes(Status.PORTED, key, record=True)

    is_held = {number: held[number].status is Status.RANGE_ONLY for number in held}
    outside = [number for number in sorted(records) if not is_held[number]]
    assert report.range_numbers == sum(is_held.values())
    assert (report.outside_plan is None) == (not outside)
    if report.outside_plan is not None:
        assert report.outside_plan.count == len(outside)
        assert report.outside_plan.first_index == sorted(records).index(outside[0])
    assert all(one != next_one for one, next_one in pairwise(content.range_route.tolist()))
    assert len(set(content.routes)) == len(content.routes)
