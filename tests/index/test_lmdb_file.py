"""The environment that is written here is the one that the LMDB library writes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numroute.index.lmdb_file import EnvironmentWriter, LeafFullError, Value, Written

KEYS = ["a", "cells", "changed", "meta", "pages", "route", "routes.status", "zz"]
SIZES = st.one_of(
    st.integers(0, 300), st.integers(2020, 2040), st.integers(4070, 4090), st.integers(0, 20_000)
)
MAP_SIZE = slice(32, 40)
"""Where a meta page tells how large the library's map was: ours tells the file's own size."""


def values_of(contents: dict[str, bytes]) -> list[Value]:
    """Return values that come in several pieces."""
    return [
        Value(
            key=key,
            length=len(data),
            pieces=lambda data=data: (memoryview(data[:7]), memoryview(data[7:])),
        )
        for key, data in contents.items()
    ]


def written(path: Path, contents: dict[str, bytes]) -> tuple[Written, dict[str, bytes]]:
    """Write an environment; return what the writer says of it, and the digests that it told."""
    digests: dict[str, bytes] = {}
    with path.open("wb", buffering=0) as file:
        told = EnvironmentWriter(file, values_of(contents)).write(digests.__setitem__)
    return told, digests


def contents_of(sizes: dict[str, int]) -> dict[str, bytes]:
    """Return bytes of these lengths."""
    return {key: hashlib.shake_128(key.encode()).digest(size) for key, size in sizes.items()}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sizes=st.dictionaries(st.sampled_from(KEYS), SIZES, min_size=1), order=st.randoms())
def test_byte_for_byte_what_the_library_writes(tmp_path: Path, sizes: dict, order) -> None:
    """Values of any size, in any order, make the same file; and the library reads it."""
    keys = list(sizes)
    order.shuffle(keys)
    contents = contents_of({key: sizes[key] for key in keys})
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    told, digests = written(ours, contents)
    data = ours.read_bytes()
    assert told.length == len(data)
    assert told.head == data[: 3 * 4096]
    assert told.sha256 == hashlib.sha256(data).digest()
    assert digests == {key: hashlib.sha256(each).digest() for key, each in contents.items()}
    with lmdb.open(str(ours), subdir=False, readonly=True, lock=False) as environment:
        assert environment.stat()["entries"] == len(contents)
        with environment.begin() as transaction:
            found = {key.decode(): value for key, value in transaction.cursor()}
    assert found == contents

    theirs.unlink(missing_ok=True)
    with (
        lmdb.open(
            str(theirs), map_size=len(data) + 2**20, subdir=False, lock=False, max_dbs=0
        ) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, each in contents.items():
            transaction.put(key.encode(), each)
    with lmdb.open(str(theirs), subdir=False, readonly=True, lock=False) as environment:
        one_leaf = environment.stat()["depth"] == 1
    if one_leaf:
        expected = bytearray(theirs.read_bytes())
        for page in (0, 4096):
            place = slice(page + MAP_SIZE.start, page + MAP_SIZE.stop)
            expected[place] = data[place]
        assert data == bytes(expected)


def test_a_value_larger_than_the_buffers(tmp_path: Path) -> None:
    """A value flows through the buffers whatever its size is."""
    contents = contents_of({"a": 9, "cells": 21 * 2**20 + 3, "zz": 5 * 2**20})
    told, digests = written(tmp_path / "a", contents)
    data = (tmp_path / "a").read_bytes()
    assert told.sha256 == hashlib.sha256(data).digest()
    assert digests["cells"] == hashlib.sha256(contents["cells"]).digest()
    with (
        lmdb.open(str(tmp_path / "a"), subdir=False, readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        assert transaction.get(b"cells") == contents["cells"]


def test_small_values_that_one_leaf_cannot_hold(tmp_path: Path) -> None:
    """The largest of them get pages of their own, so that all keys stand in the root."""
    contents = contents_of(dict.fromkeys(KEYS, 1_900))
    written(tmp_path / "a", contents)
    with lmdb.open(str(tmp_path / "a"), subdir=False, readonly=True, lock=False) as environment:
        assert environment.stat()["depth"] == 1
        assert environment.stat()["overflow_pages"] == 6
        with environment.begin() as transaction:
            assert {key.decode(): value for key, value in transaction.cursor()} == contents


def test_more_keys_than_a_leaf_holds(tmp_path: Path) -> None:
    """Keys that do not fit into one page are refused before anything is written."""
    values = values_of({f"{i:0200}": b"" for i in range(30)})
    with (tmp_path / "a").open("wb", buffering=0) as file, pytest.raises(LeafFullError):
        EnvironmentWriter(file, values)


def test_a_value_of_another_length_than_announced(tmp_path: Path) -> None:
    """A value that has not the bytes that the layout was made for is an error."""
    value = Value(key="a", length=9_000, pieces=lambda: (memoryview(bytes(8_999)),))
    with (
        (tmp_path / "a").open("wb", buffering=0) as file,
        pytest.raises(ValueError, match="8999 bytes, 9000 were announced"),
    ):
        EnvironmentWriter(file, [value]).write(lambda *_: None)
