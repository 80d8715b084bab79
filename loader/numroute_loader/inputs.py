"""The files that commands are given: named, opened, read, and compared with those before."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute.index import Source
from numroute_loader.reading.description import STRICT
from numroute_loader.registries import kind_of, open_file, stated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numroute_loader.reading.description import ParsedFile, RegistryFile, Tolerance

    FileProgress = Callable[[Path, str, int, int], None]
    """Called now and then with a file, its kind, and bytes of it: (done, total)."""
    from collections.abc import Mapping

    from numroute.index import Metadata, SnapshotStore
    from numroute_loader.reading.description import FileKind


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file to read; ``kind`` overrides what its name and header say."""

    path: Path
    kind: str | None = None


def input_files(arguments: Sequence[str]) -> list[InputFile]:
    """Return the files of ``PATH`` and ``KIND=PATH`` arguments; a folder stands for its files.

    Raises InputError when a path does not exist or a folder holds no file.
    """
    files: list[InputFile] = []
    for argument in arguments:
        kind, separator, rest = argument.partition("=")
        path = Path(argument)
        if separator and not path.exists():
            files.append(InputFile(path=Path(rest), kind=kind))
        elif path.is_dir():
            inside = sorted(
                entry for entry in path.iterdir() if entry.is_file() and entry.name[0] != "."
            )
            if not inside:
                raise InputError(path, "the folder holds no files")
            files.extend(InputFile(path=entry) for entry in inside)
        else:
            files.append(InputFile(path=path))
    for file in files:
        if file.kind and file.path.is_dir():
            raise InputError(file.path, "a kind is given for a folder", hint="Name its files")
        if not file.path.is_file():
            raise InputError(file.path, "the file does not exist", hint="Check the path")
    return files


@contextlib.contextmanager
def opened(inputs: Sequence[InputFile]) -> Iterator[list[RegistryFile]]:
    """Open and recognise all files, each of them once; raises InputError or SettingError."""
    with contextlib.ExitStack() as stack:
        files = []
        for file in inputs:
            files.append(open_file(file.path, file.kind))
            stack.enter_context(files[-1].archive)
        yield files


def read_input(
    file: RegistryFile, progress: FileProgress | None, tolerance: Tolerance = STRICT
) -> ParsedFile:
    """Read an open file whole and report progress; raises InputError."""
    path, kind = file.path, file.kind
    if progress is None:
        return kind.read(file, None, tolerance)
    parsed = kind.read(file, lambda done, total: progress(path, kind.name, done, total), tolerance)
    progress(path, kind.name, 1, 1)
    return parsed


def source_of(file: ParsedFile) -> Source:
    """Return what the snapshot's metadata keep of a file."""
    source = file.source
    return Source(
        name=source.path.name,
        registry=source.registry,
        kind=source.kind,
        layer=file.layer,
        sequence=source.sequence,
        rows=source.rows,
        sha256=source.sha256,
    )


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


def _against(file: ParsedFile, kind: FileKind, before: Source) -> list[str]:
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
