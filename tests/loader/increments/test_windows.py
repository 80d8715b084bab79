"""Sequence rules: which windows can be applied, what is passed over, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numroute.errors import InputError
from numroute.index import Metadata, Source
from numroute_loader.increments import (
    Arrangement,
    ChainError,
    Position,
    arrange,
    position_of,
)
from numroute_loader.reading.description import RegistryFile
from numroute_loader.registries import KINDS

KIND = {kind.name: kind for kind in KINDS}
PORT, RETURN = "ru-bdpn/port-increment", "ru-bdpn/return-increment"
TYPE = {PORT: "Port_Increment", RETURN: "Return_Increment"}
DUMP = "Port_All_202608230000_4659.zip"
FIRST = 12 * 4659 + 1


def snapshot(*sources: Source, as_of: datetime = datetime(2026, 8, 22, 21, tzinfo=UTC)) -> Metadata:
    """Return the metadata of a snapshot of these sources."""
    return Metadata(
        format_version=1,
        snapshot_id="s",
        as_of=as_of,
        built_at=as_of,
        sources=(
            Source(name="DEF-9xx.csv", registry="p", kind="p/def", layer="ranges"),
            *sources,
        ),
    )


def dump(kind: str = "ru-bdpn/port-all", name: str = DUMP, sequence: int | None = 4659) -> Source:
    """Return a full dump as a source."""
    return Source(name=name, registry="ru-bdpn", kind=kind, layer="ported", sequence=sequence)


def applied(kind: str, sequence: int, sha256: str = "same") -> Source:
    """Return an increment that has been applied."""
    return Source(
        name="x.zip",
        registry="ru-bdpn",
        kind=kind,
        layer="increments",
        sequence=sequence,
        sha256=sha256,
    )


def position(*windows: int) -> Position:
    """Return the position of a snapshot to which these windows have been applied."""
    sources = [applied(kind, sequence) for sequence in windows for kind in (PORT, RETURN)]
    return position_of(snapshot(dump(), *sources))


@dataclass
class Delivered:
    """An archive by its name and its digest."""

    path: Path
    digest: str = "same"

    def sha256(self) -> str:
        """Return the digest."""
        return self.digest


def increment(kind: str, sequence: int, name: str = "") -> RegistryFile:
    """Return an increment as its name describes it."""
    time = datetime(2013, 11, 19, 21, tzinfo=UTC) + timedelta(hours=2 * sequence)
    path = Path(name or f"{kind.partition('/')[2]}_{sequence}")
    return RegistryFile(archive=Delivered(path), kind=KIND[kind], sequence=sequence, as_of=time)


def both(*sequences: int) -> list[RegistryFile]:
    """Return both files of these windows."""
    return [increment(kind, sequence) for sequence in sequences for kind in (PORT, RETURN)]


def arranged(files: list[RegistryFile], at: Position, **digests: str) -> Arrangement:
    """Arrange files whose digests are "same" unless another is given by the file's name."""
    for file in files:
        file.archive.digest = digests.get(file.path.name, "same")
    return arrange(files, at)


def sequences(found: Arrangement) -> list[int]:
    """Return which windows are applied."""
    return [window[0].sequence for window in found.windows]


@pytest.mark.parametrize(
    ("source", "first"),
    [
        (dump(), FIRST),
        # A counter of its own tells nothing: the time does.
        (dump("ru-bdpn/port-all-full", "Port_All_Full_202608230000_99.zip", 99), FIRST),
        # Renamed: the snapshot's own time.
        (dump(name="latest.csv", sequence=None), FIRST),
    ],
)
def test_right_base(source: Source, first: int) -> None:
    """The first window on top of a full dump with sequence F is 12 x F + 1."""
    at = position_of(snapshot(source))
    assert (at.first, at.following) == (first, first)


def test_position_after_windows() -> None:
    """The window after the last that was applied comes next."""
    assert position(FIRST, FIRST + 1).following == FIRST + 2


def test_snapshot_without_a_dump() -> None:
    """Increments cannot follow a snapshot of numbering plans alone."""
    with pytest.raises(ChainError, match="not built from a full dump") as caught:
        position_of(snapshot())
    assert "ru-bdpn/port-all" in caught.value.hint


def test_windows_in_any_order_of_files() -> None:
    """Files are put in sequence, and those of a window in the order of the chain."""
    for files in permutations(both(FIRST, FIRST + 1)):
        found = arranged(list(files), position())
        assert sequences(found) == [FIRST, FIRST + 1]
        assert [file.kind.name for file in found.windows[0]] == [PORT, RETURN]
        assert found.gap is None


def test_gap_before_the_first_window() -> None:
    """Nothing is applied; the missing window and what waits for it are named."""
    found = arranged(both(FIRST + 2), position())
    assert sequences(found) == []
    assert found.gap is not None
    assert found.gap.expected == FIRST
    assert len(found.gap.missing) == 4
    assert f"Port_Increment_202608230200_{FIRST}" in found.gap.missing
    assert f"Return_Increment_202608230400_{FIRST + 1}" in found.gap.missing
    assert f"port-increment_{FIRST + 2}" in found.gap.message


def test_gap_in_the_middle() -> None:
    """What precedes a gap is applied."""
    found = arranged(both(FIRST, FIRST + 1, FIRST + 3), position())
    assert sequences(found) == [FIRST, FIRST + 1]
    assert found.gap is not None
    assert found.gap.expected == FIRST + 2


@pytest.mark.parametrize("missing", [PORT, RETURN])
def test_window_with_one_file(missing: str) -> None:
    """A window needs both its files."""
    files = [file for file in both(FIRST, FIRST + 1) if file != increment(missing, FIRST + 1)]
    found = arranged(files, position())
    assert sequences(found) == [FIRST]
    assert found.gap is not None
    assert found.gap.missing == (f"{TYPE[missing]}_202608230400_{FIRST + 1}",)


def test_long_gap_names_a_few() -> None:
    """A gap of weeks does not list every file."""
    found = arranged(both(FIRST + 400), position())
    assert found.gap is not None
    assert len(found.gap.missing) == 800
    assert "and 795 more" in found.gap.message


def test_a_sequence_with_a_digit_too_many_is_refused() -> None:
    """The names of a gap of centuries are not made."""
    with pytest.raises(InputError, match="years from that of the next window"):
        arranged(both(10 * FIRST), position())


def test_repeat_is_passed_over() -> None:
    """A file that has been applied is recognised by its digest."""
    found = arranged(both(FIRST, FIRST + 1), position(FIRST))
    assert sequences(found) == [FIRST + 1]
    assert {each.reason for each in found.skipped} == {"applied already"}


def test_repeat_with_another_content() -> None:
    """Another file for a window that has been applied is an error."""
    with pytest.raises(InputError, match="applied from a file of another content"):
        arranged(both(FIRST), position(FIRST), **{f"port-increment_{FIRST}": "other"})


def test_late_older_window() -> None:
    """What is older than the full dump is passed over, and named."""
    found = arranged(both(FIRST - 1, FIRST), position())
    assert sequences(found) == [FIRST]
    assert {each.reason for each in found.skipped} == {f"older than the full dump {DUMP}"}


def test_file_twice() -> None:
    """The same file under two names is applied once."""
    twin = increment(PORT, FIRST, "z_copy.zip")
    found = arranged([*both(FIRST), twin], position())
    assert sequences(found) == [FIRST]
    assert [each.name for each in found.skipped] == ["z_copy.zip"]


def test_two_files_for_one_place() -> None:
    """Two different files of one kind and sequence are an error."""
    twin = increment(PORT, FIRST, "z_copy.zip")
    with pytest.raises(InputError, match="but another content"):
        arranged([*both(FIRST), twin], position(), **{"z_copy.zip": "other"})


def test_files_of_a_window_with_different_times() -> None:
    """The files of a window are of the time that belongs to its sequence."""
    late = increment(RETURN, FIRST)
    late = replace(late, as_of=late.as_of + timedelta(hours=2))
    with pytest.raises(InputError, match="do not belong together: the file was renamed"):
        arranged([increment(PORT, FIRST), late], position())


@given(there=st.sets(st.tuples(st.sampled_from([PORT, RETURN]), st.integers(-2, 7))))
def test_any_set_of_files(there: set[tuple[str, int]]) -> None:
    """What is applied is the longest run of whole windows that begins with the next one."""
    at = position(FIRST)
    files = [increment(kind, FIRST + offset) for kind, offset in sorted(there)]
    found = arranged(files, at)
    run = []
    while all((kind, len(run) + 1) in there for kind in (PORT, RETURN)):
        run.append(FIRST + len(run) + 1)
    assert sequences(found) == run
    after = [(kind, offset) for kind, offset in there if offset > len(run)]
    assert (found.gap is None) == (not after)
    assert len(found.skipped) == sum(offset <= 0 for _, offset in there)
