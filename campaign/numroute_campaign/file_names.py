"""Names of output files: readable, safe on every file system, different for different routes."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNSAFE: Final = re.compile(r"[^\w.-]+")
_STEM_CHARS_MAX: Final = 60

REJECTS: Final = "rejects"
SUMMARY: Final = "summary.json"
REPORT: Final = "report.html"
_TAKEN: Final = (REJECTS, "summary", "report")


def file_stem(route: str, taken: Iterable[str]) -> str:
    """Return a file name without ending for an output route; none of ``taken``, without case."""
    text = unicodedata.normalize("NFC", route)
    stem = _UNSAFE.sub("-", text).strip("-._")[:_STEM_CHARS_MAX].lower() or "route"
    used = {*_TAKEN, *taken}
    candidate, serial = stem, 1
    while candidate in used:
        serial += 1
        candidate = f"{stem}-{serial}"
    return candidate


def part_name(stem: str, ending: str, part: int | None) -> str:
    """Return the name of a whole file, or of a part counted from 1."""
    return f"{stem}{ending}" if part is None else f"{stem}-{part:05}{ending}"
