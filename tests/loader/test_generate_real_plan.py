"""Ported numbers can be laid over real plan files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numroute.errors import InputError, SettingError
from numroute_loader.generate import GenerateOptions, Tier, generate
from numroute_loader.registries import read

HEADER = "АВС/ DEF;От;До;Емкость;Оператор;Регион;ИНН\n"
SMALL_PLAN = HEADER + (
    '900;0000000;0000999;1000;ООО "Т2 Мобайл";Краснодарский край;7743895280\n'
    '900;0001000;0001099;100;ООО "Неведомый";Российская Федерация;0000000019\n'
    '900;0002000;0002000;1;ПАО "МТС";г. Сочи|Краснодарский край;7740000076\n'
    '941;0000000;0009999;10000;АО "ГЛОНАСС";г. Москва;7703383783\n'
)
PORTABLE = 1101
"""All but the numbers of machines."""


@pytest.fixture
def small_plan(tmp_path: Path) -> Path:
    """Return a plan file of four ranges."""
    path = tmp_path / "DEF-9xx.csv"
    path.write_text(SMALL_PLAN, encoding="utf-8-sig")
    return path


@pytest.mark.parametrize(
    "vintage", ["2020-08/DEF-9xx.csv", "2023-07/DEF-9xx.csv", "2026-04/DEF-9xx.csv"]
)
def test_ported_numbers_lie_in_a_real_plan(reference_data: Path, tmp_path: Path, vintage: str):
    """Over any vintage all ported numbers lie in its ranges, and no plan file is written."""
    path = reference_data / "numbering_plan" / vintage
    made = generate(tmp_path, GenerateOptions(ported=20_000, plan=[path]))
    plan, ported = read(path).ranges, read(made.port_all[0]).ported
    assert plan is not None
    assert ported is not None
    assert made.plan == []
    assert made.mobile_ranges == len(plan.first)
    index = np.searchsorted(plan.first, ported.numbers, side="right") - 1
    assert len(ported.numbers) == 20_000
    assert (index >= 0).all()
    assert (ported.numbers <= plan.last[index]).all()


def test_known_holders_keep_their_codes_and_others_get_one(small_plan: Path, tmp_path: Path):
    """Holders are found by tax number; one that no table knows gets a code of its own."""
    made = generate(tmp_path / "made", GenerateOptions(ported=50, plan=[small_plan], zipped=False))
    rows = made.numbering_plan.read_text(encoding="utf-8").splitlines()[1:]
    assert [row.split(",")[:5] for row in rows] == [
        ["9000000000", "9000000999", "mTELE2", "25", "20"],
        ["9000001000", "9000001099", "mNEW1", "77", rows[1].split(",")[4]],
        ["9000002000", "9000002000", "mMTS", "25", "01"],
        ["9410000000", "9410009999", "mGLONASS", "77", "77"],
    ]
    operators = made.operators.read_text(encoding="utf-8").splitlines()
    assert any(row.startswith("mNEW1,") and "0000000019" in row for row in operators)


def test_the_whole_plan_can_be_ported(small_plan: Path, tmp_path: Path):
    """Every number that can be ported is, when so many are asked for."""
    made = generate(
        tmp_path / "made",
        GenerateOptions(ported=PORTABLE, plan=[small_plan], tiers=(Tier.PORT_ALL, "Port_All_Full")),
    )
    ported = read(made.port_all[0]).ported
    assert ported is not None
    expected = [*range(79000000000, 79000001100), 79000002000]
    assert ported.numbers.tolist() == expected
    assert made.returned_home == 0


@pytest.mark.parametrize("ported", range(1, PORTABLE, 61))
def test_any_number_of_ports_is_exact(small_plan: Path, tmp_path: Path, ported: int):
    """The count is met exactly however full the ranges become."""
    options = GenerateOptions(ported=ported, plan=[small_plan], seed=ported, tiers=tuple(Tier))
    made = generate(tmp_path / "made", options)
    records = [read(path).ported for path in made.port_all]
    assert [len(r.numbers) for r in records if r is not None] == [ported] * 2
    assert records[1] is not None
    assert records[1].returned_home == made.returned_home


def test_more_ported_numbers_than_the_plan_holds_are_refused(small_plan: Path, tmp_path: Path):
    """Asking for more than the plan can give is an error that says how many it holds."""
    with pytest.raises(SettingError, match=f"the plan holds {PORTABLE} that can be ported"):
        generate(tmp_path / "made", GenerateOptions(ported=PORTABLE + 1, plan=[small_plan]))
    assert list((tmp_path / "made").iterdir()) == []


def test_a_plan_without_mobile_ranges_is_refused(tmp_path: Path):
    """Fixed ranges alone give nothing to port."""
    path = tmp_path / "ABC-8xx.csv"
    path.write_text(
        HEADER + '812;2000000;2009999;10000;ПАО "Ростелеком";г. Санкт-Петербург;7707049388\n',
        encoding="utf-8-sig",
    )
    with pytest.raises(SettingError, match="the plan has no mobile range"):
        generate(tmp_path / "made", GenerateOptions(ported=1, plan=[path]))


def test_two_vintages_at_once_are_refused(small_plan: Path, tmp_path: Path):
    """A range that two plan files hold is an error."""
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "DEF-9xx.csv"
    copy.write_bytes(small_plan.read_bytes())
    with pytest.raises(SettingError, match="two plan files hold the same range"):
        generate(tmp_path / "made", GenerateOptions(ported=1, plan=[small_plan, copy]))


def test_a_file_that_is_no_plan_is_refused(small_plan: Path, tmp_path: Path):
    """Another file of the registry, or no registry's file, is not taken for a plan."""
    made = generate(tmp_path / "made", GenerateOptions(ported=1, plan=[small_plan]))
    with pytest.raises(SettingError, match="is not a numbering plan"):
        generate(tmp_path / "again", GenerateOptions(ported=1, plan=[made.operators]))
    page = tmp_path / "page.csv"
    page.write_text("<html></html>")
    with pytest.raises(InputError):
        generate(tmp_path / "again", GenerateOptions(ported=1, plan=[page]))
