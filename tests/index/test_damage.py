"""Damaged, cut and foreign files are told apart and named; verify finds every flipped byte."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.snapshots import make_content, make_metadata, make_routes

from numroute.errors import SnapshotCorruptError, StoreAccessError, StoreError
from numroute.index import Snapshot, verify_snapshot
from numroute.index.content import ContentError
from numroute.index.file import write_file
from numroute.index.layout import DONORS, NETWORKS, OPERATORS, RANKS_WITHIN, REGIONS
from numroute.index.writer import write_snapshot

PAGE = 4096


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> bytes:
    """Return the bytes of a small snapshot."""
    path = tmp_path_factory.mktemp("intact") / "s.lmdb"
    content = make_content(
        {79_000_000_012 + i: 2 for i in range(3000)},
        {79_000_000_000: 3, 79_000_003_584: 0},
        make_routes(1, 1),
        times={79_000_000_012: 1_700_000_000},
    )
    write_snapshot(path, content, make_metadata())
    return path.read_bytes()


def flip_places(size: int) -> list[int]:
    """Return places in every part of the file: head, each page's edges, seal, and at random."""
    places = {0, 20, 40, size - 1, size - PAGE, size - PAGE + 130, size - PAGE + 30}
    places |= set(range(2 * PAGE, 3 * PAGE, 97))
    places |= {page * PAGE + offset for page in range(size // PAGE) for offset in (0, 8, 16, 4095)}
    rng = random.Random(3)
    places |= {rng.randrange(size) for _ in range(300)}
    return sorted(rng.sample(sorted(places), 700) if len(places) > 700 else places)


def test_verify_finds_any_flipped_byte(intact: bytes, tmp_path: Path) -> None:
    """Whatever byte is changed, in arrays, tables, tree, padding or seal: verify says so."""
    path = tmp_path / "s.lmdb"
    for place in flip_places(len(intact)):
        damaged = bytearray(intact)
        damaged[place] ^= 0x40
        path.write_bytes(damaged)
        with pytest.raises(StoreError):
            verify_snapshot(path)
    path.write_bytes(intact)
    verify_snapshot(path)


@pytest.mark.parametrize("cut", [1, 100, PAGE, PAGE + 1, 5 * PAGE, 10**9])
def test_a_cut_file_is_refused_at_opening(intact: bytes, tmp_path: Path, cut: int) -> None:
    """A file that lost its end is told without reading it whole."""
    path = tmp_path / "s.lmdb"
    path.write_bytes(intact[: max(0, len(intact) - cut)])
    with pytest.raises(SnapshotCorruptError, match="truncated"):
        Snapshot(path)


def test_a_missing_page_is_refused_at_opening(intact: bytes, tmp_path: Path) -> None:
    """A page lost from the middle shows in the length that the seal tells."""
    path = tmp_path / "s.lmdb"
    path.write_bytes(intact[: 10 * PAGE] + intact[11 * PAGE :])
    with pytest.raises(SnapshotCorruptError, match="the seal covers"):
        Snapshot(path)


def test_damage_to_the_tree_is_refused_at_opening(intact: bytes, tmp_path: Path) -> None:
    """What steers all reads is checked at every opening, so that it cannot crash the process."""
    path = tmp_path / "s.lmdb"
    for place in range(0, 3 * PAGE, 211):
        damaged = bytearray(intact)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(SnapshotCorruptError, match="first pages"):
            Snapshot(path)


def test_verify_names_the_damaged_array(intact: bytes, tmp_path: Path) -> None:
    """A byte flipped inside an array is reported with the array's name and the remedy."""
    path = tmp_path / "s.lmdb"
    damaged = bytearray(intact)
    place = intact.index((1_700_000_000).to_bytes(4, "little"))
    damaged[place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(SnapshotCorruptError, match=r"ported_at: not what was written.*build"):
        verify_snapshot(path)


@pytest.mark.parametrize(
    ("key", "table"),
    [
        (OPERATORS, b"[{"),
        (OPERATORS, b"[7]"),
        (REGIONS, b'[{"code":"\xff"}]'),
        (DONORS, b'[{"cade":"mMTS"}]'),
        (NETWORKS, b"7"),
        (NETWORKS, b'[{"mcc":"250"}]'),
        (
            NETWORKS,
            b'[{"mcc":"","mnc":"","registry_mnc":"","routing_number":"","line_type":"MOBYLE"}]',
        ),
    ],
)
def test_a_table_that_is_none_is_refused_at_opening(
    intact: bytes, tmp_path: Path, key: str, table: bytes
) -> None:
    """Operators, networks and regions that do not read as such are damage, not a fault of ours."""
    (tmp_path / "s.lmdb").write_bytes(intact)
    path = tmp_path / "damaged.lmdb"
    with Snapshot(tmp_path / "s.lmdb") as snapshot:
        tables = snapshot.tables_stored() | {key: table}
        write_file(path, snapshot.arrays, tables, snapshot.metadata)
    with pytest.raises(SnapshotCorruptError, match="the operators, networks or regions are not"):
        Snapshot(path)


def test_columns_of_records_without_ranks_are_refused(intact: bytes, tmp_path: Path) -> None:
    """Without the ranks within groups a lookup would take another number's time."""
    (tmp_path / "s.lmdb").write_bytes(intact)
    with Snapshot(tmp_path / "s.lmdb") as snapshot:
        arrays = {key: array for key, array in snapshot.arrays.items() if key != RANKS_WITHIN}
        write_file(tmp_path / "d.lmdb", arrays, snapshot.tables_stored(), snapshot.metadata)
    with pytest.raises(SnapshotCorruptError, match="it lacks ranks_within"):
        Snapshot(tmp_path / "d.lmdb")


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """A file that is no snapshot at all is told as such."""
    path = tmp_path / "s.lmdb"
    path.write_bytes(b"<!DOCTYPE html>" * 4096)
    with pytest.raises(SnapshotCorruptError, match="no seal"):
        Snapshot(path)


def test_a_folder_in_the_file_s_place_is_refused(tmp_path: Path) -> None:
    """The operating system's refusal becomes an error of ours."""
    path = tmp_path / "s.lmdb"
    path.mkdir()
    with pytest.raises(StoreAccessError, match="cannot be read") as caught:
        Snapshot(path)
    assert "what the system says" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"range_start": [1, 5, 9]}, "the first piece starts at 0"),
        ({"range_start": [0, 9, 5]}, "pieces ascend"),
        ({"numbers": [7, 7]}, "numbers ascend and are unique"),
        ({"numbers": [9, 7]}, "numbers ascend and are unique"),
        ({"numbers": [0, 7]}, "whole E.164"),
        ({"numbers": [7, 10**15]}, "whole E.164"),
        ({"number_route": [2, 99]}, "routes of numbers are rows"),
        ({"number_route": [2]}, "one route per number"),
        ({"range_route": [0, 3, 3]}, "the last piece has row 0"),
        ({"range_route": [0, 99, 0]}, "routes of pieces are rows"),
        ({"ported_at": [1]}, "one time per number"),
    ],
)
def test_content_that_breaks_a_rule_is_not_written(tmp_path: Path, change, rule: str) -> None:
    """The writer checks every rule of the format before it writes anything."""
    import dataclasses

    import numpy as np

    content = make_content({7: 2, 8: 2}, {5: 3, 9: 0}, make_routes(1, 1))
    dtypes = {"range_start": np.uint64, "numbers": np.uint64}
    arrays = {key: np.array(value, dtypes.get(key, np.uint32)) for key, value in change.items()}
    broken = dataclasses.replace(content, **arrays)
    with pytest.raises(ContentError, match=rule):
        write_snapshot(tmp_path / "s.lmdb", broken, make_metadata())
    assert not (tmp_path / "s.lmdb").exists()
