"""docs/format.md, writer and reader agree; golden files stay readable, or are refused."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
from pathlib import Path

import lmdb
import numpy as np
import pytest
from support.snapshots import make_content, make_metadata, make_routes

from numroute.errors import SnapshotVersionError
from numroute.index import Snapshot, explain, verify_snapshot
from numroute.index.layout import SEAL_BYTES, VALUE_BYTES_MIN, Seal
from numroute.index.writer import write_snapshot

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "index" / "golden"

EXAMPLE = make_content(
    {79_000_000_012: 2, 79_000_000_045: 2},
    {79_000_000_000: 3, 79_000_003_584: 0},
    make_routes(1, 1),
    times={79_000_000_045: 1_700_000_000},
)


def documented_arrays() -> dict[str, np.ndarray]:
    """Return the arrays of the worked example as docs/format-example.md gives them."""
    text = (ROOT / "docs" / "format-example.md").read_text("utf-8")
    arrays: dict[str, np.ndarray] = {}
    row = re.compile(r"^([a-z_.]+) u(\d+) (\d+) (\d+)(?: to (\d+))? (\w+)$", re.MULTILINE)
    for key, bits, entries, first, last, value in row.findall(text):
        array = arrays.setdefault(key, np.zeros(int(entries), f"<u{int(bits) // 8}"))
        array[int(first) : int(last or first) + 1] = int(value, 0)
    return arrays


def stored_bytes(path: Path) -> dict[str, bytes]:
    """Return the raw values of a snapshot file, read by LMDB alone."""
    with (
        lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        return {key.decode(): value for key, value in transaction.cursor()}


def test_the_worked_example_is_what_the_writer_writes(tmp_path: Path) -> None:
    """Every array of docs/format-example.md has the documented bytes."""
    path = tmp_path / "example.lmdb"
    write_snapshot(path, EXAMPLE, make_metadata())
    stored = stored_bytes(path)
    documented = documented_arrays()
    assert len(documented) == 13
    for key, array in documented.items():
        padded = array.tobytes().ljust(VALUE_BYTES_MIN, b"\0")
        assert stored[key] == padded, key


def test_ranks_within_groups_are_stored_for_columns_of_records_only(tmp_path: Path) -> None:
    """Without times and donors no lookup asks how many records lie before a granule."""
    path = tmp_path / "example.lmdb"
    write_snapshot(path, dataclasses.replace(EXAMPLE, ported_at=None), make_metadata())
    assert "ranks_within" not in stored_bytes(path)


def test_the_worked_example_is_answered_as_documented(open_content) -> None:
    """The three numbers that docs/format-example.md walks through get the rows it names."""
    snapshot = open_content(EXAMPLE)
    asked = np.array([79_000_000_045, 79_000_000_013, 79_000_000_600], np.uint64)
    assert snapshot.lookup(asked).route.tolist() == [2, 3, 3]


def test_all_keys_stand_in_the_first_three_pages(tmp_path: Path) -> None:
    """The tree is one leaf, page 2: what the seal's head digest covers steers all reading."""
    path = tmp_path / "example.lmdb"
    write_snapshot(path, EXAMPLE, make_metadata())
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment:
        assert environment.stat()["psize"] == 4096
        assert (environment.stat()["depth"], environment.stat()["leaf_pages"]) == (1, 1)
        last_page = environment.info()["last_pgno"]
    content = path.read_bytes()
    assert len(content) == (last_page + 1) * 4096 + SEAL_BYTES
    assert b"entries" in content[2 * 4096 : 3 * 4096]
    assert path.stat().st_mode & 0o777 == 0o600


def golden_file(folder: Path, version: int) -> Path:
    """Return a file that was written when this version was fixed."""
    path = folder / "golden.lmdb"
    path.write_bytes(gzip.decompress((GOLDEN / f"snapshot-v{version}.lmdb.gz").read_bytes()))
    return path


def test_the_golden_file_gives_its_golden_answers(tmp_path: Path) -> None:
    """A file written when its version was fixed still verifies and answers as it did then."""
    path = golden_file(tmp_path, 4)
    expected = json.loads((GOLDEN / "snapshot-v4.json").read_text("utf-8"))
    metadata = verify_snapshot(path)
    assert metadata.format_version == 4
    assert metadata.snapshot_id == expected["snapshot_id"]
    with Snapshot(path) as snapshot:
        numbers = np.array([each["number"] for each in expected["answers"]], np.uint64)
        answers = snapshot.lookup(numbers, ported_at=True, range_route=True)
        for i, each in enumerate(expected["answers"]):
            route = snapshot.route(int(answers.route[i]))
            assert [
                int(answers.route[i]),
                route.status.name,
                route.operator.code,
                route.region.name,
                int(answers.ported_at[i]),
                int(answers.range_route[i]),
            ] == each["answer"]
        decided_by = expected["decided_by"]
        assert explain(snapshot, expected["answers"][0]["number"]).decided_by == decided_by
        overrides = [[each.first, each.last, each.reason] for each in snapshot.overrides]
        assert overrides == expected["overrides"]


def test_the_golden_file_of_an_older_version_is_refused(tmp_path: Path) -> None:
    """A whole file of version 3 is not read: it must be built again."""
    with pytest.raises(SnapshotVersionError, match="format version 3") as caught:
        Snapshot(golden_file(tmp_path, 3))
    assert caught.value.hint == "Build it again from the registry's files"


@pytest.mark.parametrize(
    ("version", "remedy"), [(1, "Build it again"), (2, "Build it again"), (5, "version that wrote")]
)
def test_another_version_is_refused_and_named(tmp_path: Path, version: int, remedy: str) -> None:
    """An older or newer file is not read: the error names the version and what to do."""
    path = tmp_path / "other.lmdb"
    write_snapshot(path, EXAMPLE, make_metadata())
    content = path.read_bytes()
    seal = Seal.unpack(content[-SEAL_BYTES:])
    assert seal is not None
    other = seal._replace(format_version=version)
    path.write_bytes(content[:-SEAL_BYTES] + other.pack())
    with pytest.raises(
        SnapshotVersionError, match=f"format version {version}, this program reads version 4"
    ) as caught:
        Snapshot(path)
    assert remedy in caught.value.hint
