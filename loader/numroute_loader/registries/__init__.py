"""The registries that can be read, and which file is whose.

A file is recognised by its name and its first line, which must agree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from importlib import resources
from pathlib import Path

from numroute.errors import InputError
from numroute_loader.reading.archive import DOWNLOAD_AGAIN, Archive
from numroute_loader.reading.description import (
    STRICT,
    FileKind,
    ParsedFile,
    Progress,
    RegistryFile,
    Tolerance,
)
from numroute_loader.registries import ru_bdpn, ru_numbering_plan

KINDS: tuple[FileKind, ...] = (*ru_bdpn.KINDS, *ru_numbering_plan.KINDS)
"""Every kind of file that is read, of every registry."""

FEEDS = {ru_bdpn.REGISTRY: ru_bdpn.FEED}
"""How each registry delivers its files, and how increments follow full dumps."""

_LIMITS = {ru_bdpn.REGISTRY: ru_bdpn.LIMITS}
_RESTORE = "Restore the name that the registry gave the file"


def kind_of(name: str) -> FileKind:
    """Return the kind of this name."""
    return next(kind for kind in KINDS if kind.name == name)


def open_file(path: Path, progress: Progress | None = None) -> RegistryFile:
    """Open a file and recognise it; ``progress`` is called while it is read.

    Raises InputError when the file is of no known kind, of several, or contradicts itself.
    """
    archive = Archive(path)
    try:
        archive.refuse_other_content()
        kind = _kind_by_header_and_name(archive)
        as_of, sequence = _dated(archive, kind)
        return RegistryFile(
            archive=archive, kind=kind, as_of=as_of, sequence=sequence, progress=progress
        )
    except BaseException:
        archive.close()
        raise


def read(
    path: Path, *, progress: Progress | None = None, tolerance: Tolerance = STRICT
) -> ParsedFile:
    """Read one file whole; raises InputError with file, line, reason and remedy."""
    file = open_file(path, progress)
    with file.archive:
        return file.kind.read(file, tolerance)


def built_in_limits(registries: Collection[str] = ()) -> str:
    """Return the TOML text that explains the gate's limits and gives their values.

    They are those of the first of the ``registries`` that brings some, by default of the first that
    is known.
    """
    names = [_LIMITS[each] for each in registries if each in _LIMITS] or [*_LIMITS.values()]
    table = resources.files("numroute_loader").joinpath("registries", "tables", names[0])
    return table.read_text("utf-8")


def _dated(archive: Archive, kind: FileKind) -> tuple[datetime | None, int | None]:
    """Return what the file's own name states, or that of the zip's member."""
    try:
        dated = [kind.dated(Path(name).name) for name in (archive.path, archive.member or "")]
    except ValueError:
        reason = "the file's name states a time that does not exist"
        raise InputError(archive.path, reason, hint=_RESTORE) from None
    return dated[0] or dated[1] or (None, None)


def _kind_by_header_and_name(archive: Archive) -> FileKind:
    path = archive.path
    by_header = [kind for kind in KINDS if kind.header(archive.head)]
    by_name = _named(archive)
    candidates = [kind for kind in by_header if kind in by_name or not by_name]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise InputError(path, f"the file fits several kinds ({_names(candidates)})", hint=_RESTORE)
    if by_name:
        actual = f"that of {_names(by_header)}" if by_header else "not a header of its kind"
        raise InputError(
            path,
            f"named as {_names(by_name)}, but the first line is {actual}",
            line=1,
            hint=f"The file should begin with {by_name[0].expects}. {DOWNLOAD_AGAIN}, or restore "
            "the name that the registry gave it",
        )
    raise InputError(
        path,
        "neither the name nor the first line is that of a known kind of file",
        hint=f"Known kinds: {_names(KINDS)}",
    )


def _named(archive: Archive) -> list[FileKind]:
    """Return the kinds that the file's name, or its member's, allows; empty if neither says."""
    names = [Path(name).name for name in (archive.path.name, archive.member) if name]
    for name in names:
        for pattern, reason in ru_bdpn.UNREAD.items():
            if pattern.fullmatch(name):
                hint = "Give a full dump, or Port_Increment and Return_Increment"
                raise InputError(archive.path, f"the file is {reason}", hint=hint)
    named = [
        kinds for name in names if (kinds := [k for k in KINDS if k.file_name.fullmatch(name)])
    ]
    if len(named) > 1 and named[0] != named[1]:
        raise InputError(
            archive.path,
            f"the zip is named as {_names(named[0])}, the file in it as {_names(named[1])}",
            hint=f"{DOWNLOAD_AGAIN}, or unpack it and give the file that you need",
        )
    return named[0] if named else []


def _names(kinds: Iterable[FileKind]) -> str:
    return ", ".join(kind.name for kind in kinds)
