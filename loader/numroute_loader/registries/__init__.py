"""The registries that can be read. What is peculiar to one is in its module only."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from numroute_loader.gate.limits import GateLimits, read_limits
from numroute_loader.reading.archive import Archive
from numroute_loader.reading.csv_stream import lines_with
from numroute_loader.reading.description import STRICT, FileKind
from numroute_loader.reading.recognition import kind_named, recognise_among
from numroute_loader.registries import ru_bdpn, ru_numbering_plan

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numroute_loader.reading.description import (
        ParsedFile,
        Progress,
        RegistryFile,
        Tolerance,
    )

KINDS: tuple[FileKind, ...] = (*ru_bdpn.KINDS, *ru_numbering_plan.KINDS)
"""Every kind of file that is read, of every registry."""

CHAINS = (*ru_bdpn.CHAINS,)
"""Every way in which increments follow full dumps."""

INCREMENTS = frozenset(kind for chain in CHAINS for kind in chain.kinds)
"""The names of all kinds of increments."""

FEEDS = {ru_bdpn.REGISTRY: ru_bdpn.FEED}
"""How each registry delivers its files."""

_UNREAD = (*ru_bdpn.UNREAD,)
_LIMITS = {ru_bdpn.REGISTRY: ru_bdpn.LIMITS}


def kind_of(name: str) -> FileKind:
    """Return the kind of this name; raises SettingError when there is none."""
    return kind_named(name, KINDS)


def open_file(path: Path, kind: str | None = None) -> RegistryFile:
    """Open a file and recognise its kind by its name and its first line, which must agree.

    ``kind`` (the ``KIND`` of ``KIND=PATH``) overrides the name; the text must still begin as that
    kind. Raises InputError when the file is of no known kind, of several, or contradicts itself,
    and SettingError for an unknown ``kind``.
    """
    archive = Archive(path)
    try:
        return recognise_among(archive, KINDS, _UNREAD, kind)
    except BaseException:
        archive.close()
        raise


def recognise(path: Path, kind: str | None = None) -> FileKind:
    """Return the kind of a file; raises as ``open_file`` does."""
    file = open_file(path, kind)
    file.archive.close()
    return file.kind


def read(
    path: Path,
    kind: str | None = None,
    *,
    progress: Progress | None = None,
    tolerance: Tolerance = STRICT,
) -> ParsedFile:
    """Read one file whole; raises InputError with file, line, reason and remedy."""
    file = open_file(path, kind)
    with file.archive:
        return file.kind.read(file, progress, tolerance)


def find_first(path: Path, kind: FileKind, code_or_number: str | int) -> int | None:
    """Return the first line of a file that holds an operator's code or a whole number, or None.

    For messages about what only the files together show: it reads the file again, and slowly.
    """
    if isinstance(code_or_number, str):
        column, text = kind.operator_column, code_or_number
    else:
        column = kind.number_column
        text = kind.number_format.written(code_or_number) if kind.number_format else ""
    lines = lines_with(path, column, text, lines_max=1) if column else []
    return lines[0] if lines else None


def load_limits(path: Path | None = None, registries: Collection[str] = ()) -> GateLimits:
    """Return the limits of the gate; the TOML file at ``path`` overrides the built-in ones.

    These are the limits of the first of the ``registries`` that brings some, by default of the
    first that is known. Raises InputError when the file cannot be read or is wrong.
    """
    name = next(
        (_LIMITS[each] for each in registries if each in _LIMITS), next(iter(_LIMITS.values()))
    )
    table = resources.files("numroute_loader").joinpath("registries", "tables", name)
    return read_limits(table.read_text("utf-8"), path)
