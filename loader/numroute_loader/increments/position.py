"""Where a snapshot stands in the chain of a registry's increments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from numroute.errors import InputError, NumrouteError
from numroute_loader.reading.recognition import dated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numroute.index import Metadata, Source
    from numroute_loader.reading.description import FileKind, IncrementChain


class ChainError(NumrouteError):
    """The current snapshot is nothing that these increments could follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What a snapshot was built from, as far as increments need to know.

    ``base`` is the full dump, ``first`` the sequence of the first window on top of it,
    ``following`` that of the window that must come next. ``applied``: the digest of each increment
    applied since, by kind and sequence.
    """

    chain: IncrementChain
    base: Source
    first: int
    following: int
    applied: Mapping[tuple[str, int], str]


def position_of(
    metadata: Metadata, chains: Sequence[IncrementChain], kinds: Sequence[FileKind]
) -> Position:
    """Return the position of a snapshot; raises ChainError when no chain continues it."""
    for chain in chains:
        for source in metadata.sources:
            if source.kind in chain.bases:
                return _in_chain(metadata, chain, source, kinds)
    raise ChainError(
        f"the current snapshot {metadata.snapshot_id} was not built from a full dump that "
        "increments continue",
        hint="Build one from "
        + ", ".join(dict.fromkeys(kind for chain in chains for kind in chain.bases)),
    )


def first_after(
    chain: IncrementChain, base: Source, kinds: Sequence[FileKind], as_of: datetime
) -> int | None:
    """Return the sequence of the first window on top of a full dump, None where nothing tells.

    A dump without a time in its name is of the time ``as_of``.
    """
    kind = next((kind for kind in kinds if kind.name == base.kind), None)
    try:
        time = dated(Path(base.name), None, kind)[0] if kind is not None else None
    except InputError:
        time = None
    return chain.bases[base.kind](base.sequence, time or as_of)


def _in_chain(
    metadata: Metadata, chain: IncrementChain, base: Source, kinds: Sequence[FileKind]
) -> Position:
    first = first_after(chain, base, kinds, metadata.as_of)
    if first is None:
        raise ChainError(
            f"{base.name}, from which the current snapshot was built, states no sequence",
            hint="Build from a full dump that has the name that the registry gave it",
        )
    applied = {
        (source.kind, source.sequence): source.sha256
        for source in metadata.sources
        if source.kind in chain.kinds and source.sequence is not None
    }
    last = max((sequence for _, sequence in applied), default=first - 1)
    return Position(chain=chain, base=base, first=first, following=last + 1, applied=applied)
