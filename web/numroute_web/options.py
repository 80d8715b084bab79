"""What a list may ask for: its options, and the choices that the service's operator offers.

Choices are files::

    DIR/policies/NAME.toml
    DIR/prices/NAME.toml
    DIR/do-not-send/NAME        a list of any form
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from numroute.errors import SettingError
from numroute_campaign.vocabulary import CATEGORIES, FORMS, LANGUAGES, REJECTS_MAX, SEGMENTS_MAX
from numroute_web.problems import ProblemError

_FOLDERS: Final = {"policy": "policies", "prices": "prices", "suppress": "do-not-send"}

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class ListOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to read and route a list; the names are those of the options of `numroute route`."""

    region: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")] | None = None
    column: _Name | None = None
    delimiter: _Name | None = None
    encoding: _Name | None = None
    header: bool | None = None
    sheet: _Name | None = None
    several: Annotated[str, msgspec.Meta(pattern="^(first|all|reject)$")] = "first"
    max_rejected: Annotated[float, msgspec.Meta(ge=0, le=1)] = REJECTS_MAX
    policy: _Name | None = None
    prices: _Name | None = None
    suppress: Annotated[list[_Name], msgspec.Meta(max_length=20)] = []
    suppress_column: _Name | None = None
    suppress_header: bool | None = None
    suppress_lenient: bool = False
    category: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(CATEGORIES)})$")] | None = None
    segments: Annotated[int, msgspec.Meta(ge=1, le=SEGMENTS_MAX)] | None = None
    segments_column: _Name | None = None
    keep: Annotated[list[_Name], msgspec.Meta(max_length=50)] = []
    format: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(FORMS)})$")] = "csv"
    rows_per_file: Annotated[int, msgspec.Meta(ge=1)] | None = None
    language: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(LANGUAGES)})$")] = "en"

    def __post_init__(self) -> None:
        """Refuse what would change nothing. Raises ValueError."""
        if self.category is not None and self.prices is None:
            raise ValueError("category is for costs: give prices as well")
        if self.segments is not None and (self.prices is None or self.segments_column is not None):
            raise ValueError(
                "segments is for costs, and for all messages alike: give it with prices and "
                "without segments_column"
            )


def values_of(parameters: Iterable[tuple[str, object]]) -> dict[str, list[str]]:
    """Return the texts of a query's or a form's parameters by their names."""
    values: dict[str, list[str]] = {}
    for name, value in parameters:
        values.setdefault(name, []).append(str(value))
    return values


def options_of(values: Mapping[str, Sequence[str]]) -> ListOptions:
    """Return the options that parameters give, each a name with its values; empty ones are none.

    Raises:
        ProblemError: One is unknown or malformed.
    """
    document: dict[str, Any] = {}
    for name, texts in values.items():
        given = [text for text in texts if text]
        if given:
            document[name] = given if name in {"keep", "suppress"} else given[-1]
    try:
        return msgspec.convert(document, ListOptions, strict=False)
    except msgspec.ValidationError as error:
        raise ProblemError("invalid-request", HTTPStatus.BAD_REQUEST, str(error)) from None


def read_choices(folder: Path | None) -> dict[str, list[str]]:
    """Return the names of what the folder offers now, by kind."""
    return {kind: sorted(_files(folder, kind)) for kind in _FOLDERS}


def check_choices(folder: Path | None, options: ListOptions) -> None:
    """Raise SettingError if options name a choice that the folder does not offer."""
    chosen = [("policy", options.policy), ("prices", options.prices)]
    for kind, name in (*chosen, *(("suppress", each) for each in options.suppress)):
        if name is not None:
            chosen_path(folder, kind, name)


def chosen_path(folder: Path | None, kind: str, name: str) -> Path:
    """Return the file of a choice. Raises SettingError if the folder does not offer it."""
    files = _files(folder, kind)
    if name not in files:
        known = ", ".join(sorted(files)) or "none"
        raise SettingError(f"{kind}: unknown name", hint=f"This service offers {known}")
    return files[name]


def _files(folder: Path | None, kind: str) -> dict[str, Path]:
    """Return the files of a kind by the names that clients use."""
    if folder is None or not (folder / _FOLDERS[kind]).is_dir():
        return {}
    return {
        path.name if kind == "suppress" else path.stem: path
        for path in (folder / _FOLDERS[kind]).iterdir()
        if path.is_file()
        and not path.name.startswith(".")
        and (kind == "suppress" or path.suffix == ".toml")
    }
