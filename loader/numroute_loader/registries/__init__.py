"""The registries that can be read. What is peculiar to one stands in its module only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute_loader.reading.description import STRICT, FileKind
from numroute_loader.reading.recognition import recognise_among
from numroute_loader.registries import ru_bdpn, ru_numbering_plan

if TYPE_CHECKING:
    from pathlib import Path

    from numroute_loader.reading.description import Progress, Tolerance
    from numroute_loader.records import ParsedFile

__all__ = ["CHAINS", "KINDS", "FileKind", "find_first", "read", "recognise"]

KINDS: tuple[FileKind, ...] = (*ru_bdpn.KINDS, *ru_numbering_plan.KINDS)
"""Every kind of file that is read, of every registry."""

CHAINS = (*ru_bdpn.CHAINS,)
"""Every way in which increments follow full dumps."""

_UNREAD = (*ru_bdpn.UNREAD,)


def recognise(path: Path, override: str | None = None) -> FileKind:
    """Return the kind of a file, told by its name and its first line, which must agree.

    ``override`` names the kind (the ``KIND`` of ``KIND=PATH``), whatever the file is called; the
    text must still begin as that kind does. Raises ``InputError`` when the file is of no known
    kind, of several, or contradicts itself, and ``SettingError`` for an unknown ``override``.
    """
    return recognise_among(path, KINDS, _UNREAD, override)


def read(
    path: Path,
    kind: FileKind | str | None = None,
    *,
    progress: Progress | None = None,
    tolerance: Tolerance = STRICT,
) -> ParsedFile:
    """Read a registry's file whole, or raise ``InputError`` with file, line, reason and remedy.

    ``kind`` is what ``recognise`` returned, a kind's name, or None to recognise it here.
    ``progress`` is called in this thread with (bytes done, bytes total) of the file on disk.
    ``tolerance`` lets defects of a full dump pass, where its kind knows how; all else is strict.
    """
    if kind is None or isinstance(kind, str):
        kind = recognise(path, kind)
    if kind.read_tolerantly is not None:
        return kind.read_tolerantly(path, kind, progress, tolerance)
    return kind.read(path, kind, progress)


def find_first(path: Path, kind: FileKind, wanted: str | int) -> int | None:
    """Return the first line of a file that holds an operator's code or a number, None when none.

    ``wanted`` is a code as the registry writes it, or a whole E.164 number. For messages about what
    only the files together show; it reads the file again, and slowly. Raises ``InputError``.
    """
    return kind.find(path, wanted) if kind.find is not None else None
