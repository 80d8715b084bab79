"""The brand table and the region table, the project's own and a user's."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from numroute.errors import InputError
from numroute_loader.brands import NO_BRAND, Brand, BrandTable, load_brands, load_regions

HEADER = "tax_number,operator_code,registry_mnc,brand,mcc,mnc"


@pytest.fixture
def table(tmp_path: Path):
    """Return a function that writes a user's table and loads it."""

    def load(*lines: str, encoding: str = "utf-8") -> BrandTable:
        path = tmp_path / "brands.csv"
        path.write_text("\n".join(lines), encoding=encoding)
        return load_brands(path)

    return load


def test_own_table_knows_an_operator_by_code_and_by_tax_number():
    """MTS is 250-01 whether the registry's code or the tax number names it."""
    expected = Brand(brand="MTS", mcc="250", mnc="01")
    brands = load_brands()
    assert brands.find(code="mMTS") == expected
    assert brands.find(tax_number="7740000076") == expected
    assert brands.find(code="mMTS", registry_mnc="39") == expected


def test_operator_without_a_row_has_no_brand():
    """What no row names has neither brand nor network, nor has an operator without identity."""
    brands = load_brands()
    assert brands.find(code="mNOBODY", tax_number="0000000000", registry_mnc="01") == NO_BRAND
    assert brands.find() == NO_BRAND


def test_own_networks_are_in_the_reference_table(reference_data: Path):
    """Every MCC-MNC of the project's table is an operating network of the reference table."""
    with (reference_data / "code_tables" / "mccmnc_250.csv").open(encoding="utf-8") as file:
        networks = {row["mccmnc"]: row["brand"] for row in csv.DictReader(file) if row["operating"]}
    with (reference_data / "code_tables" / "def9_inn_operators.csv").open(encoding="utf-8") as file:
        tax_numbers = [row["inn"] for row in csv.DictReader(file)]
    found = [
        brand for number in tax_numbers if (brand := load_brands().find(tax_number=number)).mcc
    ]
    assert len(found) == 21
    for brand in found:
        assert networks[brand.mcc + brand.mnc] == brand.brand


def test_user_rows_go_before_the_own_table(table):
    """A user's row decides for its operator, and all others keep the project's rows."""
    brands = table(HEADER, "7740000076,,,Mine,001,01")
    assert brands.find(tax_number="7740000076", code="mMTS").brand == "Mine"
    assert brands.find(code="mMEGAFON").brand == "MegaFon"


def test_row_for_a_registry_mnc_goes_before_one_without(table):
    """The registry's MNC distinguishes an old regional network from the main one."""
    brands = table(HEADER, "1,mA,,Main,001,01", "1,mA,09,Old,,", "2,,,Tax,001,02")
    assert brands.find(code="mA", registry_mnc="09") == Brand(brand="Old")
    assert brands.find(tax_number="1", registry_mnc="09") == Brand(brand="Old")
    assert brands.find(code="mA", registry_mnc="05").brand == "Main"
    assert brands.find(code="mA", tax_number="2").brand == "Main"
    assert brands.find(code="mB", tax_number="2").brand == "Tax"


def test_comments_order_and_mark_are_free(table):
    """Comments, blank lines, another order of columns and a byte order mark do no harm."""
    brands = table(
        "# mine",
        "mnc,mcc,brand,registry_mnc,operator_code,tax_number",
        "",
        '07,001,"A, B",,mA,',
        encoding="utf-8-sig",
    )
    assert brands.find(code="mA") == Brand(brand="A, B", mcc="001", mnc="07")


@pytest.mark.parametrize(
    ("lines", "line", "reason"),
    [
        ((HEADER, ",,,A,001,01"), 2, "needs a tax_number or an operator_code"),
        ((HEADER, "1,,,,001,01"), 2, "required field `brand`"),
        ((HEADER, "1,,,A,001,"), 2, "stand together"),
        ((HEADER, "1,,,A,25,01"), 2, "mcc: Expected `str` matching"),
        ((HEADER, "1,,,A,250,1"), 2, "mnc: Expected `str` matching"),
        ((HEADER, "1,,,A,250,٠١"), 2, "mnc: Expected `str` matching"),
        ((HEADER, "1,mA,,A,,", "", "2,mA,,B,,"), 4, "the first is on line 2"),
        ((HEADER, "1,mA,A"), 2, "3 cells where 6"),
        ((HEADER, '1,mA,,"A,,'), 2, "quote"),
        (("# only", "tax_number,mcc,mnc"), 2, "the header lacks"),
        (("# only a comment",), None, "no header"),
    ],
)
def test_wrong_table_is_refused_with_its_line(table, lines, line, reason):
    """A mistake in a user's table is reported with file, line, reason and remedy."""
    with pytest.raises(InputError) as caught:
        table(*lines)
    assert caught.value.line == line
    assert reason in caught.value.reason
    assert str(caught.value.path).endswith("brands.csv")
    assert caught.value.hint


def test_table_of_another_encoding_is_refused(table):
    """A table that is not UTF-8 is refused."""
    with pytest.raises(InputError, match="not UTF-8"):
        table(HEADER, "1,,,Мой,,", encoding="windows-1251")


def test_missing_table_is_refused(tmp_path: Path):
    """A table that is not there is the user's mistake."""
    with pytest.raises(InputError, match="cannot be read"):
        load_brands(tmp_path / "brands.csv")


def test_regions_are_those_of_the_reference_table(reference_data: Path):
    """The project's regions are all of the registry's, without the stray blanks."""
    path = reference_data / "code_tables" / "bdpn_regions.csv"
    with path.open(encoding="utf-8") as file:
        expected = {row["region_code"]: row["name_ru"].strip() for row in csv.DictReader(file)}
    assert load_regions() == expected
