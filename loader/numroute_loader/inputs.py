"""The files that commands are given: named and opened, and the numbers expected of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from numroute.errors import InputError
from numroute.index.compare import operator_name
from numroute.model import Route, mask_digits, mask_number
from numroute_loader.commented_csv import Number, Row, read_table
from numroute_loader.reading.description import RegistryFile
from numroute_loader.registries import open_file

FileProgress = Callable[[str, int, int], None]
"""Called now and then with a file's name and bytes of it: (name, done, total)."""


def input_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files that are meant: a folder stands for its files.

    Raises InputError when a path does not exist or a folder holds no file.
    """
    files: list[Path] = []
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(
                entry for entry in path.iterdir() if entry.is_file() and entry.name[0] != "."
            )
            if not inside:
                raise InputError(path, "the folder holds no files")
        elif not path.is_file():
            raise InputError(path, "the file does not exist", hint="Check the path")
        files += inside
    return files


@contextlib.contextmanager
def opened(inputs: Sequence[Path], progress: FileProgress | None) -> Iterator[list[RegistryFile]]:
    """Open and recognise all files, each of them once; raises InputError."""
    with contextlib.ExitStack() as stack:
        files = []
        for path in inputs:
            files.append(open_file(path, partial(progress, path.name) if progress else None))
            stack.enter_context(files[-1].archive)
        yield files


NOBODY = "-"
"""The operator code of a number that nobody holds."""


class Expectation(msgspec.Struct, kw_only=True):
    """A number, and the code of the operator that should serve it."""

    number: Number
    operator: str


def read_expectations(path: Path) -> Sequence[Row[Expectation]]:
    """Read a file of ``number,operator`` lines, with or without that header.

    Raises InputError, which names file and line and masks the number.
    """
    expectations = list(read_table(path, Expectation, header=False))
    if not expectations:
        raise InputError(
            path, "there are no numbers in it", hint="A line reads +79160000000,OPERATOR CODE"
        )
    return expectations


def unmet(rows: Sequence[Row[Expectation]], routes: Sequence[Route]) -> Sequence[str]:
    """Say which expectations are not met; ``routes`` are the answers to them, in order."""
    served = [
        operator_name(route.operator) if route.status.has_route else NOBODY for route in routes
    ]
    return [
        f"{row.path}:{row.line}: {mask_number(row.cells.number)} is served by {_shown(operator)}, "
        f"{_shown(row.cells.operator)} is expected"
        for row, operator in zip(rows, served, strict=True)
        if operator != row.cells.operator
    ]


def _shown(operator: str) -> str:
    return "nobody" if operator == NOBODY else mask_digits(operator)
