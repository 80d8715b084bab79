"""From parsed files to the content of a snapshot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.parsed import (
    BRANDS,
    OPERATOR_ROWS,
    REGIONS,
    dump_file,
    operator_file,
    plan_file,
    ported_routes,
    range_route_at,
    source,
)

from numroute.errors import InputError, SettingError
from numroute.index import bitmap
from numroute.index.writer import check_content
from numroute.model import Coverage, LineType, Operator, Region, Status
from numroute_loader.brands import BrandTable
from numroute_loader.merge import OutsidePlan, UnknownOperator, merge
from numroute_loader.merge import routes as merge_routes
from numroute_loader.reading.description import ParsedFile, RouteKey


def test_holder_and_operator_are_one_by_tax_number():
    """A plan's holder with the tax number of a registry's operator is that operator."""
    result = merge(
        [
            plan_file([(10, 19, RouteKey(operator_name="ООО АЛЬФА", tax_number="7000000001"))]),
            operator_file(*OPERATOR_ROWS),
        ],
        brands=BRANDS,
        regions={},
    )
    route = range_route_at(result.content, 10)
    assert route.operator == Operator(
        code="mA", name="Альфа", tax_number="7000000001", brand="Alpha"
    )
    assert (route.mcc, route.mnc) == ("001", "01")


def test_spelling_that_covers_most_numbers_names_a_holder():
    """One tax number under several spellings is one operator, named as most numbers have it."""
    tax_number = "7000000009"
    result = merge(
        [
            plan_file(
                [
                    (10, 10, RouteKey(operator_name="ООО А", tax_number=tax_number)),
                    (11, 11, RouteKey(operator_name="ООО А", tax_number=tax_number)),
                    (12, 19, RouteKey(operator_name="ООО «А»", tax_number=tax_number)),
                ]
            )
        ],
        brands=BrandTable(),
        regions={},
    )
    expected = Operator(code=tax_number, name="ООО «А»", tax_number=tax_number)
    assert [route.operator for route in result.content.routes[3:]] == [expected]
    assert result.content.range_start.tolist() == [0, 10, 20]
    assert result.report.operators == 1


def test_fixed_line_has_a_brand_but_no_mobile_network():
    """The brand's MCC-MNC is for mobile lines only."""
    result = merge(
        [
            plan_file(
                [
                    (10, 19, RouteKey(tax_number="7000000003", line_type=LineType.FIXED)),
                    (20, 29, RouteKey(tax_number="7000000003", line_type=LineType.MOBILE)),
                ]
            )
        ],
        brands=BRANDS,
        regions={},
    )
    fixed, mobile = (range_route_at(result.content, number) for number in (10, 20))
    assert (fixed.operator.brand, fixed.mcc, fixed.mnc) == ("Gamma", "", "")
    assert (mobile.operator.brand, mobile.mcc, mobile.mnc) == ("Gamma", "001", "03")


def test_mcc_mnc_is_never_made_of_the_registry_mnc():
    """An operator without a brand row keeps the registry's MNC and gets no MCC-MNC."""
    result = merge(
        [dump_file({15: RouteKey(operator_code="mB", registry_mnc="39")})],
        brands=BRANDS,
        regions={},
    )
    route = ported_routes(result.content)[15]
    assert (route.registry_mnc, route.mcc, route.mnc) == ("39", "", "")


def test_no_text_commands_a_terminal():
    """Control characters of a plan's texts do not reach a snapshot; other characters do."""
    key = RouteKey(operator_name="А\x1b[2J «Б»\u009b1m\x7f", region_name="Край\x07\xa0Я")
    route = range_route_at(
        merge([plan_file([(10, 19, key)])], brands=BRANDS, regions={}).content, 10
    )
    assert route.operator.name == "А\ufffd[2J «Б»\ufffd1m\ufffd"
    assert route.region.name == "Край\ufffd\xa0Я"


def test_a_record_of_the_range_holder_counts_as_ported():
    """Ported means that the registry has a record, also where it names the range holder."""
    holder = RouteKey(operator_code="mA", registry_mnc="01")
    files = [plan_file([(10, 19, holder)], registry="bdpn"), dump_file({15: holder})]
    content = merge([*files, operator_file(*OPERATOR_ROWS)], brands=BRANDS, regions={}).content
    assert ported_routes(content)[15].status is Status.PORTED
    assert ported_routes(content)[15].operator == range_route_at(content, 15).operator


def test_unknown_region_code_keeps_the_code():
    """A region code that is not in the table is kept, and the other plan names it where it can."""
    registry = plan_file(
        [(10, 19, RouteKey(operator_code="mA", region_code="99"))], registry="bdpn"
    )
    other = plan_file([(10, 14, RouteKey(operator_name="А", region_name="Новая область"))])
    content = merge([registry, other], brands=BRANDS, regions=REGIONS).content
    assert range_route_at(content, 10).region == Region(code="99", name="Новая область")
    assert range_route_at(content, 15).region == Region(code="99")


def test_dump_alone_and_plan_alone_are_enough():
    """Either a dump or a plan makes a snapshot; without a plan nothing lies outside it."""
    dump_only = merge([dump_file({15: RouteKey(operator_code="mA")})], brands=BRANDS, regions={})
    assert dump_only.content.range_start.tolist() == [0]
    assert dump_only.report.outside_plan is None
    assert dump_only.report.unknown_operators == ()
    plan_only = merge([plan_file([(1, 2, RouteKey(operator_name="А"))])], brands=BRANDS, regions={})
    assert len(plan_only.content.numbers) == 0
    for result in (dump_only, plan_only):
        check_content(result.content)


def test_number_outside_the_plan_is_reported_masked():
    """The first number that no range covers is told by its place and by its first digits."""
    key = RouteKey(operator_code="mA")
    result = merge(
        [
            dump_file({79000000001: key, 79000000020: key, 79000000021: key}),
            plan_file([(79000000000, 79000000009, RouteKey(operator_name="А"))]),
        ],
        brands=BRANDS,
        regions={},
    )
    assert result.report.outside_plan == OutsidePlan(count=2, first_index=1, example="7900*******")


def test_unknown_codes_are_reported_the_most_used_first():
    """Codes that the operator table lacks are counted, in records and in ranges, not refused."""
    known, one, two = (RouteKey(operator_code=code) for code in ("mA", "mX", "mY"))
    report = merge(
        [
            operator_file(*OPERATOR_ROWS),
            dump_file({10: one, 11: two, 12: two, 13: known}),
            plan_file([(10, 11, one), (12, 12, known), (13, 20, one)], registry="bdpn"),
        ],
        brands=BRANDS,
        regions={},
    ).report
    assert report.unknown_operators == (
        UnknownOperator(code="mY", numbers=2, ranges=0),
        UnknownOperator(code="mX", numbers=1, ranges=2),
    )


def test_donors_are_operators():
    """Donor codes become operators with name and brand; an empty code is nobody."""
    key = RouteKey(operator_code="mB")
    content = merge(
        [
            operator_file(*OPERATOR_ROWS),
            dump_file({10: key, 11: key, 12: key}, donors={10: "mA", 11: "", 12: "mA"}),
        ],
        brands=BRANDS,
        regions={},
    ).content
    check_content(content)
    alpha = Operator(code="mA", name="Альфа", tax_number="7000000001", brand="Alpha")
    assert [content.donors[row] for row in content.donor.tolist()] == [alpha, Operator(), alpha]


def test_arrays_of_the_dump_are_passed_through():
    """The numbers and the times are the parser's own arrays, not copies of them."""
    file = dump_file({15: RouteKey(operator_code="mA")})
    content = merge([file], brands=BRANDS, regions={}).content
    assert content.numbers is file.ported.numbers


def test_blocks_cover_every_record(monkeypatch: pytest.MonkeyPatch):
    """Records are mapped and counted in blocks; no block is left out or taken twice."""
    monkeypatch.setattr(merge_routes, "_BLOCK", 7)
    monkeypatch.setattr(bitmap, "_RECORDS_AT_ONCE", 7)
    rows = np.array([5, 300, 2])
    index = (np.arange(50) % 3).astype(np.uint16)
    mapped = merge_routes.mapped(rows, index)
    assert mapped.dtype == np.uint16
    assert mapped.tolist() == [[5, 300, 2][place % 3] for place in range(50)]
    assert bitmap.records_by_row(index, 4).tolist() == [17, 17, 16, 0]


def test_nothing_to_build_from_is_refused():
    """An operator table alone makes no snapshot."""
    with pytest.raises(SettingError) as caught:
        merge([operator_file(*OPERATOR_ROWS)], brands=BRANDS, regions={})
    assert caught.value.hint


@pytest.mark.parametrize(
    "pair",
    [
        [dump_file({}, name="one.csv"), dump_file({}, name="two.csv")],
        [operator_file(name="one.csv"), operator_file(name="two.csv")],
        [
            plan_file([(10, 19, RouteKey()), (30, 39, RouteKey())], name="one.csv"),
            plan_file([(20, 30, RouteKey())], name="two.csv"),
        ],
        [
            plan_file([(20, 30, RouteKey())], name="one.csv"),
            plan_file([(10, 20, RouteKey())], name="two.csv"),
        ],
    ],
    ids=["two full dumps", "two operator tables", "overlapping files", "overlap before it"],
)
def test_files_that_exclude_each_other_are_refused(pair: list[ParsedFile]):
    """Two files of which only one can be meant are refused, and both are named."""
    with pytest.raises(InputError) as caught:
        merge(pair, brands=BRANDS, regions={})
    assert str(caught.value.path) == "two.csv"
    assert "one.csv" in caught.value.reason
    assert caught.value.hint


def test_files_of_one_plan_make_one_layer():
    """The parts of a plan complete each other, whatever the order in which they are given."""
    parts = [
        plan_file([(30, 39, RouteKey(operator_name="Б"))], name="b.csv"),
        plan_file([(10, 29, RouteKey(operator_name="А"))], name="a.csv"),
    ]
    content = merge(parts, brands=BRANDS, regions={}).content
    assert content.range_start.tolist() == [0, 10, 30, 40]
    assert [range_route_at(content, n).operator.name for n in (10, 29, 30, 39)] == list("ААББ")


def test_warnings_of_all_files_are_kept():
    """What the parsers warned of is in the report, in the files' order."""
    files = [
        ParsedFile(source=source("a", "bdpn", "operators"), operators=(), warnings=("one", "two")),
        ParsedFile(
            source=source("b", "plan", "ranges"),
            ranges=plan_file([(1, 2, RouteKey())]).ranges,
            warnings=("three",),
        ),
    ]
    assert merge(files, brands=BRANDS, regions={}).report.warnings == ("one", "two", "three")


def test_coverage_is_what_the_plans_registry_describes():
    """Gaps within a covered block are unallocated, numbers outside every block not covered."""
    blocks = ((100, 199), (200, 299))
    plan = plan_file([(110, 119, RouteKey(operator_name="A"))])
    plan = replace(plan, source=replace(plan.source, covers=blocks))
    content = merge([plan], brands=BrandTable(), regions={}).content
    check_content(content)
    assert content.coverage == (Coverage(first=100, last=199, ported=False),)
    found = {n: range_route_at(content, n).status.name for n in (99, 100, 110, 120, 199, 200)}
    assert found == {
        99: "NOT_COVERED",
        100: "UNALLOCATED",
        110: "RANGE_ONLY",
        120: "UNALLOCATED",
        199: "UNALLOCATED",
        200: "NOT_COVERED",
    }


def test_a_range_is_not_ported_where_a_dump_covers_it():
    """What a ported-number registry covers is not ported, other ranges remain range only."""
    plan = plan_file(
        [(110, 119, RouteKey(operator_name="A")), (210, 219, RouteKey(operator_name="A"))]
    )
    plan = replace(plan, source=replace(plan.source, covers=((100, 199), (200, 299))))
    dump = dump_file({115: RouteKey(operator_code="mA")})
    dump = replace(dump, source=replace(dump.source, covers=((100, 199),)))
    content = merge([plan, dump], brands=BrandTable(), regions={}).content
    assert [each.ported for each in content.coverage] == [True, False]
    found = [range_route_at(content, n).status.name for n in (110, 210, 220)]
    assert found == ["NOT_PORTED", "RANGE_ONLY", "UNALLOCATED"]
