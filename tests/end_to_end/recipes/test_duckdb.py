"""The recipe for DuckDB: answers of a real service as a table."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

duckdb = pytest.importorskip("duckdb")


@pytest.fixture
def page(web, recipe) -> Callable[[str], str]:
    """Return a function that returns the page's code in a language."""
    text = recipe("duckdb.md", **{"http://127.0.0.1:8080": web.url}).read_text("utf-8")

    def code(language: str) -> str:
        (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
        return found

    return code


def test_duckdb_joins_the_answers(web, recipe, tmp_path, monkeypatch, capsys, page) -> None:
    """The page's program counts clients by operator, over more than one request."""
    recipe("numroute_duckdb.py")
    monkeypatch.setenv("NUMROUTE", web.url)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with duckdb.connect("crm.duckdb") as connection:
        connection.execute(
            "CREATE TABLE clients AS SELECT format('+7916{:07}', i) AS phone FROM range(1500) t(i)"
        )
        connection.execute("INSERT INTO clients VALUES ('89000000012'), ('x')")
    exec(page("python"), space := {})  # noqa: S102 - what the page says
    connection = space["connection"]
    counts = "SELECT operator_code, mnc, count(*) FROM routes GROUP BY ALL ORDER BY ALL"
    found = connection.sql(counts).fetchall()
    connection.close()
    assert found == [("mMEGAFON", "02", 1), ("mMTS", "01", 1500), (None, None, 1)]
    assert re.search(r"mMTS +│ +1500", capsys.readouterr().out)


def test_duckdb_reads_an_answer_by_httpfs(page) -> None:
    """The page's SQL reads the answer about one number."""
    load, *statements = page("sql").split(";\n")[:-1]
    with duckdb.connect() as connection:
        try:
            connection.execute(load)
        except duckdb.Error:
            pytest.skip("DuckDB's extension httpfs is not installed")
        for statement in statements:
            connection.execute(statement)
        assert connection.fetchall() == [("PORTED", "mTELE2", "250", "20")]
