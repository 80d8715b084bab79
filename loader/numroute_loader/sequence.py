"""Do files follow those of the current snapshot, by what their names say and by their digests?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute_loader.reading.archive import Source as Archive
from numroute_loader.reading.recognition import dated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numroute.index import Metadata, SnapshotStore
    from numroute.index import Source as Known
    from numroute_loader.reading.description import FileKind
    from numroute_loader.records import ParsedFile


def contradictions(
    files: Sequence[ParsedFile],
    kinds: Sequence[FileKind],
    current: Metadata | None,
    seen: Mapping[str, str] | None = None,
) -> Sequence[str] | None:
    """Return, in words, what contradicts each other; None where no file states a sequence.

    A file of a kind that the current snapshot was built from, too, must not be of an earlier
    sequence; where the kind appears at a fixed pace, sequence and time must have gone on alike. A
    full dump or an increment must be no file that was given before under another name: ``seen`` are
    those, see :func:`files_before`. A zip must hold the file that it is named for.
    """
    if all(file.source.sequence is None for file in files):
        return None
    before = {source.kind: source for source in current.sources} if current is not None else {}
    known = current.sources if current is not None else ()
    # The history may have been lost: what the current snapshot is made of stands in the snapshot.
    digests = {each.sha256: each.name for each in known if each.sha256} | dict(seen or {})
    found = []
    for file, kind in zip(files, kinds, strict=True):
        found += _member(file, kind)
        found += _again(file, digests)
        if file.source.kind in before:
            found += _against(file, kind, before[file.source.kind])
    return found


def files_before(store: SnapshotStore | None) -> Mapping[str, str]:
    """Return digest and name of every file of every snapshot that the store's history tells of.

    A file that was given under several names has the first. Raises StoreAccessError.
    """
    found: dict[str, str] = {}
    if store is not None:
        for entry in store.history():
            for source in entry.get("sources", ()):
                if source["sha256"]:
                    found.setdefault(source["sha256"], source["name"])
    return found


def _member(file: ParsedFile, kind: FileKind) -> list[str]:
    path = file.source.path
    with Archive(path) as archive:
        member = archive.member
    if member is None:
        return []
    outer, inner = dated(path, None, kind), _stated(member, kind)
    if inner == (None, None) or outer in ((None, None), inner):
        return []
    return [f"{path.name} holds {Path(member).name}: the zip was renamed"]


def _again(file: ParsedFile, digests: dict[str, str]) -> list[str]:
    """Say whether a file has another name than when it was seen, and remember it."""
    source, name = file.source, file.source.path.name
    # An operator table or a plan is often the same for days. Two increments without rows are alike,
    # and neither is wrong.
    if not source.rows or (file.ported is None and file.increment is None):
        return []
    known = digests.setdefault(source.sha256, name)
    if _stem(known) == _stem(name):
        return []
    return [f"{name} is byte for byte {known}, which was given before: one of the names is wrong"]


def _stem(name: str) -> str:
    return (name.rpartition(".")[0] or name).lower()


def _against(file: ParsedFile, kind: FileKind, before: Known) -> list[str]:
    source, name = file.source, file.source.path.name
    if source.sequence is None or before.sequence is None:
        return []
    if source.sequence < before.sequence:
        return [
            f"{name} has sequence {source.sequence}, the current snapshot is made of {before.name}"
        ]
    then, _ = _stated(before.name, kind)
    if kind.every is None or source.as_of is None or then is None:
        return []
    steps = source.sequence - before.sequence
    times = (source.as_of - then) / kind.every
    if steps == times:
        return []
    fault = f"{name} is {steps} in sequence and {times:g} in time after {before.name}: one is wrong"
    return [fault]


def _stated(name: str, kind: FileKind) -> tuple[datetime | None, int | None]:
    """Return time and sequence that a name states; a name that states nothing sensible, nothing."""
    try:
        return dated(Path(name), None, kind)
    except InputError:
        return None, None
