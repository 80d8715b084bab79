"""The same list by other ways: through a real service, through a real pipe."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.registry import command
from support.servers import running

PROGRAM = Path(sys.executable).parent / "numroute"

POLICY = """
[[rule]]
brand = "MTS"
route = "first"

[[rule]]
operator = "mTELE2"
exclude = true

[[rule]]
route = "rest"

[fallback]
unallocated = "check"
"""


@pytest.fixture(scope="module")
def target(store: Path, tmp_path_factory) -> Iterator[str]:
    """Return the address of a service over the same store."""
    with running(tmp_path_factory.mktemp("service"), store) as server:
        yield server.target


def by_service(target: str, out: Path, *words: object, status: int = 0) -> str:
    """Route through a service; return what the command said."""
    done = command(
        "numroute", "route", "--target", target, "--region", "RU", "--out", out, *words
    )  # fmt: skip
    assert done.status == status, done.err
    return done.err


def texts(folder: Path) -> dict[str, bytes]:
    """Return the CSV files of an output folder."""
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


def told(summary: dict[str, Any]) -> dict[str, Any]:
    """Return a summary without the order in which equal operators, regions, routes were met."""
    rows = ("routes", "operators", "regions", "rejects")
    return {
        **summary,
        **{name: sorted(map(str, summary[name])) for name in rows},
    }


def test_a_service_gives_the_files_of_the_embedded_run(
    target: str, route, list_mixed: Path, tmp_path: Path
) -> None:
    """--target: every CSV file has the bytes, and the summary says what, the store's run did."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY, "utf-8")
    prices = tmp_path / "prices.toml"
    prices.write_text('currency = "RUB"\n[[price]]\nbrand = "MTS"\nprice = "2.5"\n', "utf-8")
    options = ("--policy", policy, "--prices", prices, "--keep", "city")
    embedded = route(list_mixed, *options)
    by_service(target, tmp_path / "asked", list_mixed, *options)
    assert {"first.csv", "rest.csv", "check.csv", "rejects.csv"} <= set(texts(tmp_path / "asked"))
    assert texts(tmp_path / "asked") == texts(embedded.folder)
    asked = type(embedded)(tmp_path / "asked", embedded.result).summary
    assert asked["ported"] > 0
    assert told(asked) == told(embedded.summary)


def test_routes_by_operator_are_the_embedded_run_s(
    target: str, route, list_mixed: Path, tmp_path: Path
) -> None:
    """Without a policy a service's run makes the same file per operator."""
    embedded = route(list_mixed)
    by_service(target, tmp_path / "asked", list_mixed)
    assert texts(tmp_path / "asked") == texts(embedded.folder)


def test_no_service(list_csv: Path, tmp_path: Path) -> None:
    """An address where nobody listens is named, and nothing is left."""
    err = by_service("127.0.0.1:1", tmp_path / "asked", list_csv, status=1)
    assert "127.0.0.1:1" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_list_through_a_pipe(store: Path, route, list_mixed: Path, tmp_path: Path, pack) -> None:
    """`cat list | numroute route -`, also packed, gives the files that the list as a file gives."""
    embedded = route(list_mixed)
    out = tmp_path / "piped"
    words = [PROGRAM, "route", "-", "--store", store, "--region", "RU", "--out", out]
    done = subprocess.run(
        [str(word) for word in words],
        input=pack(list_mixed.read_bytes()),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert texts(out) == texts(embedded.folder)
    assert type(embedded)(out, None).summary["files"][0]["name"] == "standard input"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", b"the list is empty"),
        (b"PAR1xxxx", b"only CSV is read from a pipe"),
        (b"PK\x03\x04xxxx", b"only CSV is read from a pipe"),
    ],
)
def test_a_pipe_that_holds_no_text(
    store: Path, tmp_path: Path, data: bytes, message: bytes
) -> None:
    """Nothing, or a form that is read from its end: said, with what to do, and nothing is left."""
    words = [PROGRAM, "route", "-", "--store", store, "--out", tmp_path / "out"]
    done = subprocess.run(list(map(str, words)), input=data, capture_output=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
