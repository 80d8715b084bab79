"""Each way in which input can be bad: a clear message, exit status 1, and nothing changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.registry import ABC, DUMP, NAMES, OPERATORS, PLAN, command, write_registry, zipped

from numroute.index import SnapshotStore
from numroute.index.layout import FORMAT_VERSION, SEAL_BYTES, Seal

FULL_NUMBER = re.compile(r"(?<!\d)7?[3489]\d{9}(?!\d)")
"""Ten national digits, or eleven with the country code."""


def as_zip(folder: Path, members: dict[str, bytes]) -> None:
    """Put a zip in the dump's place."""
    zipped(folder / NAMES["dump"].replace(".csv", ".zip"), members)


def no_dump(folder: Path) -> None:
    (folder / NAMES["dump"]).unlink()


def truncated_zip(folder: Path) -> None:
    no_dump(folder)
    as_zip(folder, {NAMES["dump"]: (DUMP * 50).encode()})
    path = folder / NAMES["dump"].replace(".csv", ".zip")
    path.write_bytes(path.read_bytes()[:200])


def two_members(folder: Path) -> None:
    no_dump(folder)
    as_zip(folder, {NAMES["dump"]: DUMP.encode(), "readme.txt": b"hello"})


def bomb(folder: Path) -> None:
    no_dump(folder)
    as_zip(folder, {NAMES["dump"]: DUMP.encode() + b"\r\n" * 20_000_000})


def second_dump(folder: Path) -> None:
    (folder / "Port_All_202608220000_4658.csv").write_text(DUMP, newline="")


def mixed_plan(folder: Path) -> None:
    first, second, third = ABC.splitlines(keepends=True)
    data = first.encode() + second.encode() + third.encode("windows-1251")
    (folder / NAMES["abc"]).write_bytes(data)


Plant = Callable[[Path], object]


def text(key: str, before: str, after: str) -> Plant:
    """Return what replaces a part of one of the files' texts."""

    def plant(folder: Path) -> None:
        path = folder / NAMES[key]
        whole = path.read_bytes()
        assert before.encode() in whole
        path.write_bytes(whole.replace(before.encode(), after.encode(), 1))

    return plant


def content(key: str, data: bytes) -> Plant:
    """Return what replaces one of the files' content."""
    return lambda folder: (folder / NAMES[key]).write_bytes(data)


HTML = b"<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n"
LAST_ROW = "9161234567,mTELE2,20,D7720,77,2021-01-01T10:00:00+03:00,\r\n"

DEFECTS: dict[str, tuple[Plant, str, str]] = {
    # name: how it is planted, the file and line named, a word of the reason
    "truncated_dump": (text("dump", LAST_ROW, ""), NAMES["dump"], "RowCount says 3"),
    "dump_cut_inside_a_row": (text("dump", LAST_ROW, LAST_ROW[:20]), f"{NAMES['dump']}:4", ""),
    "row_count_too_small": (text("dump", "+03:00,3", "+03:00,2"), NAMES["dump"], "RowCount says 2"),
    "row_count_not_a_number": (text("dump", "+03:00,3", "+03:00,many"), NAMES["dump"], "RowCount"),
    "wrong_header": (text("dump", "OwnerId", "Owner"), NAMES["dump"], "not a header"),
    "html_dump": (content("dump", HTML), NAMES["dump"], "HTML page"),
    "html_plan": (content("abc", HTML), NAMES["abc"], ""),
    "mixed_encodings": (mixed_plan, NAMES["abc"], "encoding"),
    "duplicate_number": (
        text("dump", "9000000345", "9000000012"), NAMES["dump"], "more than one row",
    ),
    "bad_number": (text("dump", "9000000345", "90000003x5"), f"{NAMES['dump']}:3", "Number"),
    "bad_time": (text("dump", "2018-05-03T00:03:29", "03.05.2018"), f"{NAMES['dump']}:3", "PortD"),
    "duplicate_range": (
        text("plan", "9160000000,9169999999", "9000000000,9000009999"), NAMES["plan"], "",
    ),
    "overlapping_ranges": (
        text("plan", "9160000000,9169999999", "9000009999,9000019999"), NAMES["plan"], "overlap",
    ),
    "overlapping_open_plan": (
        text("abc", "800;2000000;2000999;1000", "495;1009999;1009999;1"), NAMES["abc"], "overlap",
    ),
    "wrong_capacity": (text("abc", ";10000;", ";9999;"), f"{NAMES['abc']}:2", ""),
    "total_row": (
        text("abc", "800;2000000;2000999;1000", "Итого;;;11000"), f"{NAMES['abc']}:3", "",
    ),
    "numbers_outside_the_plan": (
        text("plan", "9160000000,9169999999", "9170000000,9179999999"),
        f"{NAMES['dump']}:4",
        "outside the numbering plan",
    ),
    "unknown_operator": (
        text("dump", "mTELE2,20", "mTELE3,20"), f"{NAMES['dump']}:4", "mTELE3",
    ),
    "operator_in_another_case": (
        text("dump", "mMTS,01", "mMts,01"), f"{NAMES['dump']}:3", "mMts",
    ),
    "empty_dump": (content("dump", b""), NAMES["dump"], "empty"),
    "empty_plan": (content("abc", b""), NAMES["abc"], "empty"),
    "dump_without_rows": (
        content("dump", DUMP.splitlines(keepends=True)[0].encode()), NAMES["dump"], "no rows",
    ),
    "nul_bytes": (text("dump", "mMTS", "m\0TS"), f"{NAMES['dump']}:3", "NUL"),
    "zip_with_two_members": (two_members, NAMES["dump"][:-4], "one file"),
    "zip_bomb": (bomb, NAMES["dump"][:-4], ""),
    "truncated_zip": (truncated_zip, NAMES["dump"][:-4], ""),
    "two_dumps": (second_dump, "Port_All_202608", "second full dump"),
    "no_such_file": (lambda folder: folder.rename(folder.parent / "gone"), "registry", "not exist"),
    "unknown_kind_of_file": (content("operators", b"a,b\r\n1,2\r\n"), NAMES["operators"], ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def good_store(tmp_path_factory) -> tuple[Path, str]:
    """Return a store with a good snapshot, and its id."""
    folder = write_registry(tmp_path_factory.mktemp("good") / "r")
    store = tmp_path_factory.mktemp("store") / "s"
    assert command("numroute-load", "build", "--store", store, folder).status == 0
    return store, SnapshotStore(store).current_id()


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_refused_and_named(
    good_store: tuple[Path, str], tmp_path: Path, defect: str
) -> None:
    """Build exits 1, names file, line, reason and remedy, and leaves the good snapshot current."""
    plant, where, reason = DEFECTS[defect]
    store, good = good_store
    folder = write_registry(tmp_path / "registry")
    plant(folder)
    result = command("numroute-load", "build", "--store", store, folder)
    assert result.status == 1
    message, _, hint = result.err.partition("\nnumroute-load: ")
    assert where in message
    assert reason in message
    assert hint.strip(), "what to do is said"
    assert "Traceback" not in result.err
    assert not FULL_NUMBER.search(result.err), "a full phone number is printed"
    assert SnapshotStore(store).current_id() == good
    assert SnapshotStore(store).ids() == [good]


def test_check_refuses_what_build_refuses(tmp_path: Path) -> None:
    """Check prints its findings and exits 1 when the gate would refuse."""
    folder = write_registry(tmp_path / "r", dump=DUMP.replace("mTELE2", "mTELE3"))
    result = command("numroute-load", "check", folder)
    assert result.status == 1
    assert "FAILED" in result.out
    assert "refused by the gate" in result.err


def test_nothing_to_build_from(tmp_path: Path) -> None:
    """An operator table alone makes no snapshot."""
    folder = write_registry(tmp_path / "r", dump=None, plan=None, abc=None)
    result = command("numroute-load", "build", "--store", tmp_path / "s", folder)
    assert result.status == 1
    assert "neither a full dump nor a numbering plan" in result.err


# What a store can suffer, and what every reading command says of it.


def missing(_: Path, __: Path) -> None:
    """Do nothing: the path given does not exist."""


def corrupt(store: Path, snapshot: Path) -> None:
    data = bytearray(snapshot.read_bytes())
    data[2 * 4096 + 50] ^= 0xFF
    snapshot.write_bytes(data)
    del store


def cut(store: Path, snapshot: Path) -> None:
    snapshot.write_bytes(snapshot.read_bytes()[:-5000])
    del store


def newer(store: Path, snapshot: Path) -> None:
    data = snapshot.read_bytes()
    seal = Seal.unpack(data[-SEAL_BYTES:])
    assert seal is not None
    later = seal._replace(format_version=FORMAT_VERSION + 1)
    snapshot.write_bytes(data[:-SEAL_BYTES] + later.pack())
    del store


def pointer_at_nothing(store: Path, _: Path) -> None:
    (store / "CURRENT").write_text("20200101T000000Z-000000\n")


def empty(store: Path, _: Path) -> None:
    (store / "CURRENT").unlink()


DAMAGE = {
    "corrupt": (corrupt, "not what was written"),
    "truncated": (cut, "truncated"),
    "of_a_newer_version": (
        newer,
        f"format version {FORMAT_VERSION + 1}, this program reads version {FORMAT_VERSION}",
    ),
    "pointing_at_nothing": (pointer_at_nothing, "which is not there"),
    "without_snapshot": (empty, "no current snapshot"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "words",
    [
        ("numroute", "lookup", "+79000000012"),
        ("numroute", "explain", "+79000000012"),
        ("numroute", "info"),
        ("numroute-load", "verify"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_damaged_store_is_told(tmp_path: Path, damage: str, words: tuple[str, ...]) -> None:
    """Every command that reads says what is wrong with the store and what to do."""
    folder = write_registry(tmp_path / "r")
    store = tmp_path / "s"
    assert command("numroute-load", "build", "--store", store, folder).status == 0
    opened = SnapshotStore(store)
    spoil, reason = DAMAGE[damage]
    spoil(store, opened.snapshot_path(opened.current_id()))
    result = command(*words, "--store", store)
    assert result.status == 1
    assert reason in result.err.replace("there is no snapshot", "which is not there")
    assert len(result.err.splitlines()) == 2, "a message and a hint"


def test_a_missing_store_is_told(tmp_path: Path) -> None:
    """A path without a store says how to build one."""
    result = command("numroute", "info", "--store", tmp_path / "nowhere")
    assert result.status == 1
    assert "there is no snapshot store here" in result.err
    assert "numroute-load build" in result.err


def test_a_first_check_needs_no_store(tmp_path: Path) -> None:
    """Before the first build full files are judged alone, and a warning says so."""
    folder = write_registry(tmp_path / "r")
    result = command("numroute-load", "check", "--store", tmp_path / "nowhere", folder)
    assert result.status == 0, result.err
    assert "there is no snapshot store here: compared with nothing" in result.err
    assert not (tmp_path / "nowhere").exists()


def test_an_unwritable_store_is_told(tmp_path: Path) -> None:
    """A store that cannot be created because a file is in the way is a clear error."""
    folder = write_registry(tmp_path / "r")
    (tmp_path / "file").write_text("")
    result = command("numroute-load", "build", "--store", tmp_path / "file" / "s", folder)
    assert result.status == 1
    assert "cannot be made" in result.err


def test_the_texts_of_the_tiny_registry_are_good() -> None:
    """The files of these tests are valid before they are damaged."""
    assert OPERATORS.count("\r\n") == 4
    assert PLAN.count("\r\n") == 3
