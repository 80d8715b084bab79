"""Do files follow those of the current snapshot, by what their names say and by their digests?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from numroute_loader.reading.recognition import stated
from numroute_loader.registries import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numroute.index import Metadata, SnapshotStore
    from numroute.index import Source as Known
    from numroute_loader.reading.description import FileKind, ParsedFile


def contradictions(
    files: Sequence[ParsedFile], current: Metadata | None, seen: Mapping[str, str]
) -> Sequence[str] | None:
    """Return all contradictions in words; None where no file states a sequence.

    A file must not have an earlier sequence than one of its kind in the current snapshot; where the
    kind appears at a fixed pace, sequence and time must have advanced alike. A full dump or an
    increment must not have been given before under another name: ``seen`` are those, see
    :func:`files_before`. A zip must hold the file that it is named for.
    """
    if all(file.source.sequence is None for file in files):
        return None
    before = {source.kind: source for source in current.sources} if current is not None else {}
    known = current.sources if current is not None else ()
    # The history may have been lost; the snapshot itself names its sources.
    digests = {source.sha256: source.name for source in known if source.sha256} | dict(seen)
    faults = []
    for file in files:
        kind = kind_of(file.source.kind)
        faults += _member(file, kind)
        faults += _again(file, digests)
        if kind.name in before:
            faults += _against(file, kind, before[kind.name])
    return faults


def files_before(store: SnapshotStore | None) -> Mapping[str, str]:
    """Return digest and name of every file of every snapshot in the store's history.

    A file that was given under several names has the first. Raises StoreAccessError.
    """
    names: dict[str, str] = {}
    for entry in store.history() if store is not None else ():
        for source in entry.get("sources", ()):
            if source["sha256"]:
                names.setdefault(source["sha256"], source["name"])
    return names


def _member(file: ParsedFile, kind: FileKind) -> list[str]:
    path, member = file.source.path, file.source.member
    if member is None:
        return []
    outer, inner = stated(path.name, kind), stated(member, kind)
    if inner == (None, None) or outer in ((None, None), inner):
        return []
    return [f"{path.name} holds {Path(member).name}: the zip was renamed"]


def _again(file: ParsedFile, digests: dict[str, str]) -> list[str]:
    """Report a file that has another name than when it was seen, and remember it."""
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
    then, _ = stated(before.name, kind)
    if kind.every is None or source.as_of is None or then is None:
        return []
    steps = source.sequence - before.sequence
    times = (source.as_of - then) / kind.every
    if steps == times:
        return []
    fault = f"{name} is {steps} in sequence and {times:g} in time after {before.name}: one is wrong"
    return [fault]
