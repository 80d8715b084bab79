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
from numroute_loader.registries import CHAINS, kind_of, stated

_NAME_HINT = "Restore the name that the registry gave it"

WINDOWS_MAX = 100_000
"""A sequence so many windows ahead, twenty years, is a mistake in a name."""

GAP_HINT = (
    "`apply` the missing files together with those that wait; if they cannot be had, build the "
    "next full dump. After a rollback `watch` applies nothing again: `apply` the files by hand, or "
    "`rollback` to the newer snapshot. The current snapshot is still served"
)


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
    """

    expected: int
    missing: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def message(self) -> str:
        """What is missing, and what waits for it."""
        return (
            f"window {self.expected} must come next; missing: {named(self.missing)}; "
            f"waiting for it: {named(self.files)}"
        )


class GapError(NumrouteError):
    """Increments are missing; what came before them has been applied."""

    def __init__(self, gap: Gap) -> None:
        """Name what is missing."""
        super().__init__(f"a gap in the increments: {gap.message}", hint=GAP_HINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The files of the windows to apply, in order; those to skip; what is missing, if anything."""

    windows: tuple[tuple[RegistryFile, ...], ...]
    skipped: tuple[Skipped, ...]
    gap: Gap | None


def position_of(metadata: Metadata) -> Position:
    """Return the position of a snapshot; raises ChainError when no chain continues it."""
    for chain in CHAINS:
        for base in metadata.sources:
            first = first_after(chain, base, metadata.as_of) if base.kind in chain.bases else None
            if first is not None:
                return _in_chain(chain, base, first, metadata.sources)
    raise ChainError(
        f"the current snapshot {metadata.snapshot_id} was not built from a full dump that "
        "increments continue",
        hint="Build one, under the name that the registry gave the file, from "
        + ", ".join(kind for chain in CHAINS for kind in chain.bases),
    )


def _in_chain(
    chain: IncrementChain, base: Source, first: int, sources: Sequence[Source]
) -> Position:
    applied = {
        (source.kind, source.sequence): source.sha256
        for source in sources
        if source.kind in chain.kinds and source.sequence is not None
    }
    last = max((sequence for _, sequence in applied), default=first - 1)
    return Position(chain=chain, base=base, first=first, following=last + 1, applied=applied)


def first_after(chain: IncrementChain, base: Source, as_of: datetime) -> int | None:
    """Return the sequence of the first window on top of a full dump, None where it is unknown.

    ``as_of`` is the time of a dump whose name states none.
    """
    time, _ = stated(base.name, kind_of(base.kind))
    return chain.bases[base.kind](base.sequence, time or as_of)


def arrange(files: Sequence[RegistryFile], position: Position) -> Arrangement:
    """Return the windows that follow the position without a gap.

    Raises InputError for an increment of another chain or under another name than the registry's,
    and for two different files of one kind and sequence.
    """
    skipped: list[Skipped] = []
    waiting: dict[int, dict[str, RegistryFile]] = defaultdict(dict)
    for file in sorted(files, key=lambda file: (file.sequence or 0, file.path.name)):
        sequence = _sequence(file, position)
        first = waiting[sequence].get(file.kind.name)
        if sequence < position.following or first is not None:
            reason = _skipping(file, sequence, first, position)
            skipped.append(Skipped(name=file.path.name, sequence=sequence, reason=reason))
        else:
            waiting[sequence][file.kind.name] = file
    kinds, expected = position.chain.kinds, position.following
    windows: list[tuple[RegistryFile, ...]] = []
    while len(waiting.get(expected, {})) == len(kinds):
        found = waiting.pop(expected)
        windows.append(tuple(found[kind] for kind in kinds))
        expected += 1
    left = {sequence: found for sequence, found in sorted(waiting.items()) if found}
    gap = _gap(position.chain, expected, left) if left else None
    return Arrangement(windows=tuple(windows), skipped=tuple(skipped), gap=gap)


def _sequence(file: RegistryFile, position: Position) -> int:
    """Return the sequence of an increment of the chain under its own name."""
    chain, sequence = position.chain, file.sequence
    if file.kind.name not in chain.kinds:
        reason = f"{file.kind.name} does not continue {position.base.name}, from which the current "
        hint = f"Give {' and '.join(chain.kinds)}"
        raise InputError(file.path, f"{reason}snapshot was built", hint=hint)
    if sequence is None:
        reason = "the name does not state the time and the sequence"
    elif sequence - position.following > WINDOWS_MAX:
        reason = "its sequence is years from that of the next window"
    elif file.as_of != chain.window_time(sequence):
        reason = "time and sequence in its name do not belong together: the file was renamed"
    else:
        return sequence
    raise InputError(file.path, reason, hint=_NAME_HINT)


def _skipping(
    file: RegistryFile, sequence: int, first: RegistryFile | None, position: Position
) -> str:
    """Return why a file is skipped; refuse it where its like has another content."""
    if first is not None:
        if file.archive.sha256() == first.archive.sha256():
            return f"the same as {first.path.name}"
        reason = f"it has the kind and the sequence of {first.path.name}, but another content"
    else:
        applied = position.applied.get((file.kind.name, sequence))
        if applied is None:
            return f"older than the full dump {position.base.name}"
        if applied == file.archive.sha256():
            return "applied already"
        reason = f"window {sequence} has been applied from a file of another content"
    hint = "Ask the registry which of the two is right, and leave the other out; the next full "
    raise InputError(
        file.path, reason, hint=f"{hint}dump brings what was applied wrongly into order"
    )


def _gap(
    chain: IncrementChain, expected: int, waiting: Mapping[int, Mapping[str, RegistryFile]]
) -> Gap:
    """Name what is missing up to the first complete window, or the last one."""
    whole = [sequence for sequence, found in waiting.items() if len(found) == len(chain.kinds)]
    files = [file for found in waiting.values() for file in found.values()]
    offset = files[0].kind.utc_offset
    return Gap(
        expected=expected,
        missing=tuple(
            f"{name}_{chain.window_time(sequence) + offset:%Y%m%d%H%M}_{sequence}"
            for sequence in range(expected, min(whole, default=max(waiting) + 1))
            for kind, name in zip(chain.kinds, chain.file_types, strict=True)
            if kind not in waiting.get(sequence, {})
        ),
        files=tuple(file.path.name for file in files),
    )
