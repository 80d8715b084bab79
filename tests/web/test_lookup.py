"""Lookups over HTTP answer what the command answers, and refuse what they must."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from openapi_spec_validator import validate
from support.registry import command
from support.web import running

TEXTS = ["+7 916 123-45-67", "8 (900) 000-00-12", "not a number", "+49 30 901820", "+78002000000"]


def answers_of_the_command(store: Path, texts: list[str]) -> list[dict]:
    """Return what ``numroute lookup --json`` answers."""
    done = command("numroute", "lookup", "--store", store, "--region", "RU", "--json", *texts)
    return [json.loads(line) for line in done.out.splitlines()]


def test_many_numbers_get_the_answers_of_the_command(web, store) -> None:
    """POST /v1/lookup answers in order, with the command's fields and values."""
    answer = web.post("/v1/lookup", {"numbers": TEXTS, "region": "RU"})
    assert answer.status == 200
    body = answer.json
    expected = answers_of_the_command(store, TEXTS)
    for found, line in zip(body["answers"], expected, strict=True):
        del line["snapshot"]
        assert found == line
    assert body["snapshot"]["id"] == store.joinpath("CURRENT").read_text().strip()


def test_one_number_gets_the_answer_of_the_command(web, store) -> None:
    """GET /v1/lookup carries its snapshot in the answer."""
    answer = web.get(f"/v1/lookup?region=RU&number={quote(TEXTS[0])}")
    (expected,) = answers_of_the_command(store, TEXTS[:1])
    found = answer.json
    assert found["snapshot"].pop("as_of").replace("Z", "+00:00") == expected["snapshot"].pop(
        "as_of"
    )
    assert found == expected


def test_csv_on_request(web) -> None:
    """Accept: text/csv gives one row a number, and no cell that a spreadsheet would run."""
    texts = [*TEXTS, "=1+1", "@cmd"]
    answer = web.post("/v1/lookup", {"numbers": texts, "region": "RU"}, accept="text/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["input"] for row in rows] == [*TEXTS, "'=1+1", "'@cmd"]
    assert rows[0]["number"] == "79161234567"
    assert rows[0]["operator_brand"]
    assert rows[2]["invalid_reason"] == "NOT_A_NUMBER"
    assert {row["snapshot_stale"] for row in rows} == {"false"}


def test_a_past_snapshot_answers(web, store) -> None:
    """as_of asks the snapshot of that time; one that no snapshot covers is 404."""
    ref = web.get("/v1/snapshot").json["snapshot"]
    now = datetime.now(UTC).isoformat()
    answer = web.get(f"/v1/lookup?number=79161234567&as_of={quote(now)}")
    assert answer.json["snapshot"]["id"] == ref["id"]
    answer = web.get("/v1/lookup?number=79161234567&as_of=1999-01-01T00:00:00Z")
    assert (answer.status, answer.problem) == (404, "snapshot-not-kept")


def test_snapshot_operators_and_explanation(web, store) -> None:
    """The snapshot in service, its operators, and why a number is answered as it is."""
    info = web.get("/v1/snapshot").json
    assert info["counts"]["ported"] == 20_000
    assert {source["layer"] for source in info["sources"]} >= {"ported", "ranges", "operators"}
    listed = web.get("/v1/operators").json["operators"]
    brands = {each["operator"]["brand"] for each in listed if each["serves_ported_numbers"]}
    assert "MTS" in brands
    found = web.get("/v1/explain?number=79161234567").json
    done = command("numroute", "explain", "--store", store, "--json", "79161234567")
    expected = json.loads(done.out)
    assert found["decided_by"] == expected["decided_by"]
    assert [each["name"] for each in found["layers"]] == [
        each["name"] for each in expected["layers"]
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "problem"),
    [
        ("GET", "/v1/lookup", None, 400, "invalid-request"),
        ("GET", "/v1/lookup?number=1&region=XX", None, 400, "invalid-request"),
        ("GET", "/v1/lookup?number=1&region=russia", None, 400, "invalid-request"),
        ("GET", "/v1/lookup?number=1&as_of=2026-01-01T00:00:00", None, 400, "invalid-request"),
        ("GET", f"/v1/lookup?number={'1' * 300}", None, 400, "invalid-request"),
        ("POST", "/v1/lookup", {"numbers": []}, 400, "invalid-request"),
        ("POST", "/v1/lookup", {"numbers": [1]}, 400, "invalid-request"),
        ("POST", "/v1/lookup", {"numbers": ["1"], "nonsense": 1}, 400, "invalid-request"),
        ("POST", "/v1/lookup", b"{", 400, "invalid-request"),
        ("POST", "/v1/lookup", {"numbers": ["1"] * 1001}, 413, "too-many-numbers"),
        ("POST", "/v1/lookup", b" " * (1 << 21), 413, "too-large"),
        ("PUT", "/v1/lookup", b"", 405, "method-not-allowed"),
        ("GET", "/v1/nothing", None, 404, "not-found"),
    ],
)
def test_a_wrong_request_gets_a_problem(web, method, path, body, status, problem) -> None:
    """Each wrong request has its status and its lasting type."""
    answer = web.ask(method, path, body)
    assert (answer.status, answer.problem) == (status, problem)


def test_only_known_clients_may_ask(guarded, tokens) -> None:
    """Without a valid token nothing is answered; with one everything is."""
    for path in ("/v1/lookup?number=1", "/v1/snapshot", "/v1/operators", "/v1/explain?number=1"):
        assert guarded.get(path, token=tokens.crm).status == 200
        for token in ("", "nr_unknown", "\t"):
            answer = guarded.get(path, token=token)
            assert (answer.status, answer.problem) == (401, "unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "metadata" not in answer.json.get("hint", "")


def test_a_client_beyond_its_quota_is_refused(guarded, tokens) -> None:
    """The RateLimit headers count down; then 429 says when to ask again."""
    answer = guarded.post("/v1/lookup", {"numbers": ["1"] * 5}, token=tokens.limited)
    assert answer.headers["ratelimit-policy"] == '"daily";q=5;w=86400'
    assert answer.headers["ratelimit"].startswith('"daily";r=0;t=')
    answer = guarded.get("/v1/lookup?number=1", token=tokens.limited)
    assert (answer.status, answer.problem) == (429, "quota-exceeded")
    assert int(answer.headers["retry-after"]) > 0


def test_a_store_without_a_snapshot_answers_later(tmp_path, store) -> None:
    """Until there is a snapshot, lookups are 503 with Retry-After."""
    (tmp_path / "empty").mkdir()
    with running(tmp_path, "--store", tmp_path / "empty") as web:
        answer = web.get("/v1/lookup?number=79161234567")
        assert (answer.status, answer.problem) == (503, "no-snapshot")
        assert str(tmp_path) not in answer.body.decode()
        assert answer.headers["retry-after"] == "1"


def test_plaintext_beyond_this_machine_is_refused(store) -> None:
    """The rules of numroute serve hold."""
    done = command("numroute", "web", "--store", store, "--listen", "0.0.0.0:0")
    assert done.status
    assert "plaintext would be served beyond this machine" in done.err


def test_the_description_is_valid_openapi(guarded) -> None:
    """GET /openapi.json needs no token and is valid OpenAPI 3.1."""
    document = guarded.get("/openapi.json").json
    validate(document)
    assert set(document["paths"]) >= {"/v1/lookup", "/v1/snapshot", "/v1/operators", "/v1/explain"}


def test_the_log_holds_no_number_and_clients_are_audited(store, tokens, tmp_path) -> None:
    """What was asked is in no log line; how much is in the audit."""
    with running(tmp_path, "--store", store, *tokens.options) as web:
        web.get("/v1/lookup?number=79161234567", token=tokens.erp)
        web.get("/v1/lookup?number=79161234567&region=79161234567", token=tokens.erp)
        web.get("/v1/79161234567", token=tokens.erp)
        assert web.stop() == 0
        audit = web.find_log("audit")
    assert audit["client"] == "erp"
    assert audit["numbers"] == 1
    assert "79161234567" not in web.log_path.read_text()
