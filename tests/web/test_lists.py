"""Lists over HTTP become what the command makes of them, survive crashes, and leave nothing."""

from __future__ import annotations

import contextlib
import errno
import gzip
import http.client
import io
import json
import os
import re
import socket
import time
import tomllib
import zipfile
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from support.registry import command
from support.web import RNG, ROOT, ROWS, Answer, Tokens, Web, running, xlsx

from numroute_campaign.outputs import Workspace
from numroute_web import worker
from numroute_web.jobs import JobStore
from numroute_web.options import ListOptions
from numroute_web.problems import ProblemError
from numroute_web.uploads import Upload


def csv_list(rows: list[list[str]] = ROWS) -> bytes:
    """Return rows as a CSV list."""
    lines = ["имя;телефон", *(";".join(row) for row in rows)]
    return "\n".join(lines).encode() + b"\n"


def form(*parts: tuple[str, str | None, bytes]) -> tuple[bytes, str]:
    """Return a form's body and content type; a part is name, file name and content."""
    body = b""
    for name, filename, content in parts:
        extra = "" if filename is None else f'; filename="{filename}"'
        head = f'--edge\r\ncontent-disposition: form-data; name="{name}"{extra}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def finished(web: Web, job: Answer, token: str = "") -> dict:
    """Follow a job's events to their end, and return the job."""
    assert job.status == 202, job
    events = web.get(f"/v1/lists/{job.json['id']}/events", token=token).body.decode()
    assert "event: end" in events
    return json.loads(events.rpartition("data: ")[2].partition("\r\n")[0])


@pytest.fixture(scope="module")
def routed(store: Path, tmp_path_factory) -> dict[str, bytes]:
    """Return the files that the command makes of the list."""
    folder = tmp_path_factory.mktemp("routed")
    (folder / "list.csv").write_bytes(csv_list())
    done = command(
        *("numroute", "route", folder / "list.csv", "--store", store, "--out", folder / "out"),
        *("--region", "RU"),
    )
    assert done.status == 0, done.err
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def test_a_list_becomes_the_files_of_the_command(web, routed) -> None:
    """Raw body, files, zip and report: all equal what numroute route writes."""
    job = web.post("/v1/lists?region=RU&name=list.csv", csv_list())
    assert job.json["state"] == "queued"
    done = finished(web, job)
    assert done["state"] == "done"
    assert done["rows"] == done["counts"]["rows"] == len(ROWS)
    path = f"/v1/lists/{done['id']}"
    names = {each["name"]: each["bytes"] for each in web.get(f"{path}/files").json["files"]}
    assert names == {name: len(content) for name, content in routed.items()}
    found = web.get(f"{path}/files/mts.csv")
    assert found.body == routed["mts.csv"]
    assert found.headers["content-disposition"].startswith("attachment")
    archive = zipfile.ZipFile(io.BytesIO(web.get(f"{path}/zip").body))
    assert {name: archive.read(name) for name in archive.namelist()} == routed
    report = web.get(f"{path}/report")
    assert report.body == routed["report.html"]
    assert "sandbox" in report.headers["content-security-policy"]


def parquet() -> bytes:
    """Return the list as Parquet."""
    sink = io.BytesIO()
    names = pa.table({"имя": [row[0] for row in ROWS], "телефон": [row[1] for row in ROWS]})
    pq.write_table(names, sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv.gz", gzip.compress(csv_list())),
        ("list.csv.zst", pa.compress(csv_list(), codec="zstd", asbytes=True)),
        ("list.parquet", parquet()),
        ("list.xlsx", xlsx()),
    ],
)
def test_every_form_gives_the_same_files(web, routed, name, content) -> None:
    """A form field with a file of any form is taken like a CSV body."""
    body, kind = form(("region", None, b"RU"), ("file", name, content))
    done = finished(web, web.post("/v1/lists", body, content_type=kind))
    assert (done["state"], done["name"]) == ("done", name)
    assert web.get(f"/v1/lists/{done['id']}/files/mts.csv").body == routed["mts.csv"]


def test_a_file_wins_over_what_is_left_in_the_text_box(web, routed) -> None:
    """A dropped file is the list, whatever the box beside it holds."""
    body, kind = form(
        ("file", "list.csv", csv_list()), ("numbers", None, b" \r\n"), ("region", None, b"RU")
    )
    done = finished(web, web.post("/v1/lists", body, content_type=kind))
    assert (done["state"], done["name"]) == ("done", "list.csv")
    assert web.get(f"/v1/lists/{done['id']}/files/mts.csv").body == routed["mts.csv"]


def test_pasted_numbers_wait_for_their_start(web) -> None:
    """start=false gives a draft: its preview shows the column, then it is started once."""
    numbers = "\n".join(row[1] for row in ROWS[:30]).encode()
    body, kind = form(("file", "", b""), ("numbers", None, numbers), ("start", None, b"false"))
    job = web.post("/v1/lists", body, content_type=kind).json
    assert job["state"] == "draft"
    path = f"/v1/lists/{job['id']}"
    answer = web.get(f"{path}/files")
    assert (answer.status, answer.problem) == (409, "not-done")
    preview = web.get(f"{path}/preview?region=RU").json
    assert len(preview["rows"]) == 20
    assert preview["rows"][0]["number"] == "7916*******"
    assert preview["rows"][0]["operator"] == "MTS"
    started = web.post(f"{path}/start", {"region": "RU"})
    assert finished(web, started)["counts"]["routed"] == 30
    answer = web.post(f"{path}/start", {"region": "RU"})
    assert (answer.status, answer.problem) == (409, "already-started")


def test_choices_of_the_operator(store, tmp_path) -> None:
    """Policies, prices and do-not-send lists come from the operator's folder, and only those."""
    for name, file, text in (
        ("policies", "all.toml", '[[rule]]\nname = "all"\nroute = "everything"\n'),
        ("prices", "sms.toml", 'currency = "RUB"\n[[price]]\nbrand = "*"\nprice = "2.50"\n'),
        ("do-not-send", "stop.csv", f"phone\n{ROWS[0][1]}\n"),
    ):
        (tmp_path / "choices" / name).mkdir(parents=True)
        (tmp_path / "choices" / name / file).write_text(text)
    with running(tmp_path, "--store", store, "--choices", tmp_path / "choices") as web:
        query = "region=RU&policy=all&prices=sms&suppress=stop.csv&language=ru"
        done = finished(web, web.post(f"/v1/lists?{query}", csv_list()))
        assert done["counts"]["suppressed"] == 1, done
        path = f"/v1/lists/{done['id']}"
        assert "everything.csv" in [each["name"] for each in web.get(f"{path}/files").json["files"]]
        assert "2,50" in web.get(f"{path}/report").body.decode()
        for query, offered in (
            ("policy=../policies/all", "all"),
            ("prices=nope", "sms"),
            ("suppress=stop.csv&suppress=nope", "stop.csv"),
        ):
            answer = web.post(f"/v1/lists?{query}", csv_list())
            assert (answer.status, answer.problem) == (400, "invalid-request")
            assert answer.json["hint"] == f"This service offers {offered}"
        draft = web.post("/v1/lists?start=false", csv_list()).json
        assert web.post(f"/v1/lists/{draft['id']}/start", {"policy": "nope"}).status == 400
        assert web.get(f"/v1/lists/{draft['id']}").json["state"] == "draft"


def test_rows_of_a_do_not_send_list_that_are_not_understood(store, tmp_path) -> None:
    """They fail the list, whose hint works: suppress_lenient passes over them."""
    stop = tmp_path / "choices" / "do-not-send" / "stop.csv"
    stop.parent.mkdir(parents=True)
    stop.write_text(f"phone\n{ROWS[0][1]}\n+7 999\n")
    with running(tmp_path, "--store", store, "--choices", tmp_path / "choices") as web:
        query = "/v1/lists?region=RU&suppress=stop.csv"
        done = finished(web, web.post(query, csv_list()))
        assert "such rows with --suppress-lenient" in done["problem"]["hint"]
        for option in ("suppress_lenient=true", "suppress_header=true&suppress_lenient=1"):
            done = finished(web, web.post(f"{query}&{option}", csv_list()))
            assert done["counts"]["suppressed"] == 1, done


def test_the_page_of_the_docs_names_every_option() -> None:
    """docs/web.md names the fields of a list, and no other."""
    text = (ROOT / "docs" / "web.md").read_text("utf-8")
    listed = text[text.index("with `_` for `-`:") : text.index("`name` is the list's")]
    assert set(re.findall(r"`([a-z_]{2,})`", listed)) == {*ListOptions.__struct_fields__}


def test_a_list_is_private_to_its_client(guarded, tokens: Tokens) -> None:
    """Another client's list is no different from one that does not exist."""
    done = finished(guarded, guarded.post("/v1/lists", csv_list(), token=tokens.crm), tokens.crm)
    path = f"/v1/lists/{done['id']}"
    for tail in ("", "/files", "/files/mts.csv", "/report", "/zip", "/events", "/preview"):
        other = guarded.get(path + tail, token=tokens.erp)
        none = guarded.get("/v1/lists/nothing" + tail, token=tokens.erp)
        assert (other.status, other.body) == (none.status, none.body)
        assert other.problem == "not-found"
        assert guarded.get(path + tail).problem == "unauthenticated"
    assert guarded.ask("DELETE", path, token=tokens.erp).status == 404
    assert guarded.get("/v1/lists", token=tokens.erp).json == {"lists": []}
    assert len(guarded.get("/v1/lists", token=tokens.crm).json["lists"]) == 1


def test_another_clients_list_takes_the_same_query(tmp_path) -> None:
    """One statement answers both, so that no time tells them apart."""
    store = JobStore(tmp_path / "jobs", retention_seconds=60)
    upload = Upload(name="list", size=1, sha256="")
    job = store.add(*("theirs", "crm", upload, ListOptions()))
    assert store.get(job.id, "crm") == job
    asked = []
    for name in ("theirs", "nothing"):
        statements: list[str] = []
        store._db.set_trace_callback(statements.append)
        with pytest.raises(ProblemError, match="no such list"):
            store.get(name, "erp")
        asked.append([each.replace(name, "ID") for each in statements])
    assert len(asked[0]) == 1
    assert asked[0] == asked[1]
    store.close()


def test_html_in_cells_is_escaped_in_page_and_report(web) -> None:
    """What a list holds is text: in its name, its header and its cells."""
    evil = "<img src=x onerror=alert(1)>"
    content = f"имя;{evil};{evil}2\nИван;{evil};+79161234567\nИван;;{evil}\n".encode()
    query = f"name={quote(evil)}.csv&region=RU&keep={quote(evil)}&start=false"
    job = web.post(f"/v1/lists?{query}&column={quote(evil)}2", content).json
    page = web.get(f"/lists/{job['id']}").body.decode()
    assert "&lt;img" in page
    started = web.post(f"/v1/lists/{job['id']}/start", {"column": f"{evil}2", "max_rejected": 1})
    done = finished(web, started)
    assert done["state"] == "done", done["problem"]
    report = web.get(f"/v1/lists/{job['id']}/report").body.decode()
    for text in (page, report, web.get(f"/lists/{job['id']}").body.decode()):
        assert "<img" not in text


def test_the_same_key_gives_the_same_job(guarded, tokens: Tokens) -> None:
    """A repeated request is answered with its job; another list under its key is refused."""
    keyed = {"token": tokens.erp, "Idempotency_Key": "one"}
    first = guarded.post("/v1/lists", csv_list(), **keyed)
    again = guarded.post("/v1/lists", csv_list(), **keyed)
    assert again.json["id"] == first.json["id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = guarded.post("/v1/lists", csv_list(ROWS[:9]), **keyed)
    assert (other.status, other.problem) == (409, "idempotency-conflict")
    other = guarded.post("/v1/lists?region=RU", csv_list(), **keyed)
    assert (other.status, other.problem) == (409, "idempotency-conflict")
    keyed["token"] = tokens.crm
    assert guarded.post("/v1/lists", csv_list(), **keyed).json["id"] != first.json["id"]


def test_a_killed_service_finishes_its_lists_when_it_starts_again(store, tmp_path) -> None:
    """Kill -9 in the middle of a list: the next service runs it again from its input."""
    numbers = RNG.integers(9_160_000_000, 9_170_000_000, 300_000)
    content = b"phone\n" + b"\n".join(b"+7%d" % number for number in numbers) + b"\n"
    options = ("--store", store, "--jobs", tmp_path / "jobs")
    with running(tmp_path, *options) as web:
        job = web.post("/v1/lists", content).json
        while web.get(f"/v1/lists/{job['id']}").json["rows"] == 0:
            pass
        web.kill()
    with running(tmp_path, *options) as web:
        path = f"/v1/lists/{job['id']}"
        events = web.get(f"{path}/events").body.decode()
        assert "event: end" in events
        done = web.get(path).json
        assert (done["state"], done["rows"]) == ("done", len(numbers))
        assert web.stop() == 0
    names = sorted(each.name for each in (tmp_path / "jobs" / job["id"]).iterdir())
    assert names == ["input", "out"]


def test_what_is_deleted_or_expired_is_gone(store, tmp_path) -> None:
    """After DELETE, and after the retention time, no file holds anything of a list."""
    jobs = tmp_path / "jobs"
    with running(tmp_path, "--store", store, "--jobs", jobs, "--retention", 0) as web:
        job = web.post("/v1/lists?name=Ivanova.csv&start=false", csv_list()).json
        assert list(jobs.glob("*/input/Ivanova.csv"))
        assert web.ask("DELETE", f"/v1/lists/{job['id']}").status == 204
        assert web.get(f"/v1/lists/{job['id']}").status == 404
        job = web.post("/v1/lists?name=Ivanova.csv", csv_list()).json
        while web.get(f"/v1/lists/{job['id']}").status != 404:
            time.sleep(0.05)
        assert {path.name for path in jobs.iterdir()} <= {
            "jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm",
        }  # fmt: skip
        assert not any(b"Ivanova" in path.read_bytes() for path in jobs.iterdir())


BAD_LISTS = {
    "empty": (b"", 422, "invalid-list"),
    "an empty form": (b"--edge--\r\n", 422, "invalid-list"),
    "half a form": (b'--edge\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx',
                    400, "invalid-request"),
    "two files": (form(("file", "a", b"1"), ("file", "b", b"2"))[0], 400, "invalid-request"),
    "an unknown field": (form(("nonsense", None, b"1"), ("file", "b", b"2"))[0],
                         400, "invalid-request"),
    "a long field": (form(("region", None, b"R" * 5000), ("file", "b", b"2"))[0], 413, "too-large"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_bad_upload_gets_a_problem_and_leaves_nothing(web, name) -> None:
    """Whatever is wrong with a body, its status says so, and no folder is left."""
    body, status, problem = BAD_LISTS[name]
    kind = "text/csv" if name == "empty" else "multipart/form-data; boundary=edge"
    before = set(jobs_of(web).iterdir())
    answer = web.post("/v1/lists", body, content_type=kind)
    assert (answer.status, answer.problem) == (status, problem)
    assert set(jobs_of(web).iterdir()) == before


def jobs_of(web: Web) -> Path:
    """Return the folder of a service's jobs."""
    return web.log_path.parent / "numroute-jobs"


@pytest.mark.parametrize(
    ("filename", "kept"),
    [
        ("../../../../etc/passwd", "passwd"),
        ("..\\..\\list.xlsx", "list.xlsx"),
        ("/etc/cron.d/x", "x"),
        ("...", "list"),
        ("-rf", "rf"),
        ("<b>x</b>.csv", "b_.csv"),
        ("п" * 300 + ".csv", "п" * 100 + ".csv"),
    ],
)
def test_a_file_name_leads_nowhere(web, filename, kept) -> None:
    """What a client calls its list stays a plain name in the job's own folder."""
    body, kind = form(("file", filename, b"phone\n+79161234567\n"), ("start", None, b"false"))
    job = web.post("/v1/lists", body, content_type=kind).json
    assert job["name"] == kept
    assert (jobs_of(web) / job["id"] / "input" / kept).is_file()


def test_a_name_of_a_file_that_came_not_out_is_not_found(web) -> None:
    """Only the listed names are served."""
    done = finished(web, web.post("/v1/lists", csv_list()))
    for name in ("..%2Finput%2Flist", "..%2F..%2Fjobs.sqlite", "%2Fetc%2Fpasswd", "."):
        assert web.get(f"/v1/lists/{done['id']}/files/{name}").status == 404


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n", b"PK\x03\x04broken", b"PAR1broken", b"name;city\nIvan;Moscow\n"]
)
def test_a_list_that_cannot_be_read_fails_with_the_reason(web, content) -> None:
    """The job fails; its problem says what to do, without the service's paths."""
    done = finished(web, web.post("/v1/lists", content))
    assert (done["state"], done["problem"]["type"]) == (
        "failed",
        "urn:numroute:problem:invalid-list",
    )
    assert done["problem"]["detail"]
    assert str(jobs_of(web)) not in json.dumps(done)


@pytest.mark.parametrize(
    ("number", "word"), [(errno.EACCES, "internal"), (errno.ENOSPC, "storage-full")]
)
def test_an_output_that_cannot_be_written_names_no_path(
    store, tmp_path, monkeypatch, number, word
) -> None:
    """The problem is a plain sentence; class and places of the fault are for the log."""

    def fail(_: object) -> None:
        raise OSError(number, os.strerror(number), "/secret/place")

    monkeypatch.setattr(Workspace, "finish", fail)
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "a.csv").write_bytes(csv_list())
    options = ListOptions(region="RU")
    task = worker.Task(
        folder=str(tmp_path), name="a.csv", store=str(store), choices=None, options=options
    )
    message = worker._do(task, lambda _: None)
    assert message.problem.type.endswith(f":{word}")
    assert message.fault["places"]
    said = message.problem.detail + message.problem.hint
    assert "out" not in said.split()
    assert not any(each in said for each in (str(tmp_path), "secret", os.strerror(number)))


def test_the_russian_page_warns_in_russian(web) -> None:
    """So do preview and result; the API says it in the language that is asked for."""
    sink = io.BytesIO()
    with xlsxwriter.Workbook(sink) as book:
        sheet = book.add_worksheet("База")
        for i, row in enumerate(ROWS[:30]):
            sheet.write_row(i, 0, row)
        book.add_worksheet("Инструкция {b}").write_row(0, 0, ["Как заполнять"])
    body, kind = form(("file", "a{b}.xlsx", sink.getvalue()), ("region", None, b"RU"))
    russian = {"accept_language": "ru", "origin": web.url}
    path = web.post("/lists", body, content_type=kind, **russian).headers["location"]
    page = web.get(path, **russian)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    warning = (
        "прочитан только лист &#39;База&#39;, но не &#39;Инструкция {b}&#39;; "
        "другой лист выбирает option sheet"
    )
    assert warning in page.body.decode()
    assert "<strong>столбец 2</strong>" in page.body.decode()
    kind = "application/x-www-form-urlencoded"
    web.post(f"{path}/start", b"region=RU", content_type=kind, **russian)
    web.get(f"/v1{path}/events")
    assert warning in web.get(path, **russian).body.decode()
    report = web.get(f"/v1{path}/report")
    assert report.headers["content-type"] == "text/html; charset=utf-8"
    assert warning in report.body.decode()
    preview = web.post("/v1/lists?start=false&region=RU", sink.getvalue()).json["id"]
    warnings = web.get(f"/v1/lists/{preview}/preview?region=RU").json["warnings"]
    assert any("only sheet 'База' was read, not 'Инс" in each for each in warnings)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name,city\nA,B\n", "ни в одном столбце нет телефонов; столбцы: &#39;name&#39;"),
        (b"\n\n", "a.csv: список пуст. Выгрузите список ещё раз"),
        (b"PK\x03\x04" + bytes(99), "a.csv: книга Excel повреждена, или это другой файл. Откройте"),
        (b"%PDF-1.7", "a.csv: это не таблица и не CSV. Выгрузите список в CSV или .xlsx"),
    ],
)
def test_the_russian_page_says_in_russian_what_is_wrong(web, content: bytes, said: str) -> None:
    """A list that cannot be read is refused in the language of the page."""
    body, kind = form(("file", "a.csv", content))
    russian = {"accept_language": "ru-RU,ru;q=0.9,en;q=0.8", "origin": web.url}
    path = web.post("/lists", body, content_type=kind, **russian).headers["location"]
    assert said in web.get(path, **russian).body.decode()


def test_every_translated_problem_is_one_of_the_code() -> None:
    """A text of each template is in the generated page of messages, or in the code."""
    catalogue = tomllib.loads((ROOT / "web/numroute_web/templates/page_ru.toml").read_text("utf-8"))
    sources = [*(ROOT / "web").rglob("*.py"), *(ROOT / "campaign").rglob("*.py")]
    code = (ROOT / "docs/reference/messages.md").read_text("utf-8")
    code += "".join(path.read_text("utf-8").replace('"\n', "") for path in sources)
    for template in catalogue["problems"]:
        parts = [part.strip(": ") for part in template.split("{}")]
        if "$.region" in template:  # msgspec's own text
            continue
        assert any(part in code for part in parts if len(part) > 8 or part == template), template


def test_an_oversized_body_is_refused(store, tmp_path) -> None:
    """By its announced length at once, and by its bytes when it announces none."""
    with running(tmp_path, "--store", store, "--list-size", 1) as web:
        answer = web.post("/v1/lists", b"1" * (1 << 20 | 1))
        assert (answer.status, answer.problem) == (413, "too-large")
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
        endless = (b"1" * 65_536 for _ in iter(int, 1))
        with contextlib.closing(connection), pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.request("POST", "/v1/lists", endless, encode_chunked=True)
        assert {path.name for path in jobs_of(web).iterdir() if path.is_dir()} == set()


def test_a_client_that_goes_away_leaves_nothing(web) -> None:
    """Half a list whose sender is gone is removed."""
    before = set(jobs_of(web).iterdir())
    with socket.create_connection(("127.0.0.1", web.port)) as connection:
        head = b"POST /v1/lists HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
        connection.sendall(head + b"1" * 100_000)
        while set(jobs_of(web).iterdir()) == before:
            time.sleep(0.01)
    while set(jobs_of(web).iterdir()) != before:
        time.sleep(0.01)


def test_bombs_end_their_job_and_not_the_service(web) -> None:
    """A workbook whose sheet unpacks to gigabytes fails alone."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        small = zipfile.ZipFile(io.BytesIO(xlsx()))
        for name in small.namelist():
            if name != "xl/worksheets/sheet1.xml":
                archive.writestr(name, small.read(name))
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(b"<worksheet><sheetData>")
            row = b'<row><c t="inlineStr"><is><t>79161234567</t></is></c></row>' * 20_000
            for _ in range(300):
                sheet.write(row)
            sheet.write(b"</sheetData></worksheet>")
    job = web.post("/v1/lists?name=bomb.xlsx", sink.getvalue())
    assert web.get("/v1/lookup?number=79161234567").status == 200
    answer = web.ask("DELETE", f"/v1/lists/{job.json['id']}")
    assert answer.status == 204
    assert web.get("/v1/snapshot").status == 200


def test_a_packed_bomb_ends_its_job_and_not_the_service(web) -> None:
    """A few kilobytes that unpack to 256 MB without a row fail with a reason."""
    bomb = b"".join(gzip.compress(bytes(64 << 20)) for _ in range(4))
    done = finished(web, web.post("/v1/lists?name=bomb.csv.gz", bomb))
    assert (done["state"], done["problem"]["status"]) == ("failed", 422)
    assert web.get("/v1/lookup?number=79161234567").status == 200


def test_too_many_waiting_lists_are_refused(web) -> None:
    """Two thousand lists wait; one more is 429, and each of the others is kept."""
    import sqlite3

    database = sqlite3.connect(jobs_of(web) / "jobs.sqlite")
    before = len(web.get("/v1/lists").json["lists"])
    with database:
        database.executemany(
            "INSERT INTO jobs (id, client, state, name, bytes, options, callback_url, digest,"
            " created, expires) VALUES (?, '', 'draft', 'x', 1, '{}', '', '', 1, 4e9)",
            [(f"draft-{i}",) for i in range(2_000)],
        )
    try:
        answer = web.post("/v1/lists", csv_list())
        assert (answer.status, answer.problem) == (429, "too-many-lists")
        assert int(answer.headers["retry-after"]) > 0
        assert len(web.get("/v1/lists").json["lists"]) == before + 2_000
    finally:
        with database:
            database.execute("DELETE FROM jobs WHERE id LIKE 'draft-%'")


def test_no_log_line_holds_a_number(web) -> None:
    """After all these lists the log is free of their numbers."""
    log = web.log_path.read_text("utf-8")
    assert "7916" not in log
