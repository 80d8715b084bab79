"""The files that commands are given: named, read with progress, and described as sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute.index import Source
from numroute_loader.reading.description import STRICT
from numroute_loader.registries import read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numroute_loader.reading.description import FileKind, Tolerance
    from numroute_loader.records import ParsedFile

    FileProgress = Callable[[Path, str, int, int], None]
    """Called now and then with a file, its kind, and bytes of it: (done, total)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file to read; ``kind`` overrides what its name and header say."""

    path: Path
    kind: str | None = None


def input_files(arguments: Sequence[str]) -> list[InputFile]:
    """Read ``PATH`` and ``KIND=PATH`` arguments; a folder stands for the files in it.

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
                each for each in path.iterdir() if each.is_file() and each.name[0] != "."
            )
            if not inside:
                raise InputError(path, "the folder holds no files")
            files.extend(InputFile(path=each) for each in inside)
        else:
            files.append(InputFile(path=path))
    for file in files:
        if file.kind and file.path.is_dir():
            raise InputError(file.path, "a kind is given for a folder", hint="Name its files")
        if not file.path.is_file():
            raise InputError(file.path, "there is no such file", hint="Check the path")
    return files


def read_input(
    path: Path, kind: FileKind, progress: FileProgress | None, tolerance: Tolerance = STRICT
) -> ParsedFile:
    """Read a file whole, and say how far it is; raises InputError."""
    if progress is None:
        return read(path, kind, tolerance=tolerance)
    file = read(
        path,
        kind,
        progress=lambda done, total: progress(path, kind.name, done, total),
        tolerance=tolerance,
    )
    progress(path, kind.name, 1, 1)
    return file


def layer_of(file: ParsedFile) -> str:
    """Return which layer of a snapshot a file brings."""
    if file.increment is not None:
        return "increments"
    if file.ported is not None:
        return "ported"
    return "ranges" if file.ranges is not None else "operators"


def source_of(file: ParsedFile) -> Source:
    """Return what the snapshot's metadata keep of a file."""
    source = file.source
    return Source(
        name=source.path.name,
        registry=source.registry,
        kind=source.kind,
        layer=layer_of(file),
        sequence=source.sequence,
        rows=source.rows,
        sha256=source.sha256,
    )
