"""Which kind of registry file is this? By its name and by its first line, and they must agree."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from numroute.errors import InputError, SettingError
from numroute_loader.reading.archive import Source, refuse_web_page
from numroute_loader.reading.description import HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numroute_loader.reading.description import FileKind, UnreadKind

_SUFFIXES = (".csv", ".zip")


def recognise_among(
    path: Path, kinds: Sequence[FileKind], unread: Sequence[UnreadKind], override: str | None
) -> FileKind:
    """Return the kind of the file at ``path``, one of ``kinds``.

    With ``override`` that kind is taken whatever the name says; the text must still begin as one.
    Raises ``InputError`` when the file is of no kind, of several, or when name and header
    contradict each other; ``SettingError`` when ``override`` names no kind.
    """
    with Source(path) as source:
        head = source.read(HEAD_BYTES)
        stems = [_stem(path.name)] + ([_stem(source.member)] if source.member else [])
    _refuse_what_is_no_text(path, head)
    if override is not None:
        return _overridden(path, kind_named(override, kinds), head)
    by_header = [kind for kind in kinds if kind.header(head)]
    by_name = _named(path, stems, kinds, unread)
    if by_name:
        return _agreed(path, by_name, by_header)
    by_header = [kind for kind in by_header if not kind.name_decides]
    if len(by_header) == 1:
        return by_header[0]
    if by_header:
        raise InputError(
            path,
            f"the header fits several kinds ({_names(by_header)})",
            hint=f"Say which is meant: {by_header[0].name}={path}",
        )
    raise InputError(
        path,
        "neither the name nor the first line is that of a known kind of file",
        hint=f"Known kinds: {_names(kinds)}; name one with KIND={path}",
    )


def kind_named(name: str, kinds: Sequence[FileKind]) -> FileKind:
    """Return the kind of this name; raises ``SettingError`` when there is none."""
    for kind in kinds:
        if kind.name == name:
            return kind
    raise SettingError(f"there is no file kind {name!r}", hint=f"Known kinds: {_names(kinds)}")


def dated(path: Path, member: str | None, kind: FileKind) -> tuple[datetime | None, int | None]:
    """Return the time (aware, UTC) and the sequence that the name of a file states, or None.

    The file's own name counts before that of the zip's member. Raises ``InputError`` when the name
    states a time that does not exist.
    """
    for name in (path.name, member or ""):
        match = kind.file_name.fullmatch(_stem(name))
        groups = match.groupdict() if match else {}
        time, sequence = groups.get("time"), groups.get("sequence")
        if time is not None:
            try:
                local = datetime.strptime(time, "%Y%m%d%H%M").replace(tzinfo=UTC)
            except ValueError:
                raise InputError(
                    path,
                    f"the file's name states a time that does not exist ({time})",
                    hint="Give the file back the name that the registry gave it",
                ) from None
            return local - kind.utc_offset, int(sequence) if sequence is not None else None
    return None, None


def _named(
    path: Path, stems: Sequence[str], kinds: Sequence[FileKind], unread: Sequence[UnreadKind]
) -> list[FileKind]:
    """Return the kinds that the file's name and its member's allow; none where neither tells."""
    found: list[FileKind] = []
    for stem in stems:
        by_name = [kind for kind in kinds if kind.file_name.fullmatch(stem)]
        for refused in () if by_name else unread:
            if refused.file_name.fullmatch(stem):
                raise InputError(path, f"the file is {refused.reason}", hint=refused.hint)
        if found and by_name and not any(kind in found for kind in by_name):
            raise InputError(
                path,
                f"the zip is named as {_names(found)}, the file in it as {_names(by_name)}",
                hint="Download it again, or unpack it and name the file that is meant",
            )
        found = found or by_name
    return found


def _overridden(path: Path, kind: FileKind, head: bytes) -> FileKind:
    if not kind.header(head):
        raise InputError(
            path,
            f"the first line is not that of {kind.name}",
            line=1,
            hint=f"The file should begin with {kind.expects}",
        )
    return kind


def _agreed(path: Path, by_name: Sequence[FileKind], by_header: Sequence[FileKind]) -> FileKind:
    both = [kind for kind in by_name if kind in by_header]
    if len(both) == 1:
        return both[0]
    if both:
        raise InputError(
            path,
            f"name and header fit several kinds ({_names(both)})",
            hint=f"Say which is meant: {both[0].name}={path}",
        )
    found = f"that of {_names(by_header)}" if by_header else "not a header of its kind"
    raise InputError(
        path,
        f"named as {_names(by_name)}, but the first line is {found}",
        line=1,
        hint=f"The file should begin with {by_name[0].expects}. "
        "Download it again, or say its kind with KIND=PATH",
    )


def _refuse_what_is_no_text(path: Path, head: bytes) -> None:
    refuse_web_page(path, head)
    if not head.strip():
        raise InputError(path, "the file is empty", hint="Download it again")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            path, "the text is UTF-16, as a spreadsheet saves it", hint="Download it again"
        )
    if b"\0" in head:
        raise InputError(
            path,
            "the file holds NUL bytes: it is damaged or not a text",
            line=head.count(b"\n", 0, head.index(b"\0")) + 1,
            hint="Download it again",
        )


def _stem(name: str) -> str:
    base = Path(name).name
    for suffix in _SUFFIXES:
        if base.lower().endswith(suffix):
            return base[: -len(suffix)]
    return base


def _names(kinds: Iterable[FileKind]) -> str:
    return ", ".join(kind.name for kind in kinds)
