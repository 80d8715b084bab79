"""Who is who: the operators of a registry and of a numbering plan as one list.

The registry's own code is an operator's identity. A plan knows tax numbers: a holder whose tax
number is that of a registry's operator is that operator. A holder with a tax number that no
operator of the registry has goes by the tax number, one without by its name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from numroute.model import Operator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numroute_loader.merge.ranges import Layer, Stack
    from numroute_loader.records import OperatorRow, RouteKey


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorDirectory:
    """The operators by each way in which a source can name them.

    ``by_code``: the registry's operators, and those whose tax number the plans told.
    ``code_of_tax_number``, ``code_of_name``: codes of ``by_code``; a name is only here when
    the registry's table gives it to one operator. ``name_of_tax_number``: how the plans call a
    holder.
    """

    by_code: Mapping[str, Operator] = field(default_factory=dict)
    code_of_tax_number: Mapping[str, str] = field(default_factory=dict)
    code_of_name: Mapping[str, str] = field(default_factory=dict)
    name_of_tax_number: Mapping[str, str] = field(default_factory=dict)

    def serving(self, key: RouteKey) -> Operator:
        """Return the operator that a registry's record names, without brand.

        A record of the simplified tier has a name only: the registry's own, so an equal name in
        its operator table is the same operator.
        """
        if key.operator_code or key.tax_number:
            return self.holder(key)
        code = self.code_of_name.get(key.operator_name, "")
        return self.by_code[code] if code else Operator(name=key.operator_name)

    def holder(self, key: RouteKey) -> Operator:
        """Return the operator that holds a range, without brand."""
        code = key.operator_code or self.code_of_tax_number.get(key.tax_number, "")
        if code:
            told = Operator(code=code, name=key.operator_name, tax_number=key.tax_number)
            return self.by_code.get(code, told)
        if key.tax_number:
            name = self.name_of_tax_number.get(key.tax_number, key.operator_name)
            return Operator(code=key.tax_number, name=name, tax_number=key.tax_number)
        return Operator(name=key.operator_name)


def build_directory(
    rows: Sequence[OperatorRow], layers: Sequence[Layer], stack: Stack
) -> OperatorDirectory:
    """Make the directory from a registry's operator table and all plans.

    An operator has several rows, one per MNC. Its name and its tax number are the non-empty ones
    that most of its rows give, the first of them where two are as frequent. Where no row gives a
    tax number, the plans do: that of the holder of more than half of the numbers that the
    registry's plan gives to the code and another plan gives to any tax number.
    """
    name_of_tax_number = _usual_names(layers)
    names: dict[str, Counter[str]] = defaultdict(Counter)
    tax_numbers: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        names[row.code][row.name] += 1
        tax_numbers[row.code][row.tax_number] += 1
    told = _tax_numbers_of_stack(stack)
    by_code: dict[str, Operator] = {}
    for code in dict.fromkeys([*names, *told]):
        tax_number = _most_frequent(tax_numbers[code]) or told.get(code, "")
        name = _most_frequent(names[code]) or name_of_tax_number.get(tax_number, "")
        by_code[code] = Operator(code=code, name=name, tax_number=tax_number)
    return OperatorDirectory(
        by_code=by_code,
        code_of_tax_number=_first_code(
            (operator.tax_number, code) for code, operator in by_code.items()
        ),
        # A name that a plan lent to a code is not the registry's, so it must not compete here.
        code_of_name=_only_code((row.name, row.code) for row in rows),
        name_of_tax_number=name_of_tax_number,
    )


def known_operators(operators: Iterable[Operator]) -> OperatorDirectory:
    """Make the directory from the operators of a snapshot, which have been joined already."""
    by_code: dict[str, Operator] = {}
    for operator in operators:
        if operator.code:
            by_code.setdefault(operator.code, replace(operator, brand=""))
    return OperatorDirectory(
        by_code=by_code,
        code_of_name=_only_code((operator.name, code) for code, operator in by_code.items()),
    )


def _usual_names(layers: Iterable[Layer]) -> Mapping[str, str]:
    """The spelling of each tax number's name that covers the most numbers of all plans."""
    covered: dict[str, Counter[str]] = defaultdict(Counter)
    for layer in layers:
        for key, numbers in zip(layer.keys, layer.numbers_by_key().tolist(), strict=True):
            if key.tax_number and key.operator_name:
                covered[key.tax_number][key.operator_name] += numbers
    return {tax_number: _most_frequent(names) for tax_number, names in covered.items()}


def _tax_numbers_of_stack(stack: Stack) -> Mapping[str, str]:
    """The tax number that the plans give to most numbers of a registry's code."""
    covered: dict[str, Counter[str]] = defaultdict(Counter)
    for keys, numbers in zip(
        stack.combinations, stack.numbers_by_combination().tolist(), strict=True
    ):
        code = keys[0].operator_code if keys else ""
        tax_number = next((key.tax_number for key in keys if key.tax_number), "")
        if code and tax_number:
            covered[code][tax_number] += numbers
    usual = {code: counts.most_common(1)[0] for code, counts in covered.items()}
    return {
        code: tax_number
        for code, (tax_number, numbers) in usual.items()
        if 2 * numbers > covered[code].total()
    }


def _most_frequent(counts: Counter[str]) -> str:
    """The most frequent text that is not empty, the first counted where two are as frequent."""
    return max((text for text in counts if text), key=counts.__getitem__, default="")


def _first_code(pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """The first code of each text."""
    codes: dict[str, str] = {}
    for text, code in pairs:
        if text:
            codes.setdefault(text, code)
    return codes


def _only_code(pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """The code of each text that has only one."""
    codes: dict[str, set[str]] = defaultdict(set)
    for text, code in pairs:
        codes[text].add(code)
    return {text: min(found) for text, found in codes.items() if text and len(found) == 1}
