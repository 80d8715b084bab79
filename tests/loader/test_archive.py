"""The text of an input file, plain or zipped, and the zips that are refused."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import struct
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import bdpn

from numroute.errors import InputError
from numroute_loader.reading import archive
from numroute_loader.reading.archive import Archive
from numroute_loader.registries import read

NAME = "Port_All_201807060000_1689"


def _text(rows: int = 2000) -> bytes:
    return bdpn.dump(
        bdpn.PORT_ALL, [bdpn.port_all_row(9_000_000_000 + 997 * i) for i in range(rows)]
    )


def _refused(path) -> InputError:
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.hint
    assert caught.value.__cause__ is None
    return caught.value


@settings(max_examples=30, deadline=None)
@given(text=st.binary(min_size=3, max_size=5000), sizes=st.lists(st.integers(1, 999), min_size=1))
def test_text_of_a_file_and_of_a_zip(tmp_path_factory, text, sizes):
    """Reading in pieces of any size gives the text, and the digest is that of the file on disk."""
    text = b"n" + text
    folder = tmp_path_factory.mktemp("text")
    for name in ("a.csv", "a.zip"):
        path = bdpn.put(folder, name, text)
        with Archive(path) as source:
            read_text = b"".join(source.read(size) for size in sizes)
            assert read_text == text[: sum(sizes)]
            assert source.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
            assert source.bytes_total == path.stat().st_size


def test_zip_under_the_name_of_a_csv(tmp_path):
    """A zip is told by its content, whatever its name ends in."""
    zipped = bdpn.put(tmp_path, f"{NAME}.zip", _text(3))
    renamed = zipped.rename(tmp_path / f"{NAME}.csv")
    assert read(renamed).source.rows == 3


def test_zip_with_very_many_members_is_refused_without_reading_their_list(tmp_path):
    """A directory of 300,000 members is refused by its size: it takes no memory and no time."""
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a")
        archive.writestr(info, b"")
    whole = path.read_bytes()
    start = whole.index(b"PK\x01\x02")
    entry, end = whole[start : whole.index(b"PK\x05\x06")], whole[-22:]
    count = 300_000
    directory = entry * count
    end = end[:8] + b"\xff\xff" * 2 + len(directory).to_bytes(4, "little") + end[16:]
    path.write_bytes(whole[:start] + directory + end)
    tracemalloc.start()
    reason = _refused(path).reason
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f"the zip's directory takes {len(directory):,} bytes" in reason
    assert peak < 4 << 20


@pytest.mark.parametrize("members", [0, 2])
def test_zip_with_no_or_two_members(tmp_path, members):
    """A zip that does not hold exactly one file is refused."""
    path = tmp_path / f"{NAME}.zip"
    with zipfile.ZipFile(path, "w") as file:
        for member in range(members):
            file.writestr(f"{member}.csv", _text(1))
    assert f"the zip holds {members} members" in _refused(path).reason


def test_zip_with_a_folder(tmp_path):
    """A zip whose one member is a folder is refused."""
    path = tmp_path / f"{NAME}.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.mkdir("folder")
    assert "exactly one file" in _refused(path).reason


def test_zip_cut_short(tmp_path):
    """A zip that lost its end, wherever it was cut, is refused."""
    path = bdpn.put(tmp_path, f"{NAME}.zip", _text())
    whole = path.read_bytes()
    for kept in (2, 10, 1000, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:kept])
        assert "the zip is damaged or cut short" in _refused(path).reason


def test_zip_with_a_flipped_byte(tmp_path):
    """A flipped byte anywhere in the packed text is found, by the packing or by its checksum."""
    path = bdpn.put(tmp_path, f"{NAME}.zip", _text())
    whole = path.read_bytes()
    for at in range(100, len(whole) - 200, len(whole) // 40):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        error = _refused(path)
        assert error.reason


def test_zip_with_a_wrong_checksum(tmp_path):
    """A stored member whose text does not match its checksum is refused, though its rows parse."""
    path = tmp_path / f"{NAME}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr(f"{NAME}.csv", _text())
    path.write_bytes(path.read_bytes().replace(b"mMTS", b"mMTT", 1))
    assert "the zip is damaged or cut short (BadZipFile)" in _refused(path).reason


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_packed_with_another_method(tmp_path, method):
    """Methods that cannot be unpacked in bounded memory are refused."""
    path = tmp_path / f"{NAME}.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr(f"{NAME}.csv", _text(3))
    assert f"the zip is packed with method {method}" in _refused(path).reason


def test_encrypted_zip(tmp_path):
    """A zip whose member is marked as encrypted is refused as such."""
    path = bdpn.put(tmp_path, f"{NAME}.zip", _text(3))
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", data, data.index(signature) + flags, 1)
    path.write_bytes(data)
    assert "the zip is encrypted" in _refused(path).reason


def test_zip_bomb(tmp_path):
    """A zip whose text is a thousand times its size is refused while it is unpacked."""
    text = _text(3) + b"\r\n" * 8_000_000
    path = bdpn.put(tmp_path, f"{NAME}.zip", text)
    assert len(text) > archive.ZIP_RATIO_MAX * path.stat().st_size
    with Archive(path) as source:
        with pytest.raises(InputError, match="its text is longer than"):
            source.read(len(text))
        assert source.bytes_done <= path.stat().st_size
    assert "its text is longer than" in _refused(path).reason


def test_zip_bomb_that_states_a_small_size(tmp_path):
    """A zip that lies about the size of its text is refused by what comes out of it."""
    path = bdpn.put(tmp_path, f"{NAME}.zip", _text(3) + b"\r\n" * 8_000_000)
    data = bytearray(path.read_bytes())
    for signature, size in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + size, 500)
    path.write_bytes(data)
    assert "the zip is damaged or cut short" in _refused(path).reason


def test_text_longer_than_the_limit(tmp_path, monkeypatch):
    """A text longer than any dump is refused when the limit is reached, not at its end."""
    monkeypatch.setattr(archive, "TEXT_BYTES_MAX", 1000)
    for name in (f"{NAME}.csv", f"{NAME}.zip"):
        path = bdpn.put(tmp_path, name, _text())
        assert "its text is longer than the limit of 1000 bytes" in _refused(path).reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"Number,OwnerId\r\n", "named .zip, but it is not a zip"),
        (b"<html>busy</html>", "looks like an HTML page"),
    ],
)
def test_no_zip_under_the_name_of_one(tmp_path, content, reason):
    """A file named .zip that is none is refused, a web page as what it is."""
    path = tmp_path / f"{NAME}.zip"
    path.write_bytes(content)
    assert reason in _refused(path).reason


WRONG_FORMATS = [
    (gzip.compress(b"Number,OwnerId\r\n", mtime=0), "the file is a gzip archive"),
    (bz2.compress(b"Number,OwnerId\r\n"), "the file is a bzip2 archive"),
    (lzma.compress(b"Number,OwnerId\r\n"), "the file is an xz archive"),
    (b"7z\xbc\xaf\x27\x1c\x00\x04", "the file is a 7-Zip archive"),
    (b"Rar!\x1a\x07\x01\x00", "the file is a RAR archive"),
    (b"%PDF-1.7\n", "the file is a PDF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "the file is an old Excel workbook"),
    (b"PAR1\x15\x04", "the file is a Parquet file"),
    (b"SQLite format 3\0", "the file is an SQLite database"),
]


@pytest.mark.parametrize(
    ("content", "reason"), WRONG_FORMATS, ids=lambda part: part if isinstance(part, str) else ""
)
@pytest.mark.parametrize("suffix", ["csv", "zip", "csv.gz"])
def test_another_format_is_named(tmp_path, content, reason, suffix):
    """A file of another format is refused as what it is, whatever its name says."""
    path = tmp_path / f"{NAME}.{suffix}"
    path.write_bytes(content)
    assert reason in _refused(path).reason


def test_workbook_is_named(tmp_path):
    """An Excel workbook is a zip of many members, and refused as a workbook."""
    path = tmp_path / f"{NAME}.zip"
    with zipfile.ZipFile(path, "w") as file:
        for member in ("[Content_Types].xml", "xl/workbook.xml"):
            file.writestr(member, "<x/>")
    assert "an Excel workbook" in _refused(path).reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_without_permission(tmp_path):
    """A file that may not be read is refused with the system's reason."""
    path = bdpn.put(tmp_path, f"{NAME}.csv", _text(3))
    path.chmod(0)
    assert "Permission denied" in _refused(path).reason
