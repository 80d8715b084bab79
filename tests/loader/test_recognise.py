"""How the kind of a file is told: by its name and by its header, which must agree."""

from __future__ import annotations

import zipfile

import pytest
from support import bdpn

from numroute.errors import InputError
from numroute_loader.registries import KINDS, open_file, read, ru_bdpn

DATED = "201807060000_1689"

ROWS = {
    "ru-bdpn/port-all": bdpn.dump(bdpn.PORT_ALL, [bdpn.port_all_row(9_000_000_012)]),
    "ru-bdpn/port-all-full": bdpn.dump(
        bdpn.PORT_ALL_FULL, [bdpn.port_all_full_row(9_000_000_012, "mMTS", "mT2", "mT2")]
    ),
    "ru-bdpn/port-all-new": b"Number,OrgName,RowCount\r\n9000000012,a,1\r\n",
    "ru-bdpn/operators": b"OrgCode,MNC,TIN,OrgName,RowCount\r\nmA,01,,a,1\r\n",
    "ru-bdpn/numbering-plan": (
        b"NumberFrom,NumberTo,OwnerId,RegionCode,MNC,RowCount\r\n"
        b"9000000000,9000000099,mMTS,25,01,1\r\n"
    ),
    "ru-bdpn/port-increment": bdpn.dump(bdpn.PORT_INCREMENT, [bdpn.port_row(9_000_000_012)]),
    "ru-bdpn/return-increment": bdpn.dump(bdpn.RETURN_INCREMENT, [bdpn.return_row(9_000_000_012)]),
}

NAMES = {
    "ru-bdpn/port-all": f"Port_All_{DATED}",
    "ru-bdpn/port-all-full": f"Port_All_Full_{DATED}",
    "ru-bdpn/port-all-new": f"Port_All_New_{DATED}",
    "ru-bdpn/operators": f"Operators_{DATED}",
    "ru-bdpn/numbering-plan": f"Numbering_plan_{DATED}",
    "ru-bdpn/port-increment": f"Port_Increment_{DATED}",
    "ru-bdpn/return-increment": f"Return_Increment_{DATED}",
}


def recognise(path):
    """Return the kind of a file."""
    file = open_file(path)
    file.archive.close()
    return file.kind


def _refused(path) -> InputError:
    with pytest.raises(InputError) as caught:
        recognise(path)
    assert caught.value.hint
    assert str(path) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("suffix", ["csv", "zip", "CSV"])
def test_by_name_and_header(tmp_path, kind, suffix):
    """A file with its kind's name, in any case, and its kind's header is of that kind."""
    for name in (NAMES[kind], NAMES[kind].upper(), NAMES[kind].lower()):
        assert recognise(bdpn.put(tmp_path, f"{name}.{suffix}", ROWS[kind])).name == kind


@pytest.mark.parametrize("kind", ROWS)
def test_by_header_alone(tmp_path, kind):
    """A file under a name of its own is told by its header, and has neither time nor sequence."""
    path = bdpn.put(tmp_path, "latest.csv", ROWS[kind])
    assert recognise(path).name == kind
    source = read(path).source
    assert (source.as_of, source.sequence) == (None, None)


def test_every_kind_of_the_registry_is_tried():
    """The cases above leave out no kind of the registry."""
    assert {kind.name for kind in ru_bdpn.KINDS} == set(ROWS)
    assert set(ru_bdpn.KINDS) <= set(KINDS)
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_by_the_name_within_a_zip(tmp_path):
    """A renamed zip is told and dated by the name of its member."""
    path = tmp_path / "download.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"dumps/Port_All_{DATED}.csv", ROWS["ru-bdpn/port-all"])
    assert recognise(path).name == "ru-bdpn/port-all"
    assert read(path).source.sequence == 1689


def test_delivered_name_with_a_folder():
    """A host's name that leads out of the folder is not a registry's: the copy would follow it."""
    assert ru_bdpn.FEED.parse(f"Port_All_{DATED}.zip")
    for folder in ("..", "../..", "/srv", "a"):
        assert ru_bdpn.FEED.parse(f"{folder}/Port_All_{DATED}.zip") is None


@pytest.mark.parametrize("named", NAMES)
@pytest.mark.parametrize("filled", ROWS)
def test_name_and_header_that_contradict_each_other(tmp_path, named, filled):
    """A file named as one kind whose header is another's is refused with both kinds."""
    if ROWS[named] == ROWS[filled]:
        return
    error = _refused(bdpn.put(tmp_path, f"{NAMES[named]}.csv", ROWS[filled]))
    assert error.line == 1
    first = next(kind for kind in ROWS if ROWS[kind] == ROWS[filled])
    assert f"named as {named}, but the first line is that of {first}" in error.reason


def test_unknown_header_under_a_known_name(tmp_path):
    """A known name over an unknown header is refused with the columns that should stand there."""
    error = _refused(bdpn.put(tmp_path, f"Port_All_{DATED}.csv", b"a,b,c\r\n1,2,3\r\n"))
    assert "the first line is not a header of its kind" in error.reason
    assert "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount" in error.hint


def test_neither_name_nor_header(tmp_path):
    """A file of no kind is refused with the list of the kinds."""
    error = _refused(bdpn.put(tmp_path, "notes.csv", b"a,b,c\r\n1,2,3\r\n"))
    assert "neither the name nor the first line" in error.reason
    assert all(kind.name in error.hint for kind in KINDS)


@pytest.mark.parametrize("name", [f"Port_Increment_New_{DATED}", "Return_Increment_New_copy"])
@pytest.mark.parametrize("suffix", ["csv", "zip"])
def test_increment_with_the_header_of_a_full_dump(tmp_path, name, suffix):
    """An increment of the simplified tier, whose header is a full dump's, is not taken for one."""
    text = ROWS["ru-bdpn/port-all-new"]
    error = _refused(bdpn.put(tmp_path, f"{name}.{suffix}", text))
    assert "an increment of the simplified tier, which states no times" in error.reason


def test_zip_named_as_one_kind_with_another_in_it(tmp_path):
    """A zip named as a full dump that holds an increment is neither."""
    path = tmp_path / f"Port_All_New_{DATED}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"Port_Increment_New_{DATED}.csv", ROWS["ru-bdpn/port-all-new"])
    error = _refused(path)
    assert "an increment of the simplified tier" in error.reason


def test_zip_named_as_one_dump_with_another_in_it(tmp_path):
    """A zip named as one kind of dump that holds another is neither."""
    path = tmp_path / f"Port_All_{DATED}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"Port_All_Full_{DATED}.csv", ROWS["ru-bdpn/port-all"])
    error = _refused(path)
    assert "named as ru-bdpn/port-all, the file in it as ru-bdpn/port-all-full" in error.reason


def test_time_that_does_not_exist(tmp_path):
    """A name whose digits are no time is refused when the file is read."""
    path = bdpn.put(tmp_path, "Port_All_201813060000_1689.csv", ROWS["ru-bdpn/port-all"])
    with pytest.raises(InputError, match="a time that does not exist"):
        read(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "the file is empty"),
        (b"\r\n \r\n", "the file is empty"),
        (b"<html><body>Not Found</body></html>", "looks like an HTML page"),
        (b"\xef\xbb\xbf  <!DOCTYPE html>", "looks like an HTML page"),
        ("Number,OwnerId".encode("utf-16"), "the text is UTF-16"),
        (b"Number,Own\x00erId\r\n", "the line holds NUL bytes"),
    ],
)
@pytest.mark.parametrize("name", [f"Port_All_{DATED}.csv", f"Port_All_{DATED}.zip", "x.csv"])
def test_what_is_no_text_of_a_registry(tmp_path, name, text, reason):
    """An empty file, a web page, UTF-16 and NUL bytes are refused whatever the name says."""
    assert reason in _refused(bdpn.put(tmp_path, name, text)).reason


def test_file_that_is_missing_or_a_folder(tmp_path):
    """A path that cannot be read is refused with the system's reason."""
    assert "No such file" in _refused(tmp_path / "none.csv").reason
    assert "Is a directory" in _refused(tmp_path).reason
