"""Depersonalised hand-overs: pseudonyms, their key and map, the act, and the way back.

A pseudonym is the first 128 bits of HMAC-SHA-256 (RFC 2104) over the number's decimal digits in
ASCII, as 32 hexadecimal digits. It hides a number only from people without the key: with the key,
every mobile number of a country can be tried in minutes. The map reveals the numbers directly.

To put the numbers back, a report is held in memory and the map is read once, block by block: a
report is seldom larger than the campaign it is about, a map may hold a hundred million rows.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import secrets
import socket
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from numroute.errors import InputError, SettingError
from numroute.files import create_private, read_setting_file, replacing
from numroute_campaign.lists.columns import shown_name
from numroute_campaign.lists.files import ReadOptions, find_files
from numroute_campaign.lists.opening import open_list
from numroute_campaign.summary import Summary, page_environment, write_pages
from numroute_campaign.templates import NUMBER, bytes_of, header_text, plain_texts, rows_text
from numroute_campaign.vocabulary import PSEUDONYM, Reject

KEY_BYTES: Final = 32
KEY_BYTES_MIN: Final = 16
KEY_BYTES_MAX: Final = 64

_DISTINCT_BYTES_MIN: Final = 8
"""Random keys hold fewer different bytes less than once in 10^9."""

PSEUDONYM_CHARS: Final = 32

_ROWS_AT_ONCE: Final = 131_072
"""Rows of a report that are written at once."""

METHOD: Final = "HMAC-SHA-256, first 128 bits, over the decimal digits of the E.164 number"


def pseudonyms_of(numbers: NDArray[np.uint64], key: bytes) -> pa.Array:
    """Return string[n], the pseudonym of each whole number (uint64[n]) under a key."""
    # The two blocks of the key are hashed once; every number starts from copies of these states.
    padded = key.ljust(KEY_BYTES_MAX, b"\0")
    inner_copy = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded)).copy
    outer_copy = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded)).copy
    digests = []
    # The hmac module builds a Python object per number, which takes twice as long.
    for digits in map(b"%d".__mod__, numbers.tolist()):
        inner = inner_copy()
        inner.update(digits)
        outer = outer_copy()
        outer.update(inner.digest())
        digests.append(outer.digest()[: PSEUDONYM_CHARS // 2])
    text = pa.py_buffer(b"".join(digests).hex().encode())
    kind = pa.binary(PSEUDONYM_CHARS)
    return pa.Array.from_buffers(kind, len(numbers), [None, text]).cast(pa.string())


def fingerprint(key: bytes) -> str:
    """Return a text that identifies a key without giving it away."""
    return hashlib.sha256(b"numroute key fingerprint\0" + key).hexdigest()[:16]


def load_key(path: Path) -> bytes:
    """Return the key that a file holds as hexadecimal digits; create the file if it is missing.

    Raises SettingError if another user owns the file or may read it, InputError if it holds no
    key, or a weak one.
    """
    if not path.exists():
        try:
            with create_private(path) as file:
                file.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
        except OSError as error:
            raise InputError(path, f"the key cannot be written: {error.strerror}") from None
    text = read_setting_file(path, "the key", private=True)
    key = b""
    with contextlib.suppress(ValueError):
        key = bytes.fromhex(text.decode("ascii").strip())
    if KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX and len(set(key)) >= _DISTINCT_BYTES_MIN:
        return key
    problem = f"the key is weak or too long: it has {len(key)} bytes, {len(set(key))} distinct"
    hint = "Name a new file: a random key is written to it"
    raise InputError(path, problem if key else "it holds no key", hint=hint)


def check_places(out: Path, map_path: Path, key_path: Path) -> None:
    """Make sure that the map and the key can lie at their paths, in folders of their own.

    Raises SettingError if one lies in the output folder or beside it, or both lie together, and
    InputError if the map exists already, or its folder does not.
    """
    if map_path.exists():
        raise InputError(map_path, "it exists already", hint="Give another --map, or move it away")
    folder, own = out.resolve(), "Give it a folder of its own"
    for what, path in (("map of pseudonyms", map_path), ("key", key_path)):
        place = path.resolve().parent
        if place == folder or folder in place.parents or place in folder.parents:
            raise SettingError(
                f"{path}: the {what} would lie in, beside or above the output folder", hint=own
            )
    if map_path.resolve().parent == key_path.resolve().parent:
        raise SettingError(
            f"{key_path}: the key and the map of pseudonyms would lie in one folder", hint=own
        )
    if not map_path.parent.is_dir():
        hint = "Make it, or give another --map"
        raise InputError(map_path, "its folder does not exist", hint=hint)


def write_act(
    folder: Path,
    summary: Summary,
    *,
    started: datetime,
    inputs: Sequence[tuple[str, Path | None]],
    columns: Sequence[str],
    key: bytes,
    map_path: Path,
    language: str,
) -> None:
    """Write ``act.json`` and ``act.html`` about the finished files of an output folder.

    ``inputs``: role and path of each file that was read; no path for standard input.
    """
    act = {
        "run_by": f"{getpass.getuser()}@{socket.gethostname()}",
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": f"numroute {version('numroute')}",
        "snapshots": summary.snapshots,
        "inputs": [_digest(role, path) for role, path in inputs],
        "outputs": [_digest("output", path) for path in sorted(folder.iterdir())],
        "columns": columns,
        "dropped_columns": summary.dropped_columns,
        "method": METHOD,
        "key_fingerprint": fingerprint(key),
        "map": str(map_path.absolute()),
        "steps": asdict(summary.steps),
    }
    page = page_environment(language).get_template("act.html.j2").render(act=act)
    write_pages(folder, act, page, names=("act.json", "act.html"))


def _digest(role: str, path: Path | None) -> dict[str, str | int]:
    """Describe a file that was read or written; standard input has no digest."""
    if path is None:
        return {"role": role, "name": "standard input", "bytes": 0, "sha256": ""}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"role": role, "name": path.name, "bytes": file.tell(), "sha256": digest}


def rejoin(
    report: str, map_path: Path, out: Path, *, column: str = PSEUDONYM, encoding: str | None = None
) -> tuple[int, int]:
    """Write a delivery report with a column of numbers added, as CSV readable by its owner only.

    The report may be of any form and layout that a list may have. ``column`` of it holds the
    pseudonyms: its name in any case, or its place from 1. Returns how many rows it has, and how
    many of them have a pseudonym that the map does not have. Raises InputError if a file cannot be
    read or written, or is not a map of pseudonyms.
    """
    if out.exists():
        raise InputError(out, "it exists already", hint="Give another --out")
    columns, names, place = _read_report(report, column, encoding)
    # An apostrophe, ="..." or a byte-order mark about a pseudonym is a spreadsheet program's.
    pseudonyms = pc.replace_substring_regex(
        pc.utf8_lower(columns[place]), r"^[^0-9a-f]+|[^0-9a-f]+$", ""
    )
    distinct = pc.unique(pseudonyms)
    numbers = np.zeros(len(distinct), np.uint64)
    types = {PSEUDONYM: pa.string(), NUMBER: pa.uint64()}
    options = csv.ConvertOptions(column_types=types, include_columns=list(types), null_values=[])
    try:
        for batch in csv.open_csv(map_path, convert_options=options):
            at = pc.index_in(batch.column(0), value_set=distinct)
            known = np.flatnonzero(at.is_valid().to_numpy(zero_copy_only=False))
            numbers[at.take(pa.array(known)).to_numpy()] = batch.column(1).to_numpy()[known]
    except FileNotFoundError:
        raise InputError(map_path, "there is no such map", hint="Give --map FILE") from None
    except (pa.ArrowException, OSError):
        # Wherever the damage is: pyarrow's own message quotes the row.
        raise InputError(
            map_path,
            "not a map of pseudonyms, or a damaged one",
            hint="Give the file that --pseudonymize wrote",
        ) from None
    at = pc.index_in(pseudonyms, value_set=distinct).to_numpy(zero_copy_only=False)
    number = numbers.take(at.astype(np.int64))
    texts = pc.if_else(pa.array(number == 0), "", pc.cast(pa.array(number), pa.string()))
    try:
        with replacing(out) as file:
            file.write(header_text([*names, NUMBER]))
            for begin in range(0, len(texts), _ROWS_AT_ONCE):
                rows = [each.slice(begin, _ROWS_AT_ONCE) for each in (*columns, texts)]
                file.write(bytes_of(rows_text(rows)))
    except OSError as error:
        raise InputError(out, f"cannot be written: {error.strerror or error}") from None
    return len(number), int(np.count_nonzero(number == 0))


def _read_report(
    report: str, column: str, encoding: str | None
) -> tuple[list[pa.Array], tuple[str, ...], int]:
    """Return all columns as texts, their names, and the place of the pseudonyms."""
    files = find_files([report])
    if len(files) > 1 or files[0].path is None:
        raise InputError(report, "not one file", hint="Give the reports one by one, as files")
    file = files[0]
    options = ReadOptions(column=column, encoding=encoding)
    with contextlib.closing(open_list(file, options)) as opened:
        names, (place,) = opened.columns, opened.phones
        opened.kept = tuple(range(len(names)))
        blocks = [task() for task in opened.tasks()]
        opened.check_lines(sum(block.lines for block in blocks))
    damage = np.concatenate([np.empty(0, np.uint8), *(block.damage for block in blocks)])
    if damaged := np.count_nonzero(np.isin(damage, (Reject.RAGGED_ROW, Reject.BROKEN_QUOTES))):
        raise InputError(
            file.name,
            f"{damaged:,} rows have more or fewer cells than the header, or a broken quote",
            hint="Export the report again",
        )
    rows = pa.array(np.flatnonzero(damage != Reject.TOTAL_ROW))
    if not len(rows):
        raise InputError(file.name, "the report has no rows", hint="Export the report again")
    columns = []
    for i, name in enumerate(names):
        try:
            pieces = [plain_texts(block.kept[i]) for block in blocks]
            texts = pa.concat_arrays([pa.array([], pa.string()), *pieces])
            texts.validate(full=True)
        except pa.ArrowException:
            # Its own message quotes cells, and cells hold people's numbers.
            fault = f"the column {shown_name(name)} holds no texts"
            raise InputError(file.name, fault, hint="Write the report as CSV") from None
        columns.append(texts.take(rows))
    return columns, names, place
