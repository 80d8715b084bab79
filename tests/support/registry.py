"""A tiny registry of made-up numbers, as files, and the commands run in this process."""

from __future__ import annotations

import fcntl
import io
import os
import sys
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from numroute.cli import numroute
from numroute.cli.group import run
from numroute_loader.cli import numroute_load

OPERATORS = (
    "OrgCode,MNC,TIN,OrgName,RowCount\r\n"
    'mMTS,01,7740000076,"Мобильные ТелеСистемы" ПАО,3\r\n'
    "mMEGAFON,02,7812014560,ПАО МегаФон, центральный офис,\r\n"
    "mTELE2,20,7743895280,ООО Т2 Мобайл,\r\n"
)
PLAN = (
    "NumberFrom,NumberTo,OwnerId,RegionCode,MNC,RowCount\r\n"
    "9000000000,9000009999,mTELE2,77,20,2\r\n"
    "9160000000,9169999999,mMTS,77,01,\r\n"
)
DUMP = (
    "Number,OwnerId,MNC,Route,RegionCode,PortDate,RowCount\r\n"
    "9000000012,mMEGAFON,02,D7702,77,2016-09-07T12:00:17+03:00,3\r\n"
    "9000000345,mMTS,01,D7701,77,2018-05-03T00:03:29+03:00,\r\n"
    "9161234567,mTELE2,20,D7720,77,2021-01-01T10:00:00+03:00,\r\n"
)
ABC = (
    "\ufeffАВС/ DEF;От;До;Емкость;Оператор;Регион;ИНН\n"
    '495;1000000;1009999;10000;ПАО "МТС";г. Москва;7740000076\n'
    '800;2000000;2000999;1000;ПАО "Ростелеком";Российская Федерация;7707049388\n'
)

NAMES = {
    "operators": "Operators_202608230000_4660.csv",
    "plan": "Numbering_plan_202608230000_4660.csv",
    "dump": "Port_All_202608230000_4659.csv",
    "abc": "ABC-4xx.csv",
}
TEXTS = {"operators": OPERATORS, "plan": PLAN, "dump": DUMP, "abc": ABC}


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


def command(*words: object, stdin: str = "") -> Result:
    """Run ``numroute`` or ``numroute-load`` in this process."""
    program, *arguments = map(str, words)
    group = {"numroute": numroute, "numroute-load": numroute_load}[program]
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    typed = io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin.encode())), "utf-8")
    before, sys.argv, sys.stdin = (sys.argv, sys.stdin), [program, *arguments], typed
    try:
        with redirect_stdout(out), redirect_stderr(err):
            status = run(group, program)
    finally:
        sys.argv, sys.stdin = before
    out.seek(0)
    return Result(status, out.read(), err.getvalue())


def write_registry(folder: Path, **changed: str | bytes | None) -> Path:
    """Write the tiny registry; a keyword replaces a file's text, None leaves the file out."""
    folder.mkdir(exist_ok=True)
    for key, name in NAMES.items():
        text = changed.get(key, TEXTS[key])
        if text is not None:
            data = text if isinstance(text, bytes) else text.encode()
            (folder / name).write_bytes(data)
    return folder


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    """Write a zip with these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def generated_store(factory: pytest.TempPathFactory) -> Path:
    """Return a store of a synthetic registry of 20,000 ported numbers; its files are in ``r``.

    It is made once for all processes of a test run: nobody may write to it.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "generated"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "s" / "CURRENT").exists():
            made = command(
                "numroute-load", "generate", folder / "r", "--csv", "--ported", 20_000, "--seed", 5,
            )  # fmt: skip
            assert made.status == 0, made.err
            built = command("numroute-load", "build", "--store", folder / "s", folder / "r")
            assert built.status == 0, built.err
    return folder / "s"
