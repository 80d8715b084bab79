"""Which windows of increments follow a snapshot: its place in the chain, and the sequence rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from numroute.errors import InputError, NumrouteError
from numroute.index import Metadata, Source
from numroute_loader.gate.findings import named
from numroute_loader.reading.description import IncrementChain, RegistryFile
from numroute_loader.registries import CHAINS, KINDS, stated

_NAME_HINT = "Restore the name that the registry gave it"

WINDOWS_MAX = 100_000
"""A sequence so many windows ahead, twenty years, is a mistake in a name."""


class ChainError(NumrouteError):
    """These increments cannot follow the current snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a snapshot stands in a chain of increments.

    ``base`` is the full dump that it was built from, ``first`` the sequence of the first window on
    top of it, ``following`` that of the window that must come next. ``applied``: the digest of each
    increment applied since, by kind and sequence.
    """

    chain: IncrementChain
    base: Source
    first: int
    following: int
    applied: Mapping[tuple[str, int], str]


def position_of(metadata: Metadata) -> Position:
    """Return the position of a snapshot; raises ChainError when no chain continues it."""
    for chain in CHAINS:
        for source in metadata.sources:
            if source.kind in chain.bases:
                return _in_chain(metadata, chain, source)
    raise ChainError(
        f"the current snapshot {metadata.snapshot_id} was not built from a full dump that "
        "increments continue",
        hint="Build one from "
        + ", ".join(dict.fromkeys(kind for chain in CHAINS for kind in chain.bases)),
    )


def first_after(chain: IncrementChain, base: Source, as_of: datetime) -> int | None:
    """Return the sequence of the first window on top of a full dump, None where it is unknown.

    ``as_of`` is the time of a dump whose name states none.
    """
    kind = next((kind for kind in KINDS if kind.name == base.kind), None)
    time, _ = stated(base.name, kind)
    return chain.bases[base.kind](base.sequence, time or as_of)


def _in_chain(metadata: Metadata, chain: IncrementChain, base: Source) -> Position:
    first = first_after(chain, base, metadata.as_of)
    if first is None:
        raise ChainError(
            f"{base.name}, from which the current snapshot was built, states no sequence",
            hint="Build from a full dump under the name that the registry gave it",
        )
    applied = {
        (source.kind, source.sequence): source.sha256
        for source in metadata.sources
        if source.kind in chain.kinds and source.sequence is not None
    }
    last = max((sequence for _, sequence in applied), default=first - 1)
    return Position(chain=chain, base=base, first=first, following=last + 1, applied=applied)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file that need not be applied, and why."""

    name: str
    sequence: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Missing increments, and those that cannot be applied without them.

    ``expected`` is the sequence of the window that must come next. ``missing`` names the missing
    files, as the registry names them, without a suffix; ``files`` names those that wait for them.
    ``renamed`` says which of these state a time that does not belong to their sequence.
    """

    expected: int
    missing: tuple[str, ...]
    files: tuple[str, ...]
    renamed: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """What is missing, and what waits for it."""
        renamed = f"{named(self.renamed, '; ')}; " if self.renamed else ""
        return (
            f"{renamed}window {self.expected} must come next; missing: {named(self.missing)}; "
            f"waiting for it: {named(self.files)}"
        )


GAP_HINT = (
    "Give the missing files together with those that wait; if they cannot be had, build the next "
    "full dump. The current snapshot is still served"
)


class GapError(NumrouteError):
    """Increments are missing; what came before them has been applied."""

    def __init__(self, gap: Gap) -> None:
        """Name what is missing."""
        super().__init__(f"a gap in the increments: {gap.message}", hint=GAP_HINT)
        self.gap = gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The files of the windows to apply, in order; those to skip; what is missing, if anything."""

    windows: tuple[tuple[RegistryFile, ...], ...]
    skipped: tuple[Skipped, ...]
    gap: Gap | None


def arrange(files: Sequence[RegistryFile], position: Position) -> Arrangement:
    """Return the windows that follow the position without a gap.

    Raises InputError for an increment of another chain, for two different files of
    one kind and sequence, and for files of a window that state different times.
    """
    for file in files:
        _refuse_other_files(file, position)
    skipped: list[Skipped] = []
    by_window: dict[int, dict[str, RegistryFile]] = defaultdict(dict)
    for file in sorted(files, key=lambda file: (file.sequence or 0, file.path.name)):
        sequence = file.sequence or 0
        if sequence < position.following:
            skipped.append(
                Skipped(name=file.path.name, sequence=sequence, reason=_old(file, position))
            )
            continue
        first = by_window[sequence].setdefault(file.kind.name, file)
        if first is not file:
            skipped.append(
                Skipped(name=file.path.name, sequence=sequence, reason=_twin(file, first))
            )
    windows: list[tuple[RegistryFile, ...]] = []
    while (sequence := position.following + len(windows)) in by_window:
        found = by_window[sequence]
        if any(kind not in found for kind in position.chain.kinds):
            break
        windows.append(tuple(found[kind] for kind in position.chain.kinds))
        _refuse_other_times(windows[-1])
        del by_window[sequence]
    gap = _gap(position, position.following + len(windows), by_window) if by_window else None
    return Arrangement(windows=tuple(windows), skipped=tuple(skipped), gap=gap)


def _refuse_other_files(file: RegistryFile, position: Position) -> None:
    kind, chain = file.kind, position.chain
    if kind.name not in chain.kinds:
        reason = (
            f"{kind.name} does not continue {position.base.name}, from which the current "
            "snapshot was built"
        )
        hint = f"Give {' and '.join(chain.kinds)}"
    elif file.as_of is None or file.sequence is None:
        reason, hint = "the name does not state the time and the sequence", _NAME_HINT
    elif file.sequence - position.following > WINDOWS_MAX:
        reason, hint = "its sequence is years from that of the next window", _NAME_HINT
    else:
        return
    raise InputError(file.path, reason, hint=hint)


def _old(file: RegistryFile, position: Position) -> str:
    """Return why a file older than the position is skipped."""
    applied = position.applied.get((file.kind.name, file.sequence or 0))
    if applied is None:
        return f"older than the full dump {position.base.name}"
    if applied == file.archive.sha256():
        return "applied already"
    raise InputError(
        file.path,
        f"window {file.sequence} has been applied from a file of another content",
        hint="Ask the registry which of the two is right; if it is this one, the next full "
        "dump brings the changes",
    )


def _twin(file: RegistryFile, first: RegistryFile) -> str:
    """Return why a second file of the same kind and sequence is skipped."""
    if file.archive.sha256() != first.archive.sha256():
        raise InputError(
            file.path,
            f"it has the kind and the sequence of {first.path.name}, but another content",
            hint="Find out which of the two is the registry's, and leave the other out",
        )
    return f"the same as {first.path.name}"


def _refuse_other_times(files: tuple[RegistryFile, ...]) -> None:
    for file in files:
        if file.as_of != files[0].as_of:
            reason = f"its name states another time than {files[0].path.name} of the same window"
            raise InputError(file.path, reason, hint=_NAME_HINT)


def _gap(position: Position, expected: int, waiting: dict[int, dict[str, RegistryFile]]) -> Gap:
    """Name what is missing up to the first complete window, or the last one."""
    whole = [
        sequence
        for sequence, found in waiting.items()
        if all(kind in found for kind in position.chain.kinds)
    ]
    end = min(whole, default=max(waiting) + 1)
    expected_files = [
        (kind, sequence) for sequence in range(expected, end) for kind in position.chain.kinds
    ]
    missing = [
        (kind, sequence)
        for kind, sequence in expected_files
        if kind not in waiting.get(sequence, {})
    ]
    offset = next(iter(next(iter(waiting.values())).values())).kind.utc_offset
    types = dict(zip(position.chain.kinds, position.chain.file_types, strict=True))
    renamed = tuple(
        f"{file.path.name}: time {file.as_of + offset:%H%M} of {file.as_of + offset:%Y-%m-%d} and "
        f"sequence {sequence} do not belong together: the file was renamed"
        for sequence, found in waiting.items()
        for file in found.values()
        if file.as_of is not None and file.as_of != position.chain.window_time(sequence)
    )
    return Gap(
        renamed=renamed,
        expected=expected,
        missing=tuple(
            f"{types[kind]}_{position.chain.window_time(sequence) + offset:%Y%m%d%H%M}_{sequence}"
            for kind, sequence in missing
        ),
        files=tuple(
            file.path.name for sequence in sorted(waiting) for file in waiting[sequence].values()
        ),
    )
