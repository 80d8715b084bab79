"""Open-data plan files as their publisher writes them (registries.md, 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute_loader.generate.options import PlanEncoding
from numroute_loader.generate.plan import CODE_SIZE, UNNAMED_REGION

if TYPE_CHECKING:
    from numroute_loader.generate.plan import PlanText

UNPADDED_ONE_IN = 50
"""In the oldest era some rows have lost their leading zeros."""

# The first column's "АВС" is Cyrillic, in the real files too.
_HEADERS = {
    PlanEncoding.UTF_8: "АВС/ DEF;От;До;Емкость;Оператор;Регион;Территория ГАР;ИНН",
    PlanEncoding.WINDOWS_1251: "АВС/ DEF;От;До;Емкость;Оператор;Регион",
}
_CODECS = {PlanEncoding.UTF_8: "utf-8-sig", PlanEncoding.WINDOWS_1251: "cp1251"}


def plan_file_bytes(text: PlanText, leading_digit: int, encoding: PlanEncoding) -> bytes:
    """Return the plan file of all codes with this leading digit.

    Lines end in LF, the last one in nothing, as the publisher's do.
    """
    low, high = leading_digit * 100 * CODE_SIZE, (leading_digit + 1) * 100 * CODE_SIZE
    chosen = (text.first >= low) & (text.first < high)
    modern = encoding is PlanEncoding.UTF_8
    holders = [name for name, _ in text.holders]
    endings = [
        f"{region};{territory}" if modern else _old_region(region, territory)
        for region, territory in text.places
    ]
    tax_numbers = [f";{tax_number}" if modern else "" for _, tax_number in text.holders]
    lines = [_HEADERS[encoding]]
    for row, (first, last, holder, place) in enumerate(
        zip(
            text.first[chosen].tolist(),
            text.last[chosen].tolist(),
            text.holder[chosen].tolist(),
            text.place[chosen].tolist(),
            strict=True,
        )
    ):
        code, low = divmod(first, CODE_SIZE)
        padding = 0 if not modern and row % UNPADDED_ONE_IN == 0 else 7
        lines.append(
            f"{code};{low:0{padding}d};{last % CODE_SIZE:0{padding}d};{last - first + 1};"
            f"{holders[holder]};{endings[place]}{tax_numbers[holder]}"
        )
    return "\n".join(lines).encode(_CODECS[encoding])


def _old_region(region: str, territory: str) -> str:
    """Without the territory column the region is always named."""
    return territory if region == UNNAMED_REGION else region
