"""What policies and price lists share: TOML files read into structs, and conditions on a route.

msgspec reads the structs; its errors carry the path of the wrong key.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec

from numroute.errors import InputError
from numroute.model import LineType, Route
from numroute_campaign.vocabulary import Phrase

Document = TypeVar("Document")

FILE_BYTES_MAX: Final = 2**20

_LINE_TYPES: Final = tuple(each.name for each in LineType)
_UNKNOWN_KEY: Final = re.compile(r"Object contains unknown field `(.*?)`")
_PLAIN: Final = {
    "Expected `str | array`": "expected a text or a list of texts",
    "Expected `str`": "expected a text in quotes",
    "Expected `array`": "expected a list",
    "Expected `object`": "expected a table",
    "Expected": "expected",
    "Object missing required field": "missing key",
    "`": "'",
}
"""What msgspec says, in words of TOML."""

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


def any_matches(patterns: Texts, *values: str) -> bool:
    """Return whether some value matches some pattern; no pattern matches everything."""
    if isinstance(patterns, str):
        patterns = (patterns,)
    return not patterns or any(
        _pattern(pattern).fullmatch(value) for pattern in patterns for value in values if value
    )


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    escaped = re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(escaped, re.IGNORECASE | re.DOTALL)


def read_toml(
    path: Path, kind: type[Document], structs: Sequence[type[msgspec.Struct]]
) -> Document:
    """Read a TOML file into a struct.

    Args:
        path: The file.
        kind: The struct of the whole document.
        structs: All structs in it: their keys are proposed for a misspelt one.

    Raises:
        InputError: The file cannot be read, is not TOML, or a key of it is wrong.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(
            path, f"cannot be read: {error.strerror}", hint="Check the path and its permissions"
        ) from None
    if len(raw) > FILE_BYTES_MAX:
        raise InputError(path, f"longer than {FILE_BYTES_MAX:,} bytes", hint="Split the file")
    try:
        document = msgspec.toml.decode(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError(path, "not UTF-8", hint="Save it as UTF-8") from None
    except msgspec.DecodeError as error:
        raise InputError(path, f"not TOML: {error}", hint="See docs/campaign.md") from None
    return convert(path, document, kind, structs=structs)


def convert(
    path: Path,
    value: object,
    kind: type[Document],
    *,
    at: str = "",
    structs: Sequence[type[msgspec.Struct]] = (),
) -> Document:
    """Return a table of a file as a struct. Raises InputError, which names the path of the key."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$")
        inner = re.sub(r"\[(\d+)\]", lambda match: f" {int(match[1]) + 1}", where.strip("`"))
        at = f"{at}{inner}".strip(".")
        if match := _UNKNOWN_KEY.match(reason):
            known = {key for each in (kind, *structs) for key in _keys(each)}
            reason = f"unknown key {match[1]!r}. {did_you_mean(match[1], known)}"
        for word, plain in _PLAIN.items():
            reason = reason.replace(word, plain)
        raise InputError(path, f"{at}: {reason}" if at else reason) from None


def _keys(kind: type) -> tuple[str, ...]:
    return getattr(kind, "__struct_encode_fields__", ())


def check_words(key: str, texts: Texts, known: Sequence[str]) -> None:
    """Make sure that texts are among the known words, in any case. Raises ValueError."""
    for text in (texts,) if isinstance(texts, str) else texts:
        if text.casefold() not in {word.casefold() for word in known}:
            raise ValueError(f"{key}: unknown word {text!r}. {did_you_mean(text, known)}")


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return the hint for a misspelt word: the closest known one, or all of them."""
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    if close:
        return Phrase("Did you mean {}?", repr(folded[close[0]]))
    return Phrase("Known are {}", ", ".join(sorted(known)[:20]))
