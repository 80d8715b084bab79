"""Which kind of registry file is this? Its name and its first line must agree."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from numroute.errors import InputError, SettingError
from numroute_loader.reading.description import RegistryFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numroute_loader.reading.archive import Archive
    from numroute_loader.reading.description import FileKind, UnreadKind

_SUFFIXES = (".csv", ".zip")
_DOWNLOAD_AGAIN = "Download it again"


def recognise_among(
    archive: Archive, kinds: Sequence[FileKind], unread: Sequence[UnreadKind], override: str | None
) -> RegistryFile:
    """Return an open file with its kind, one of ``kinds``, and what its name states.

    ``override`` names the kind in place of the file's name; the text must begin as that kind.
    Raises InputError when the file is of no kind, of several, or when name and header contradict
    each other; SettingError when ``override`` names no kind.
    """
    archive.refuse_other_content()
    if override is not None:
        kind = kind_named(override, kinds)
        if not kind.header(archive.head):
            reason = f"the first line is not that of {kind.name}"
            hint = f"The file should begin with {kind.expects}"
            raise InputError(archive.path, reason, line=1, hint=hint)
    else:
        kind = _kind_of(archive, kinds, unread)
    as_of, sequence = dated(archive.path, archive.member, kind)
    return RegistryFile(archive=archive, kind=kind, as_of=as_of, sequence=sequence)


def kind_named(name: str, kinds: Sequence[FileKind]) -> FileKind:
    """Return the kind of this name; raises SettingError when there is none."""
    for kind in kinds:
        if kind.name == name:
            return kind
    raise SettingError(f"unknown file kind {name!r}", hint=f"Known kinds: {_names(kinds)}")


def dated(path: Path, member: str | None, kind: FileKind) -> tuple[datetime | None, int | None]:
    """Return the time (aware, UTC) and the sequence that a file's name states, or None for each.

    The file's own name takes precedence over that of the zip's member. Raises InputError when the
    name states a time that does not exist.
    """
    for name in (path.name, member or ""):
        match = kind.file_name.fullmatch(_stem(name))
        groups = match.groupdict() if match else {}
        time, sequence = groups.get("time"), groups.get("sequence")
        if time is not None:
            try:
                local = datetime.strptime(time, "%Y%m%d%H%M").replace(tzinfo=UTC)
            except ValueError:
                reason = f"the file's name states a time that does not exist ({time})"
                hint = "Restore the name that the registry gave the file"
                raise InputError(path, reason, hint=hint) from None
            return local - kind.utc_offset, int(sequence) if sequence is not None else None
    return None, None


def stated(name: str, kind: FileKind | None) -> tuple[datetime | None, int | None]:
    """Return the time and the sequence that a known file's name states; nonsense is None."""
    try:
        return dated(Path(name), None, kind) if kind is not None else (None, None)
    except InputError:
        return None, None


def _kind_of(archive: Archive, kinds: Sequence[FileKind], unread: Sequence[UnreadKind]) -> FileKind:
    path = archive.path
    by_header = [kind for kind in kinds if kind.header(archive.head)]
    by_name = _named(archive, kinds, unread)
    if by_name:
        candidates = [kind for kind in by_name if kind in by_header]
    else:
        candidates = [kind for kind in by_header if not kind.name_decides]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        reason = f"the file fits several kinds ({_names(candidates)})"
        raise InputError(path, reason, hint=f"State the kind: {candidates[0].name}={path}")
    if by_name:
        actual = f"that of {_names(by_header)}" if by_header else "not a header of its kind"
        raise InputError(
            path,
            f"named as {_names(by_name)}, but the first line is {actual}",
            line=1,
            hint=f"The file should begin with {by_name[0].expects}. "
            f"{_DOWNLOAD_AGAIN}, or state its kind with KIND=PATH",
        )
    raise InputError(
        path,
        "neither the name nor the first line is that of a known kind of file",
        hint=f"Known kinds: {_names(kinds)}; state one with KIND={path}",
    )


def _named(
    archive: Archive, kinds: Sequence[FileKind], unread: Sequence[UnreadKind]
) -> list[FileKind]:
    """Return the kinds that the file's name, and its member's, allow; empty if neither says."""
    named: list[FileKind] = []
    for stem in (_stem(name) for name in (archive.path.name, archive.member) if name):
        by_name = [kind for kind in kinds if kind.file_name.fullmatch(stem)]
        for refused in () if by_name else unread:
            if refused.file_name.fullmatch(stem):
                raise InputError(archive.path, f"the file is {refused.reason}", hint=refused.hint)
        if named and by_name and not any(kind in named for kind in by_name):
            raise InputError(
                archive.path,
                f"the zip is named as {_names(named)}, the file in it as {_names(by_name)}",
                hint=f"{_DOWNLOAD_AGAIN}, or unpack it and give the file that you need",
            )
        named = named or by_name
    return named


def _stem(name: str) -> str:
    base = Path(name).name
    for suffix in _SUFFIXES:
        if base.lower().endswith(suffix):
            return base[: -len(suffix)]
    return base


def _names(kinds: Iterable[FileKind]) -> str:
    return ", ".join(kind.name for kind in kinds)
