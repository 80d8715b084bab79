"""The file of overrides: number or range, operator, reason, author, expiry; one a line.

A CSV file in UTF-8 with a header. Columns: ``number`` and, for a range, ``last`` (whole E.164
numbers, inclusive), ``operator`` (a code that the snapshot knows), ``reason``, ``author``; and,
where wanted, ``expires`` (ISO 8601 with time zone), ``mcc`` and ``mnc``, ``routing_number``,
``region`` (a code or a name that the snapshot knows). Empty lines and lines that begin with ``#``
are passed over.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute.index import Override
from numroute.index.overrides import OVERRIDES_MAX, find_crossing
from numroute.model import NUMBER_MAX, LineType, Operator, Region, mask_digits, mask_number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numroute.index import Snapshot

REQUIRED = ("number", "operator", "reason", "author")
OPTIONAL = ("last", "expires", "mcc", "mnc", "routing_number", "region")

FILE_BYTES_MAX = 8 << 20
REASON_CHARS_MAX = 500
AUTHOR_CHARS_MAX = 100

_NUMBER = re.compile(r"\+?[1-9][0-9]{0,14}")
_MCC = re.compile(r"[0-9]{3}")
_MNC = re.compile(r"[0-9]{2,3}")
_ROUTING_NUMBER = re.compile(r"[0-9A-Za-z]{1,32}")
_TIME_HINT = "Write the time as 2026-12-31T00:00:00+03:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideFile:
    """What a file holds: overrides in its order, and how many of its lines had expired already."""

    overrides: tuple[Override, ...]
    expired: int


def read_overrides(path: Path, snapshot: Snapshot) -> OverrideFile:
    """Read a file of overrides; names and networks of operators are those of the snapshot.

    Raises InputError that names the line.
    """
    known = _Known(snapshot)
    now = datetime.now(UTC)
    overrides: dict[int, Override] = {}
    expired = 0
    for line, cells in _rows(path):
        override = _Line(path, line, cells).override(known)
        if not override.active(now):
            expired += 1
            continue
        overrides[line] = override
        if len(overrides) > OVERRIDES_MAX:
            raise InputError(
                path,
                f"more than {OVERRIDES_MAX} overrides",
                line=line,
                hint="What is so much belongs into the registry's data, or into one range",
            )
    crossing = find_crossing(overrides.values())
    if crossing:
        first, second = (
            line for line, each in overrides.items() if any(each is one for one in crossing)
        )
        raise InputError(
            path,
            f"crosses the override in line {first}, or repeats it: which one decides?",
            line=second,
            hint="Split the ranges so that they are apart, or one lies within the other",
        )
    return OverrideFile(overrides=tuple(overrides.values()), expired=expired)


class _Known:
    """The operators, their networks and the regions of a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.operators: dict[str, Operator] = {}
        self.networks: dict[str, set[tuple[str, str]]] = {}
        self.line_types: dict[str, set[LineType]] = {}
        self.regions: dict[str, Region] = {}
        for row in range(len(snapshot.routes)):
            route = snapshot.routes[row]
            code = route.operator.code
            if code:
                self.operators.setdefault(code, route.operator)
                self.networks.setdefault(code, set()).add((route.mcc, route.mnc))
                self.line_types.setdefault(code, set()).add(route.line_type)
            for name in (route.region.code, route.region.name):
                if name:
                    self.regions.setdefault(name, route.region)


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the file: its cells by column."""

    path: Path
    number: int
    cells: dict[str, str]

    def override(self, known: _Known) -> Override:
        """Return what the line says. Raises InputError."""
        first = self._e164("number")
        last = self._e164("last") if self.cells["last"] else first
        if last < first:
            raise self._wrong("last", "lies before number")
        code = self.cells["operator"]
        operator = known.operators.get(code)
        if operator is None:
            raise self._wrong(
                "operator",
                f"{mask_digits(code)!r} is no operator of the snapshot" if code else "is empty",
                hint="Take a code that the registry's operator table or plan has",
            )
        mcc, mnc = self._network(known.networks[code])
        region = self.cells["region"]
        if region and region not in known.regions:
            raise self._wrong(
                "region",
                f"{mask_digits(region)!r} is no region of the snapshot",
                hint="Give its code or name",
            )
        line_types = known.line_types[code] - {LineType.UNSPECIFIED}
        return Override(
            first=first,
            last=last,
            operator=operator,
            mcc=mcc,
            mnc=mnc,
            routing_number=self._matching("routing_number", _ROUTING_NUMBER),
            region=known.regions[region] if region else Region(),
            line_type=line_types.pop() if len(line_types) == 1 else LineType.UNSPECIFIED,
            reason=self._text("reason", REASON_CHARS_MAX),
            author=self._text("author", AUTHOR_CHARS_MAX),
            expires=self._expires(),
        )

    def _e164(self, column: str) -> int:
        text = self.cells[column]
        if not _NUMBER.fullmatch(text) or int(text) > NUMBER_MAX:
            raise self._wrong(
                column,
                f"{mask_number(text)!r} is no whole number" if text else "is empty",
                hint="Write it with its country code, as 79161234567 or +79161234567",
            )
        return int(text)

    def _network(self, of_operator: set[tuple[str, str]]) -> tuple[str, str]:
        mcc, mnc = self._matching("mcc", _MCC), self._matching("mnc", _MNC)
        if bool(mcc) != bool(mnc):
            raise self._wrong("mnc" if mcc else "mcc", "is empty, the other is given")
        if mcc:
            return mcc, mnc
        named = sorted(each for each in of_operator if each[0])
        if len(named) > 1:
            raise self._wrong(
                "mcc",
                "is empty, and the operator has several networks: "
                + ", ".join("-".join(each) for each in named),
                hint="Give mcc and mnc",
            )
        return named[0] if named else ("", "")

    def _expires(self) -> datetime | None:
        text = self.cells["expires"]
        if not text:
            return None
        try:
            expires = datetime.fromisoformat(text)
        except ValueError:
            shown = mask_digits(text)
            raise self._wrong("expires", f"{shown!r} is no time", hint=_TIME_HINT) from None
        if expires.tzinfo is None:
            shown = mask_digits(text)
            raise self._wrong("expires", f"{shown!r} names no time zone", hint=_TIME_HINT)
        return expires.astimezone(UTC)

    def _text(self, column: str, longest: int) -> str:
        text = self.cells[column]
        if not text:
            raise self._wrong(column, "is empty", hint="Who reads `explain` wants to know")
        if len(text) > longest or not text.isprintable():
            raise self._wrong(column, f"is no printable text of at most {longest} characters")
        return text

    def _matching(self, column: str, pattern: re.Pattern[str]) -> str:
        text = self.cells[column]
        if text and not pattern.fullmatch(text):
            shown = mask_digits(text)[:40]
            raise self._wrong(column, f"{shown!r} is not of the form {pattern.pattern}")
        return text

    def _wrong(self, column: str, reason: str, *, hint: str = "") -> InputError:
        return InputError(self.path, f"{column} {reason}", line=self.number, hint=hint)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each line's number and cells, stripped; columns that are not there are empty."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputError(path, f"the file is larger than {FILE_BYTES_MAX:,} bytes")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(path, "the text is not UTF-8", hint="Save it as UTF-8") from None
    columns: list[str] = []
    for line, content in enumerate(text.splitlines(), start=1):
        if not content.strip() or content.lstrip().startswith("#"):
            continue
        try:
            (cells,) = csv.reader([content], strict=True)
        except csv.Error:
            raise InputError(path, "a quote is not closed", line=line) from None
        cells = [cell.strip() for cell in cells]
        if not columns:
            columns = _header(path, line, cells)
        elif len(cells) != len(columns):
            raise InputError(
                path, f"{len(cells)} cells, the header has {len(columns)} columns", line=line
            )
        else:
            yield line, dict.fromkeys(OPTIONAL, "") | dict(zip(columns, cells, strict=True))
    if not columns:
        raise InputError(
            path,
            "the file is empty",
            hint=f"Its header is {','.join(REQUIRED)}; `override clear` removes all overrides",
        )


def _header(path: Path, line: int, cells: list[str]) -> list[str]:
    missing = [name for name in REQUIRED if name not in cells]
    foreign = [name for name in cells if name not in (*REQUIRED, *OPTIONAL)]
    if missing or foreign or len(set(cells)) != len(cells):
        raise InputError(
            path,
            f"the header lacks {', '.join(missing)}"
            if missing
            else f"the header has an unknown column {mask_digits(foreign[0])!r}"
            if foreign
            else "the header names a column twice",
            line=line,
            hint=f"Columns are {', '.join(REQUIRED)} and, where wanted, {', '.join(OPTIONAL)}",
        )
    return cells
