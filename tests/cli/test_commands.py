"""The commands as a user types them, on a tiny registry."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.registry import NAMES, command, write_registry

from numroute.answers import answer_texts
from numroute.cli.console import plain, print_table
from numroute.cli.encoding import CSV_COLUMNS, escape_formula
from numroute.index import SnapshotStore
from numroute.model import SnapshotRef


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Return a store built from the tiny registry."""
    folder = write_registry(tmp_path_factory.mktemp("registry") / "r")
    path = tmp_path_factory.mktemp("store") / "s"
    result = command("numroute-load", "build", "--store", path, folder)
    assert result.status == 0, result.err
    return path


def lookup_json(store: Path, *numbers: str, status: int = 0) -> list[dict]:
    """Return what ``numroute lookup --json`` says of the numbers."""
    result = command("numroute", "lookup", "--store", store, "--region", "RU", "--json", *numbers)
    assert result.status == status, result.err
    return [json.loads(line) for line in result.out.splitlines()]


def test_lookup_answers_every_status(store: Path) -> None:
    """Ported, not ported, unallocated and invalid numbers are distinguished, in order."""
    answers = lookup_json(
        store,
        "8 (900) 000-00-12",
        "+79000000013",
        "8 (495) 100-00-00",
        "79170000000",
        "abc",
        status=3,
    )
    assert [a["status"] for a in answers] == [
        "PORTED", "NOT_PORTED", "NOT_PORTED", "UNALLOCATED", "INVALID",
    ]  # fmt: skip
    assert [a["number"] for a in answers] == [
        79000000012, 79000000013, 74951000000, 79170000000, 0,
    ]  # fmt: skip


def test_lookup_json_has_the_wire_contract_s_names(store: Path) -> None:
    """A ported number's JSON line holds every field of the contract, under its name."""
    (answer,) = lookup_json(store, "+7 900 000-00-12")
    snapshot = answer.pop("snapshot")
    assert snapshot["as_of"] == "2026-08-22T21:00:00+00:00"
    assert snapshot["stale"] is False
    assert answer == {
        "input": "+7 900 000-00-12",
        "number": 79000000012,
        "status": "PORTED",
        "invalid_reason": None,
        "route": {
            "operator": {
                "code": "mMEGAFON",
                "name": "ПАО МегаФон, центральный офис",
                "brand": "MegaFon",
                "tax_number": "7812014560",
            },
            "mcc": "250",
            "mnc": "02",
            "registry_mnc": "02",
            "routing_number": "D7702",
            "region": {"code": "77", "name": "г. Москва, Московская область"},
            "line_type": "MOBILE",
            "overridden": False,
        },
        "ported_at": "2016-09-07T09:00:17+00:00",
        "range_holder": {
            "code": "mTELE2",
            "name": "ООО Т2 Мобайл",
            "brand": "Tele2",
            "tax_number": "7743895280",
        },
    }


def test_the_tax_number_joins_the_operators_of_both_sources(store: Path) -> None:
    """MTS of the fixed plan, known by its tax number, is MTS of the registry, known by its code."""
    fixed, mobile, other = lookup_json(store, "84951000000", "89160000000", "88002000000")
    assert fixed["route"]["operator"]["code"] == "mMTS"
    assert fixed["route"]["operator"]["code"] == mobile["route"]["operator"]["code"]
    assert other["route"]["operator"]["code"] == "7707049388"
    assert (fixed["route"]["line_type"], other["route"]["line_type"]) == ("FIXED", "TOLL_FREE")


def test_quotes_in_names_are_data(store: Path) -> None:
    """An operator's quotes survive the whole way."""
    (answer,) = lookup_json(store, "89000000345")
    assert answer["route"]["operator"]["name"] == '"Мобильные ТелеСистемы" ПАО'


def test_lookup_prints_a_table(store: Path) -> None:
    """Without --json a person reads number, status, operator, network, region and holder."""
    result = command("numroute", "lookup", "--store", store, "+79000000012")
    for word in ("+79000000012", "PORTED", "MegaFon", "250-02", "Москва", "Tele2"):
        assert word in result.out
    assert result.status == 0


def test_lookup_reads_standard_input(store: Path) -> None:
    """A dash reads one number a line."""
    result = command(
        "numroute",
        "lookup",
        "--store",
        store,
        "--json",
        "-",
        stdin="+79000000012\n\n+79000000013\n",
    )
    assert [json.loads(line)["number"] for line in result.out.splitlines()] == [
        79000000012, 79000000013,
    ]  # fmt: skip


PIPED = [
    "+7 900 000-00-12",
    "8 (900) 000-03-45",
    "tel:+79161234567",
    "+79000000012 доб. 5",
    "89161234567,",
    "495 100-00-00",
    '"8 900 000 00 12"',
    "=1+1",
    "-",
    "+",
    "-5/3",
    "٨٩١٦٠٠٠٠٠١٢",
    "\\",
    "9" * 300,
    "79170000000",
    "+442079460000",
    "123",
    "abc",
]


@pytest.mark.parametrize("region", ["RU", ""])
def test_what_comes_through_a_pipe_is_answered_as_what_is_typed(store: Path, region: str) -> None:
    """Row by row and in order, whatever a text holds; CSV and JSON say the same."""
    options = ("--store", store, "--region", region)
    piped = {
        form: command("numroute", "lookup", *options, form, "-", stdin="\r\n".join(PIPED))
        for form in ("--json", "--csv")
    }
    assert {result.status for result in piped.values()} == {3}
    with SnapshotStore(store).open() as snapshot:
        ref = SnapshotRef(id=snapshot.metadata.snapshot_id, as_of=snapshot.metadata.as_of)
        expected = answer_texts(snapshot, ref, PIPED, region)
    rows = [json.loads(line) for line in piped["--json"].out.splitlines()]
    for row, answer in zip(rows, expected, strict=True):
        assert row["input"] == answer.input
        assert (row["number"], row["status"]) == (answer.number, answer.status.name)
        assert row["invalid_reason"] == (answer.invalid_reason.name if not answer.number else None)
        document = None if answer.route is None else plain(answer.route)
        assert row["route"] == (document and {k: v for k, v in document.items() if k != "status"})
        assert row["ported_at"] == plain(answer.ported_at)
        assert row["range_holder"] == plain(answer.range_holder)
        assert row["snapshot"] == plain(ref)
    assert piped["--csv"].out.splitlines()[0] == ",".join(CSV_COLUMNS)
    for cells, row in zip(csv.DictReader(io.StringIO(piped["--csv"].out)), rows, strict=True):
        assert cells["input"] in {row["input"], f"'{row['input']}"}
        assert not cells["input"].startswith(("=", "-5/"))
        assert cells["number"] == (str(row["number"]) if row["number"] else "")
        assert (cells["status"], cells["invalid_reason"]) == (
            row["status"], row["invalid_reason"] or "",
        )  # fmt: skip
        route = row["route"] or {"operator": {}, "region": {}}
        for name, value in route["operator"].items():
            assert cells[f"operator_{name}"] == value
        assert cells["region_name"] == route["region"].get("name", "")
        assert cells["mnc"] == route.get("mnc", "")
        assert cells["ported_at"] == (row["ported_at"] or "")
        assert cells["range_holder_code"] == (row["range_holder"] or {"code": ""})["code"]
        assert cells["snapshot_id"] == row["snapshot"]["id"]


def test_answers_flow_while_the_pipe_is_read(store: Path) -> None:
    """The first answer comes before the second number is written."""
    program = Path(sys.executable).parent / "numroute"
    with subprocess.Popen(
        [program, "lookup", "--store", store, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for number in (b"+79000000012", b"+79000000013"):
            running.stdin.write(number + b"\n+7900")
            running.stdin.flush()
            while not (line := running.stdout.readline()).startswith(number):
                assert line.startswith((b"input,", b"+7900,"))
            running.stdin.write(b"\n")
            running.stdin.flush()
        running.stdin.close()
        assert running.wait() == 3


def test_lookup_without_anything_to_ask(monkeypatch) -> None:
    """Neither store nor service: the message says what to give."""
    monkeypatch.delenv("NUMROUTE_STORE", raising=False)
    result = command("numroute", "lookup", "+79000000012")
    assert result.status == 2
    assert "--store DIR or --target" in result.err


def test_the_store_may_come_from_the_environment(store: Path, monkeypatch) -> None:
    """NUMROUTE_STORE stands in for --store."""
    monkeypatch.setenv("NUMROUTE_STORE", str(store))
    assert command("numroute", "lookup", "+79000000012").status == 0


def test_explain_names_layer_file_and_sequence(store: Path) -> None:
    """Explain says which layer decided, from which file, and what the other would have said."""
    result = command("numroute", "explain", "--store", store, "--json", "+79000000012")
    assert result.status == 0
    document = json.loads(result.out)
    assert document["decided_by"] == "ported record"
    record, in_range = document["layers"]
    assert record["sources"][0]["name"] == NAMES["dump"]
    assert record["sources"][0]["sequence"] == 4659
    assert record["route"]["operator"]["code"] == "mMEGAFON"
    assert in_range["route"]["operator"]["code"] == "mTELE2"
    assert (in_range["first"], in_range["last"]) == (79000000000, 79000009999)
    table = command("numroute", "explain", "--store", store, "+79000000012").out
    assert "ported record: MegaFon (decides)" in table
    assert f"{NAMES['dump']} (sequence 4659)" in table


@pytest.mark.parametrize(
    ("number", "decided_by", "status"),
    [("+79000000013", "range", 0), ("+79170000000", "nothing", 3), ("abc", "nothing", 3)],
)
def test_explain_of_other_numbers(store: Path, number: str, decided_by: str, status: int) -> None:
    """The range decides for what is not ported, and nothing for what nobody holds."""
    result = command("numroute", "explain", "--store", store, "--json", number)
    assert (json.loads(result.out)["decided_by"], result.status) == (decided_by, status)


def test_info_shows_what_is_current(store: Path) -> None:
    """Info names snapshot, age, counts and sources."""
    document = json.loads(command("numroute", "info", "--store", store, "--json").out)
    assert document["counts"]["ported"] == 3
    assert document["as_of"] == "2026-08-22T21:00:00+00:00"
    assert {source["name"] for source in document["sources"]} == set(NAMES.values())
    text = command("numroute", "info", "--store", store).out
    assert document["snapshot_id"] in text
    assert NAMES["plan"] in text


def test_verify_says_that_all_is_intact(store: Path) -> None:
    """Verify reads the current snapshot whole."""
    result = command("numroute-load", "verify", "--store", store, "--json")
    assert result.status == 0
    assert json.loads(result.out)["intact"] is True


def test_check_builds_nothing(tmp_path: Path) -> None:
    """Check reads and judges, and writes no store."""
    folder = write_registry(tmp_path / "r")
    before = sorted(tmp_path.rglob("*"))
    result = command("numroute-load", "check", "--json", folder)
    assert result.status == 0, result.err
    document = json.loads(result.out)
    assert document["passed"] is True
    assert document["report"]["ported"] == 3
    fields = ["path", "registry", "kind", "sequence", "as_of", "rows", "sha256", "covers"]
    assert list(document["files"][0]) == fields
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_that_says_nothing(tmp_path: Path) -> None:
    """A file under a name of no registry is recognised by its header."""
    folder = write_registry(tmp_path / "r")
    renamed = (folder / NAMES["dump"]).rename(tmp_path / "export.csv")
    result = command("numroute-load", "build", "--store", tmp_path / "s", folder, renamed)
    assert result.status == 0, result.err
    assert SnapshotStore(tmp_path / "s").history()[0]["counts"]["ported"] == 3


def test_a_plan_alone_needs_a_time(tmp_path: Path) -> None:
    """A plan without a date in its name is taken as of the file's time, and a warning says so."""
    folder = write_registry(tmp_path / "r", operators=None, plan=None, dump=None)
    result = command("numroute-load", "build", "--store", tmp_path / "s", folder)
    assert result.status == 0, result.err
    assert "--as-of TIME" in result.err
    result = command(
        "numroute-load", "build", "--store", tmp_path / "dated", folder,
        "--as-of", "2026-08-23T00:00:00+03:00", "--json",
    )  # fmt: skip
    assert "warning" not in result.err
    assert json.loads(result.out)["as_of"] == "2026-08-22T21:00:00+00:00"


@pytest.mark.parametrize("text", ["yesterday", "2026-08-23", "2026-08-23T00:00:00"])
def test_a_time_without_zone_is_refused(tmp_path: Path, text: str) -> None:
    """--as-of must say which moment it means."""
    folder = write_registry(tmp_path / "r")
    result = command("numroute-load", "check", folder, "--as-of", text)
    assert result.status == 2
    assert "2026-08-23T00:00:00+03:00" in result.err


def test_brands_come_from_a_file_when_one_is_given(tmp_path: Path) -> None:
    """A user's brand table wins over the built-in one."""
    folder = write_registry(tmp_path / "r")
    brands = tmp_path / "brands.csv"
    brands.write_text(
        "tax_number,operator_code,registry_mnc,brand,mcc,mnc\n,mMEGAFON,,Megaphone,250,77\n"
    )
    words = ("numroute-load", "build", "--store", tmp_path / "s", folder, "--brands", brands)
    assert command(*words).status == 0
    (answer,) = lookup_json(tmp_path / "s", "+79000000012")
    assert (answer["route"]["operator"]["brand"], answer["route"]["mnc"]) == ("Megaphone", "77")


def test_generate_writes_a_registry_that_builds(tmp_path: Path) -> None:
    """What generate writes, build accepts, and the counts agree."""
    result = command(
        "numroute-load", "generate", tmp_path / "g", "--ported", 2000, "--seed", 7, "--json"
    )
    assert result.status == 0, result.err
    written = json.loads(result.out)
    result = command("numroute-load", "build", "--store", tmp_path / "s", tmp_path / "g", "--json")
    assert result.status == 0, result.err
    assert json.loads(result.out)["report"]["ported"] == written["ported"] == 2000


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("x;=1+1", "x;'=1+1"),
        ("x\t@y|-z", "x\t'@y|'-z"),
        ("+7 (900) 000-00-12", "+7 (900) 000-00-12"),
        ("ООО «А; Б»", "ООО «А; Б»"),
    ],
)
def test_no_cell_becomes_a_formula(cell: str, written: str) -> None:
    """Also not where a spreadsheet splits it at another delimiter."""
    assert escape_formula(cell) == written


@pytest.mark.parametrize("program", ["numroute", "numroute-load"])
def test_the_installed_commands_start(program: str) -> None:
    """The console scripts exist and explain themselves."""
    path = Path(sys.executable).parent / program
    done = subprocess.run([path, "--help"], capture_output=True, text=True, check=True)
    assert "Usage: " + program in done.stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_streams_are_empty_ones(store: Path, closed: str) -> None:
    """A daemon's children may have no standard streams."""
    path = Path(sys.executable).with_name("numroute")
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" lookup - --store "$1" {closed}', path, store],
        input=b"", capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_loader_without_its_extra_says_what_to_install() -> None:
    """Where pyarrow is missing, numroute-load names the extra instead of failing in an import."""
    code = "import sys; sys.modules['pyarrow'] = None; from numroute_loader.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "[loader]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_route_without_its_extra_explains_itself_and_says_what_to_install(tmp_path: Path) -> None:
    """Help needs none of the packages that routing needs; routing names the extra."""
    code = (
        "import sys; sys.modules.update(jinja2=None, xlsxwriter=None, python_calamine=None);"
        "from numroute.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "route"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "--several" in done.stdout
    done = subprocess.run(
        [*command, "list.csv", "--store", tmp_path, "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "[campaign]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("program", "module"),
    [("numroute", "numroute.cli"), ("numroute-load", "numroute_loader.cli")],
)
def test_ctrl_c_during_the_imports_is_one_line(program: str, module: str) -> None:
    """Stopping a command during its imports shows no trace."""
    code = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'rich': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        f"from {module} import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.strip() == f"{program}: interrupted"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("numroute", ("pyarrow", "lmdb", "phonenumbers", "click", "rich")),
        ("numroute.client", ("pyarrow", "lmdb", "phonenumbers", "click", "rich")),
        ("numroute.e164", ("pyarrow", "lmdb", "phonenumbers", "click", "rich")),
        ("numroute_campaign.cli", ("pyarrow", "lmdb", "phonenumbers", "rich")),
        ("numroute_loader.cli.store", ("phonenumbers",)),
    ],
)
def test_light_imports_stay_light(module: str, heavy: tuple[str, ...]) -> None:
    """The client, the scalar parser and a command's help load nothing slow that they do not use."""
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_flag_wins_over_the_environment(store: Path, monkeypatch) -> None:
    """--store asks the store though NUMROUTE_TARGET names a service."""
    monkeypatch.setenv("NUMROUTE_TARGET", "127.0.0.1:1")
    assert command("numroute", "lookup", "--store", store, "+79000000012").status == 0


def test_a_store_and_a_service_at_once_are_refused(store: Path) -> None:
    """Two flags that contradict each other are an error, not a choice of ours."""
    words = ("numroute", "lookup", "--store", store, "--target", "127.0.0.1:1", "+79000000012")
    result = command(*words)
    assert result.status == 2
    assert "not both" in result.err


@pytest.mark.parametrize("words", [("numroute", "info"), ("numroute-load", "verify")])
def test_an_empty_path_is_not_the_current_folder(words: tuple[str, ...]) -> None:
    """An unset variable in --store "$STORE" does not mean the working directory."""
    done = subprocess.run(
        [Path(sys.executable).parent / words[0], *words[1:], "--store", ""],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "the path is empty" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--max-age", "nan"],
        ["--max-age", "inf"],
        ["--max-age", "-1"],
        ["--drain", "inf"],
        ["--drain", "-1"],
    ],
)
def test_a_duration_that_is_no_number_is_refused(store: Path, words: list[str]) -> None:
    """Neither nan nor inf is a duration: they are wrong values, not later faults."""
    program = Path(sys.executable).parent / "numroute"
    done = subprocess.run(
        [program, "serve", "--store", store, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Invalid value" in done.stderr
    assert "Traceback" not in done.stderr


def test_output_that_cannot_be_written_is_reported(store: Path) -> None:
    """A full disk behind standard output is one line, not a trace."""
    program = Path(sys.executable).parent / "numroute"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [program, "lookup", "--store", store, "+79000000012"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["numroute: No space left on device: standard output"]


def test_a_terminal_without_cyrillic_gets_marks(store: Path) -> None:
    """A name that the terminal's encoding lacks does not stop the answer."""
    done = subprocess.run(
        [Path(sys.executable).parent / "numroute", "lookup", "--store", store, "+79000000012"],
        capture_output=True,
        text=True,
        env={"PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "MegaFon" in done.stdout


@pytest.mark.parametrize(
    "words", [["numroute"], ["numroute", "token"], ["numroute-load"], ["numroute-load", "override"]]
)
def test_every_command_says_whole_what_it_does(words: list[str]) -> None:
    """No sentence is cut off in the list of commands."""
    lines = command(*words, "--help").out.splitlines()
    assert "..." not in "".join(lines[lines.index("Commands:") :])
    assert max(map(len, lines)) <= 80


def test_tables_fit_a_pipe(store: Path) -> None:
    """Eighty columns, without trailing blanks; names break between words."""
    shown = [
        command("numroute", "info", "--store", store),
        command("numroute", "lookup", "--store", store, "--region", "RU", *PIPED[:6]),
        command("numroute", "explain", "--store", store, "+79000000012"),
        command("numroute-load", "check", "--show-limits"),
        command("numroute-load", "prune", "--store", store),
    ]
    for result in shown:
        for line in result.out.splitlines():
            assert len(line) <= 80
            assert line == line.rstrip()
    assert "Московская" in shown[1].out
    assert "1 snapshot," in shown[0].out


def test_a_table_breaks_between_words_first(capsys: pytest.CaptureFixture[str]) -> None:
    """A column of one long word stays whole while others have words to break between."""
    word = "Novosibirskaya-Telecom-Company"
    print_table(("a", "b", "c"), [("short " * 10, word, "short " * 10)], unbroken=0)
    assert word in capsys.readouterr().out


def test_info_counts_older_files(tmp_path: Path) -> None:
    """The newest files of each kind are named, the others counted."""
    folder = tmp_path / "r"
    words = ("--ported", 2_000, "--days", 1, "--changes-per-window", 10, "--seed", 3)
    made = command("numroute-load", "generate", folder, *words)
    assert made.status == 0, made.err
    store = tmp_path / "s"
    day = min(path.name.split("_")[2][:8] for path in folder.glob("Port_Increment_*"))
    first = [path for path in folder.glob("*.zip") if f"_{day}0000_" in path.name]
    assert command("numroute-load", "build", "--store", store, *first).status == 0
    increments = [*folder.glob("Port_Increment_*"), *folder.glob("Return_Increment_*")]
    applied = command("numroute-load", "apply", "--store", store, *increments)
    assert applied.status == 0, applied.err
    text = command("numroute", "info", "--store", store).out
    newest = max(increments, key=lambda path: path.name.split("_")[2]).name
    assert newest in text
    assert text.count("and 8 files more") == 2
    assert text.count("Increment_") == 8


def test_a_first_build_says_in_one_line_what_could_not_be_checked(tmp_path: Path) -> None:
    """The checks that ran are a table, the others are named behind it."""
    folder = write_registry(tmp_path / "r")
    built = command("numroute-load", "build", "--store", tmp_path / "s", folder)
    table, _, rest = built.out.partition("not checked ")
    assert "row_count" in table
    assert "shrinkage" not in table
    assert "shrinkage" in rest


@pytest.mark.parametrize(("program", "typed", "found"), [
    ("numroute", "look", "plain,lookup"), ("numroute-load", "roll", "plain,rollback"),
    ("numroute", "info --store /srv", "dir,/srv"),
])  # fmt: skip
def test_bash_completes_commands(program: str, typed: str, found: str) -> None:
    """What the printed script asks for is answered, and bash understands the script."""
    script = command("numroute", "completion", "bash").out
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)  # noqa: S607
    assert f" {program}\n" in script
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    assert variable in script
    done = subprocess.run(
        [Path(sys.executable).parent / program],
        env={
            variable: "bash_complete",
            "COMP_WORDS": f"{program} {typed}",
            "COMP_CWORD": str(len(typed.split())),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [found]


def test_a_slip_is_answered_with_what_was_meant(store: Path) -> None:
    """An unknown command with the nearest one, a national format without a region with --region."""
    unknown = command("numroute", "lokup", "+79000000012")
    assert (unknown.status, "Did you mean 'lookup'?" in unknown.err) == (2, True)
    national = command("numroute", "lookup", "--store", store, "8 (900) 000-00-12")
    assert (national.status, "--region" in national.err) == (3, True)
