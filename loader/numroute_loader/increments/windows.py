"""Which windows can be applied: sequence rules over a set of files."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import InputError, NumrouteError
from numroute_loader.reading.recognition import dated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from numroute_loader.increments.position import Position
    from numroute_loader.reading.description import FileKind

_NAMED_MAX = 6
"""How many missing files a message names; the rest are counted."""

_NAME_HINT = "Give it back the name that the registry gave it"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementFile:
    """An increment as its name describes it; ``time`` is aware, UTC."""

    path: Path
    kind: FileKind
    sequence: int
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The files of one window, in the order of the chain's kinds."""

    sequence: int
    time: datetime
    files: tuple[IncrementFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file that needs no applying, and why."""

    name: str
    sequence: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What keeps files from being applied.

    ``expected`` is the sequence of the window that must come next. ``missing`` names files that are
    not there, as the registry names them, without a suffix; ``missing_count`` counts them.
    ``found``: the sequences of the windows that wait for them, ``files`` the names of what waits.
    ``renamed``: which of them state a time that is not the one of their sequence, in words.
    """

    expected: int
    missing: tuple[str, ...]
    missing_count: int
    found: tuple[int, ...]
    files: tuple[str, ...]
    renamed: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """Say what is missing, and what waits for it."""
        named = ", ".join(self.missing)
        more = self.missing_count - len(self.missing)
        waiting = ", ".join(self.files[:_NAMED_MAX])
        others = len(self.files) - _NAMED_MAX
        return "".join(f"{each}; " for each in self.renamed[:_NAMED_MAX]) + (
            f"window {self.expected} must come next; missing: {named}"
            f"{f' and {more} more' if more > 0 else ''}; waiting for it: {waiting}"
            f"{f' and {others} more' if others > 0 else ''}"
        )


GAP_HINT = (
    "Give the missing files together with those that wait; where they cannot be had, build the "
    "next full dump. The current snapshot goes on being served"
)


class GapError(NumrouteError):
    """Increments are missing; what came before them has been applied."""

    def __init__(self, gap: Gap) -> None:
        """Name what is missing."""
        super().__init__(f"a gap in the increments: {gap.message}", hint=GAP_HINT)
        self.gap = gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The windows to apply, in order; what is passed over; what is missing, None if nothing is."""

    windows: tuple[Window, ...]
    skipped: tuple[Skipped, ...]
    gap: Gap | None


def increment_file(path: Path, kind: FileKind, member: str | None = None) -> IncrementFile:
    """Read time and sequence off a file's name; raises InputError where it has none."""
    time, sequence = dated(path, member, kind)
    if time is None or sequence is None:
        raise InputError(path, "the name does not tell the time and the sequence", hint=_NAME_HINT)
    return IncrementFile(path=path, kind=kind, sequence=sequence, time=time)


def arrange(
    files: Sequence[IncrementFile], position: Position, digest: Callable[[Path], str]
) -> Arrangement:
    """Find out which windows follow the position without a gap.

    ``digest`` returns the SHA-256 of a file, in hexadecimal; it is asked where two files claim the
    same place. Raises InputError when they are not the same, or when the files of a window state
    different times.
    """
    skipped: list[Skipped] = []
    by_window: dict[int, dict[str, IncrementFile]] = defaultdict(dict)
    for file in sorted(files, key=lambda file: (file.sequence, file.path.name)):
        if file.sequence < position.following:
            skipped.append(_old(file, position, digest))
            continue
        first = by_window[file.sequence].setdefault(file.kind.name, file)
        if first is not file:
            skipped.append(_twin(file, first, digest))
    windows: list[Window] = []
    while (sequence := position.following + len(windows)) in by_window:
        found = by_window[sequence]
        if any(kind not in found for kind in position.chain.kinds):
            break
        windows.append(_window(sequence, tuple(found[kind] for kind in position.chain.kinds)))
        del by_window[sequence]
    gap = _gap(position, position.following + len(windows), by_window) if by_window else None
    return Arrangement(windows=tuple(windows), skipped=tuple(skipped), gap=gap)


def _old(file: IncrementFile, position: Position, digest: Callable[[Path], str]) -> Skipped:
    applied = position.applied.get((file.kind.name, file.sequence))
    if applied is None:
        reason = f"older than the full dump {position.base.name}"
    elif applied == digest(file.path):
        reason = "applied already"
    else:
        raise InputError(
            file.path,
            f"window {file.sequence} has been applied from a file of another content",
            hint="Ask the registry which of the two is right; if it is this one, the next full "
            "dump brings the changes",
        )
    return Skipped(name=file.path.name, sequence=file.sequence, reason=reason)


def _twin(file: IncrementFile, first: IncrementFile, digest: Callable[[Path], str]) -> Skipped:
    if digest(file.path) != digest(first.path):
        raise InputError(
            file.path,
            f"it has the kind and the sequence of {first.path.name}, but another content",
            hint="Find out which of the two is the registry's, and leave the other out",
        )
    return Skipped(
        name=file.path.name, sequence=file.sequence, reason=f"the same as {first.path.name}"
    )


def _window(sequence: int, files: tuple[IncrementFile, ...]) -> Window:
    for file in files:
        if file.time != files[0].time:
            raise InputError(
                file.path,
                f"its name states another time than {files[0].path.name} of the same window",
                hint=_NAME_HINT,
            )
    return Window(sequence=sequence, time=files[0].time, files=files)


def _gap(position: Position, expected: int, waiting: dict[int, dict[str, IncrementFile]]) -> Gap:
    """Name what is missing up to the first window that is whole, or the last there is."""
    whole = [
        sequence
        for sequence, found in waiting.items()
        if all(kind in found for kind in position.chain.kinds)
    ]
    end = min(whole, default=max(waiting) + 1)
    wanted = [
        (kind, sequence) for sequence in range(expected, end) for kind in position.chain.kinds
    ]
    missing = [
        (kind, sequence) for kind, sequence in wanted if kind not in waiting.get(sequence, {})
    ]
    offset = next(iter(next(iter(waiting.values())).values())).kind.utc_offset
    types = dict(zip(position.chain.kinds, position.chain.file_types, strict=True))
    renamed = tuple(
        f"{file.path.name}: time {file.time + offset:%H%M} of {file.time + offset:%Y-%m-%d} and "
        f"sequence {file.sequence} do not belong together: the file was renamed"
        for found in waiting.values()
        for file in found.values()
        if file.time != position.chain.window_time(file.sequence)
    )
    return Gap(
        renamed=renamed,
        expected=expected,
        missing=tuple(
            f"{types[kind]}_{position.chain.window_time(sequence) + offset:%Y%m%d%H%M}_{sequence}"
            for kind, sequence in missing[:_NAMED_MAX]
        ),
        missing_count=len(missing),
        found=tuple(sorted(waiting)),
        files=tuple(
            file.path.name for sequence in sorted(waiting) for file in waiting[sequence].values()
        ),
    )
