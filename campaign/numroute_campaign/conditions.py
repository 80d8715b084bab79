"""What policies and price lists share: TOML files read into structs, and conditions on a route.

msgspec reads the structs; its errors carry the path of the wrong key.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec

from numroute.errors import InputError
from numroute.model import LineType, Route

Document = TypeVar("Document")

_LINE_TYPES: Final = tuple(each.name for each in LineType)

Text = Annotated[str, msgspec.Meta(min_length=1)]
Texts = Text | Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]


class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions on a route. All that are given must hold; of a list, one text must match.

    Texts may contain ``*`` and ``?``; case does not matter.

    Attributes:
        brand: The operator's brand.
        operator: The registry's code, the name or the tax number.
        network: MCC and MNC, with or without a dash.
        region: The code or the name.
        line_type: Names of ``LineType``.
    """

    brand: Texts = ()
    operator: Texts = ()
    network: Texts = ()
    region: Texts = ()
    line_type: Texts = ()

    def __post_init__(self) -> None:
        check_words("line_type", self.line_type, _LINE_TYPES)

    def matches(self, route: Route) -> bool:
        """Return whether the conditions hold for a route."""
        operator, region = route.operator, route.region
        return (
            any_matches(self.line_type, route.line_type.name)
            and any_matches(self.brand, operator.brand)
            and any_matches(self.operator, operator.code, operator.name, operator.tax_number)
            and any_matches(self.network, f"{route.mcc}{route.mnc}", f"{route.mcc}-{route.mnc}")
            and any_matches(self.region, region.code, region.name)
        )


def listed(texts: Texts) -> tuple[str, ...]:
    """Return one text or several as a tuple."""
    return (texts,) if isinstance(texts, str) else texts


def any_matches(patterns: Texts, *values: str) -> bool:
    """Return whether some value matches some pattern; no pattern matches everything."""
    return not patterns or any(
        _pattern(pattern).fullmatch(value)
        for pattern in listed(patterns)
        for value in values
        if value
    )


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    escaped = re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(escaped, re.IGNORECASE | re.DOTALL)


def check_words(key: str, texts: Texts, known: Sequence[str]) -> None:
    """Make sure that texts are among the known words, in any case. Raises ValueError."""
    for text in listed(texts):
        if text.casefold() not in {word.casefold() for word in known}:
            raise ValueError(f"{key}: unknown word {text!r}. Known are {', '.join(known)}")


def read_toml(path: Path, kind: type[Document]) -> Document:
    """Read a TOML file into a struct. Raises InputError, also if a key of it is wrong."""
    try:
        document = msgspec.toml.decode(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(
            path, f"cannot be read: {error.strerror}", hint="Check the path and its permissions"
        ) from None
    except UnicodeDecodeError:
        raise InputError(path, "not UTF-8", hint="Save it as UTF-8") from None
    except msgspec.DecodeError as error:
        raise InputError(path, f"not TOML: {error}", hint="See docs/campaign.md") from None
    return convert(path, document, kind)


def convert(path: Path, value: object, kind: type[Document], at: str = "") -> Document:
    """Return a table of a file as a struct. Raises InputError, which names the path of the key."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).replace("`", "'").partition(" - at '$")
        inner = re.sub(r"\[(\d+)\]", lambda match: f" {int(match[1]) + 1}", where.strip("'"))
        at = f"{at}{inner}".strip(".")
        raise InputError(
            path, f"{at}: {reason}" if at else reason, hint="See docs/campaign.md"
        ) from None
