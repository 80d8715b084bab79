"""``numroute-load apply``: from files to answers, with real files and the real commands."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from support import bdpn
from support.registry import NAMES, Result, command, write_registry

from numroute.index import SnapshotStore, compare, explain
from numroute.index.layout import DONOR, PORTED_AT
from numroute.index.numpy_kernel import all_records
from numroute_loader.increments import GapError
from numroute_loader.inputs import input_files
from numroute_loader.pipeline import check, publish

FIRST = 12 * 4659 + 1
FULL_NAME = "Port_All_Full_202608230000_77.csv"
OPERATORS = {"mMTS": "01", "mMEGAFON": "02", "mTELE2": "20"}
MOSCOW = timezone(timedelta(hours=3))


def time_in(sequence: int, minutes: int = 0) -> str:
    """Return a time within a window, which ends with the time in its files' names."""
    end = datetime(2013, 11, 20, tzinfo=MOSCOW) + timedelta(hours=2 * sequence)
    return (end - timedelta(minutes=100 - minutes)).isoformat()


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    """Return a store whose current snapshot is built from the tiny registry."""
    assert load("build", tmp_path / "s", write_registry(tmp_path / "r")).status == 0
    return SnapshotStore(tmp_path / "s")


def load(word: str, store: Path, *words: object) -> Result:
    return command("numroute-load", word, "--store", store, *words)


def operators_of(store: SnapshotStore, *numbers: int) -> list[tuple[str, str]]:
    """Return status and operator code of each number."""
    with store.open() as snapshot:
        rows = snapshot.lookup(np.array(numbers, np.uint64)).route.tolist()
        return [
            (snapshot.route(row).status.name, snapshot.route(row).operator.code) for row in rows
        ]


def test_a_window_changes_answers(store: SnapshotStore, tmp_path: Path) -> None:
    """New ports, an onward port, a return, and a return home by a port, in one window."""
    bdpn.put_window(
        tmp_path / "w",
        FIRST,
        [
            bdpn.port_row(9_000_000_500, "mMTS", time=time_in(FIRST)),
            bdpn.port_row(9_000_000_501, "mMEGAFON", mnc="02", time=time_in(FIRST)),
            bdpn.port_row(9_000_000_012, "mMTS", time=time_in(FIRST)),
            bdpn.port_row(9_161_234_567, "mMTS", holder="mMTS", time=time_in(FIRST)),
        ],
        [bdpn.return_row(9_000_000_345, time=time_in(FIRST))],
    )
    result = load("apply", store.path, tmp_path / "w", "--json")
    assert result.status == 0, result.err
    told = json.loads(result.out)
    counts = {kind: told["changes"][kind] for kind in ("ported", "returned", "moved", "updated")}
    assert counts == {"ported": 2, "returned": 2, "moved": 1, "updated": 0}
    assert told["windows"] == [FIRST]
    assert told["ported"] == 3
    assert operators_of(store, 79000000500, 79000000012, 79161234567, 79000000345) == [
        ("PORTED", "mMTS"),
        ("PORTED", "mMTS"),
        ("NOT_PORTED", "mMTS"),
        ("NOT_PORTED", "mTELE2"),
    ]
    with store.open() as snapshot:
        assert snapshot.metadata.as_of.isoformat() == "2026-08-22T23:00:00+00:00"
        assert snapshot.metadata.changes is not None
        assert snapshot.metadata.changes.moved == 1
        # The operator as the snapshot knows it, the brand by the table.
        row = int(snapshot.lookup(np.array([79000000500], np.uint64)).route[0])
        route = snapshot.route(row)
        assert route.operator.tax_number == "7740000076"
        assert (route.operator.brand, route.mcc, route.mnc) == ("MTS", "250", "01")
        assert route.region.code == "25"


def test_no_row_is_dropped_for_its_age(store: SnapshotStore, tmp_path: Path) -> None:
    """A PortDate before the snapshot's own time does not matter."""
    old = "2020-01-01T00:00:00+03:00"
    bdpn.put_window(tmp_path / "w", FIRST, [bdpn.port_row(9_000_000_500, time=old)])
    assert load("apply", store.path, tmp_path / "w").status == 0
    assert operators_of(store, 79000000500) == [("PORTED", "mMTS")]


def test_an_update_without_a_port(store: SnapshotStore, tmp_path: Path) -> None:
    """The same operator by another route is an update, and no movement."""
    row = bdpn.port_row(9_000_000_345, "mMTS", mnc="09", time=time_in(FIRST))
    bdpn.put_window(tmp_path / "w", FIRST, [row])
    told = json.loads(load("apply", store.path, tmp_path / "w", "--json").out)
    assert (told["changes"]["moved"], told["changes"]["updated"]) == (0, 1)
    with store.open() as snapshot:
        row_of = int(snapshot.lookup(np.array([79000000345], np.uint64)).route[0])
        assert snapshot.route(row_of).routing_number == "D2509"


def test_what_is_new_in_an_increment(store: SnapshotStore, tmp_path: Path) -> None:
    """An operator and a region that nobody knew are served under their codes."""
    row = bdpn.port_row(9_000_000_500, "mNEWCOMER", mnc="77", region="99", time=time_in(FIRST))
    bdpn.put_window(tmp_path / "w", FIRST, [row])
    refused = load("apply", store.path, tmp_path / "w")
    assert refused.status == 1
    assert "unknown_operators: the operator table lacks mNEWCOMER (1 numbers)" in refused.err
    terms = ("--allow", "unknown_operators", "--reason", "a new operator")
    assert load("apply", store.path, tmp_path / "w", *terms).status == 0
    with store.open() as snapshot:
        row_of = int(snapshot.lookup(np.array([79000000500], np.uint64)).route[0])
        route = snapshot.route(row_of)
    assert (route.operator.code, route.operator.name, route.mcc) == ("mNEWCOMER", "", "")
    assert (route.registry_mnc, route.region.code) == ("77", "99")


def test_header_only_windows(store: SnapshotStore, tmp_path: Path) -> None:
    """Windows without changes move the chain and the data's time on; their files are alike."""
    for sequence in (FIRST, FIRST + 1):
        bdpn.put_window(tmp_path / "w", sequence, suffix=".csv")
        assert load("apply", store.path, tmp_path / "w").status == 0
    assert operators_of(store, 79000000012) == [("PORTED", "mMEGAFON")]
    assert len(store.ids()) == 3


def test_a_gap_stops_the_chain_and_serving_goes_on(store: SnapshotStore, tmp_path: Path) -> None:
    """What precedes the gap is applied; the message names what is missing and what to do."""
    one, other = 9_000_000_500, 9_000_000_501
    bdpn.put_window(tmp_path / "w", FIRST, [bdpn.port_row(one, time=time_in(FIRST))])
    bdpn.put_window(tmp_path / "w", FIRST + 2, [bdpn.port_row(other, time=time_in(FIRST + 2))])
    result = load("apply", store.path, tmp_path / "w")
    assert result.status == 1
    assert f"window {FIRST + 1} must come next" in result.err
    assert f"Port_Increment_202608230400_{FIRST + 1}" in result.err
    assert "build the next full dump" in result.err
    expected = [("PORTED", "mMTS"), ("NOT_PORTED", "mTELE2")]
    assert operators_of(store, 79000000500, 79000000501) == expected

    before = store.current_id()
    again = load("apply", store.path, tmp_path / "w")
    assert again.status == 1
    assert "a gap in the increments" in again.err
    assert store.current_id() == before
    checked = check(input_files([tmp_path / "w"]), store)
    assert checked.gap is not None
    with pytest.raises(GapError):
        publish(store, checked)

    bdpn.put_window(tmp_path / "w", FIRST + 1)
    assert load("apply", store.path, tmp_path / "w").status == 0
    assert operators_of(store, 79000000501) == [("PORTED", "mMTS")]


def test_the_same_windows_again(store: SnapshotStore, tmp_path: Path) -> None:
    """Nothing is published, and nothing judged, when all has been applied already."""
    bdpn.put_window(tmp_path / "w", FIRST, [bdpn.port_row(9_000_000_500, time=time_in(FIRST))])
    assert load("apply", store.path, tmp_path / "w").status == 0
    before = store.current_id()
    result = load("apply", store.path, tmp_path / "w")
    assert result.status == 0
    assert "applied already" in result.out
    assert store.current_id() == before
    told = json.loads(load("apply", store.path, tmp_path / "w", "--json").out)
    assert (told["gate"], told["passed"], told["published"]) == ([], None, False)


def test_a_file_in_which_a_window_differs(store: SnapshotStore, tmp_path: Path) -> None:
    """A second version of a window that has been applied is refused by name."""
    bdpn.put_window(tmp_path / "w", FIRST, [bdpn.port_row(9_000_000_500, time=time_in(FIRST))])
    assert load("apply", store.path, tmp_path / "w").status == 0
    bdpn.put_window(tmp_path / "w", FIRST, [bdpn.port_row(9_000_000_501, time=time_in(FIRST))])
    result = load("apply", store.path, tmp_path / "w")
    assert result.status == 1
    assert "another content" in result.err
    assert f"Port_Increment_202608230200_{FIRST}.zip" in result.err


def test_explain_names_the_file_that_had_the_last_word(
    store: SnapshotStore, tmp_path: Path
) -> None:
    """Each number is explained by its own file and sequence, also after it went home."""
    third = FIRST + 2
    bdpn.put_window(tmp_path / "w", FIRST, [bdpn.port_row(9_000_000_500, time=time_in(FIRST))])
    returned = [bdpn.return_row(9_000_000_345, time=time_in(FIRST + 1))]
    bdpn.put_window(tmp_path / "w", FIRST + 1, [], returned)
    assert load("apply", store.path, tmp_path / "w").status == 0
    bdpn.put_window(tmp_path / "x", third, [bdpn.port_row(9_000_000_501, time=time_in(third))])
    assert load("apply", store.path, tmp_path / "x").status == 0
    expected = {
        79000000012: (NAMES["dump"], 4659),
        79000000500: (f"Port_Increment_202608230200_{FIRST}.zip", FIRST),
        79000000345: (f"Return_Increment_202608230400_{FIRST + 1}.zip", FIRST + 1),
        79000000501: (f"Port_Increment_202608230600_{third}.zip", third),
    }
    with store.open() as snapshot:
        for number, named in expected.items():
            layer = explain(snapshot, number).layers[0]
            assert [(source.name, source.sequence) for source in layer.sources] == [named]


def test_files_of_another_sort(store: SnapshotStore, tmp_path: Path) -> None:
    """Full dumps are no input of apply, and increments none of build."""
    dump = tmp_path / "r" / NAMES["dump"]
    result = load("apply", store.path, dump)
    assert result.status == 1
    assert "the file is not an increment (ru-bdpn/port-all)" in result.err
    port, _ = bdpn.put_window(tmp_path / "w", FIRST)
    result = load("build", store.path, port)
    assert result.status == 1
    assert "the file is an increment (ru-bdpn/port-increment)" in result.err


def test_check_judges_increments(store: SnapshotStore, tmp_path: Path) -> None:
    """Check tells what apply would do, publishes nothing, and needs a store."""
    bdpn.put_window(tmp_path / "w", FIRST, [bdpn.port_row(9_000_000_500, time=time_in(FIRST))])
    result = load("check", store.path, tmp_path / "w", "--json")
    assert result.status == 0, result.err
    told = json.loads(result.out)
    assert told["passed"]
    assert told["changes"]["ported"] == 1
    assert len(store.ids()) == 1
    alone = command("numroute-load", "check", tmp_path / "w")
    assert alone.status == 1
    assert "--store" in alone.err


def test_the_gate_refuses_and_may_be_overruled(store: SnapshotStore, tmp_path: Path) -> None:
    """Increments that take most numbers home shrink the snapshot: refused, or allowed by name."""
    gone = [bdpn.return_row(n, time=time_in(FIRST)) for n in (9_000_000_012, 9_000_000_345)]
    bdpn.put_window(tmp_path / "w", FIRST, [], gone)
    before = store.current_id()
    refused = load("apply", store.path, tmp_path / "w")
    assert refused.status == 1
    assert "refused by the gate: shrinkage" in refused.err
    assert store.current_id() == before
    allow = ("--allow", "shrinkage")
    assert load("apply", store.path, tmp_path / "w", *allow).status == 1
    result = load("apply", store.path, tmp_path / "w", *allow, "--reason", "a test")
    assert result.status == 0, result.err
    (finding,) = [f for f in store.history()[-1]["gate"] if f["outcome"] == "allowed"]
    assert (finding["check"], finding["reason"]) == ("shrinkage", "a test")


def test_chosen_numbers(store: SnapshotStore, tmp_path: Path) -> None:
    """The numbers of --expect are held against what they would be after the window."""
    bdpn.put_window(tmp_path / "w", FIRST, [bdpn.port_row(9_000_000_500, time=time_in(FIRST))])
    expect = tmp_path / "expect.csv"
    expect.write_text("79000000500,mMTS\n79000000012,mMEGAFON\n79000000013,mTELE2\n")
    assert load("apply", store.path, tmp_path / "w", "--expect", expect).status == 0
    bdpn.put_window(
        tmp_path / "x", FIRST + 1, [], [bdpn.return_row(9_000_000_500, time=time_in(FIRST + 1))]
    )
    result = load("apply", store.path, tmp_path / "x", "--expect", expect)
    assert result.status == 1
    assert "7900******* is served by mTELE2, mMTS is expected" in result.err


DEFECTS = {
    "fewer rows than RowCount says": ({}, 5, "RowCount says 5, the file holds 1 rows"),
    "a number of nine digits": ({"Number": "900000050"}, None, "Number is not ten digits"),
    "an operator without m": ({"RecipientId": "MTS"}, None, "RecipientId is not m followed"),
    "an MNC of one digit": ({"NewMNC": "1"}, None, "NewMNC is not two digits"),
    "a date that does not exist": (
        {"PortDate": "2026-02-30T00:00:00+03:00"},
        None,
        "PortDate is not a time from 1970 to 2106",
    ),
    "an NPId of letters": ({"NPId": "abc"}, None, "NPId is not a whole number"),
    "a cell too many": ({"OldMNC": "42,1"}, None, "the line has 13 columns where 12 are expected"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_defects_of_an_increment(store: SnapshotStore, tmp_path: Path, defect: str) -> None:
    """A defect is named with file and line, without the number, and nothing is published."""
    cells, row_count, message = DEFECTS[defect]
    _, returned = bdpn.put_window(tmp_path / "w", FIRST)
    rows = [bdpn.port_row(9_000_000_500, time=time_in(FIRST)) | cells]
    text = bdpn.dump(bdpn.PORT_INCREMENT, rows, row_count=row_count)
    name = bdpn.window_name("Port_Increment", FIRST)
    before = store.current_id()
    for suffix in (".csv", ".zip"):
        port = bdpn.put(tmp_path, name + suffix, text)
        result = load("apply", store.path, port, returned)
        assert result.status == 1
        assert message in result.err
        assert f"{name}{suffix}" + (":2:" if row_count is None else ":") in result.err
        assert "9000000500" not in result.err
    assert store.current_id() == before


def test_an_increment_cut_short_in_its_zip(store: SnapshotStore, tmp_path: Path) -> None:
    """Half a zip is reported as such."""
    port, returned = bdpn.put_window(
        tmp_path / "w", FIRST, [bdpn.port_row(9_000_000_500, time=time_in(FIRST))]
    )
    port.write_bytes(port.read_bytes()[:150])
    result = load("apply", store.path, port, returned)
    assert result.status == 1
    assert "the zip is damaged or cut short" in result.err


def test_the_simplified_tier(tmp_path: Path) -> None:
    """No increments follow a dump that names operators; its own state no times and are refused."""
    header = b"Number,OrgName,RowCount\r\n"
    names = ['"Мобильные ТелеСистемы" ПАО', "ПАО МегаФон, центральный офис"]
    folder = write_registry(tmp_path / "r", dump=None)
    (folder / "Port_All_New_202608230000_4659.csv").write_bytes(
        header + f"9000000012,{names[0]},2\r\n9000000345,{names[1]},\r\n".encode()
    )
    store = SnapshotStore(tmp_path / "s", create=True)
    assert load("build", store.path, folder).status == 0
    path = tmp_path / (bdpn.window_name("Port_Increment_New", FIRST) + ".zip")
    bdpn.put(tmp_path, path.name, header + f"9000000500,{names[1]},1\r\n".encode())
    result = load("apply", store.path, path)
    assert result.status == 1
    assert "the file is an increment of the simplified tier, which states no times" in result.err
    full_tier = bdpn.put_window(tmp_path / "x", FIRST + 1)
    result = load("apply", store.path, *full_tier)
    assert result.status == 1
    assert "was not built from a full dump that increments continue" in result.err


def test_another_loader_published_meanwhile(store: SnapshotStore, tmp_path: Path) -> None:
    """What was checked against one snapshot is not published on top of another."""
    files = bdpn.put_window(
        tmp_path / "w", FIRST, [bdpn.port_row(9_000_000_500, time=time_in(FIRST))]
    )
    checked = check(list(files), store)
    assert load("apply", store.path, *files).status == 0
    before = store.current_id()
    with pytest.raises(Exception, match="Run the command again"):
        publish(store, checked)
    assert store.current_id() == before


@pytest.mark.parametrize("seed", range(3))
def test_after_windows_as_a_full_build_of_the_same_state(tmp_path: Path, seed: int) -> None:
    """Six windows of random changes make what a build from the oracle's state makes."""
    rng = random.Random(seed)
    numbers = [9_000_000_000 + rng.randrange(10_000) for _ in range(60)]
    state: dict[int, dict[str, str]] = {}
    for number in numbers[:40]:
        owner = rng.choice(["mMTS", "mMEGAFON"])
        state[number] = bdpn.port_all_full_row(number, owner, "mTELE2", "mTELE2")
    loose = ["--allow", "shrinkage", "--reason", "few numbers"]
    base = SnapshotStore(tmp_path / "a", create=True)
    result = load("build", base.path, registry(tmp_path / "r0", state))
    assert result.status == 0, result.err
    sequence = FIRST
    for step in range(3):
        folder = tmp_path / f"w{step}"
        for _ in range(2):
            ports, returns = changes(rng, numbers, sequence)
            bdpn.put_window(folder, sequence, ports, returns)
            remember(state, ports, returns)
            sequence += 1
        result = load("apply", base.path, folder, *loose)
        assert result.status == 0, result.err
    built = SnapshotStore(tmp_path / "b", create=True)
    result = load("build", built.path, registry(tmp_path / "r1", state))
    assert result.status == 0, result.err
    with base.open() as one, built.open() as other:
        counts = compare(other, one).changes
        assert (counts.ported, counts.returned, counts.moved, counts.updated) == (0, 0, 0, 0)
        assert facts(one) == facts(other)
        assert len(facts(one)) == len(state)


def registry(folder: Path, state: dict[int, dict[str, str]]) -> Path:
    """Write a registry whose full dump is a state."""
    folder = write_registry(folder, dump=None)
    rows = [state[number] for number in sorted(state)]
    (folder / FULL_NAME).write_bytes(bdpn.dump(bdpn.PORT_ALL_FULL, rows, later_count="0"))
    return folder


def changes(
    rng: random.Random, numbers: list[int], sequence: int
) -> tuple[list[bdpn.Row], list[bdpn.Row]]:
    """Return random rows of both files, with ties of time and numbers in both."""
    ports, returns = [], []
    for _ in range(rng.randrange(12)):
        operator = rng.choice(list(OPERATORS))
        ports.append(
            bdpn.port_row(
                rng.choice(numbers),
                operator,
                holder="mTELE2",
                donor=rng.choice(["mMTS", "mTELE2", "mFIRST"]),
                mnc=OPERATORS[operator],
                region=rng.choice(["25", "77"]),
                time=time_in(sequence, rng.randrange(4)),
                order=len(ports) * 2 + 1_000,
            )
        )
    for _ in range(rng.randrange(6)):
        returns.append(
            bdpn.return_row(
                rng.choice(numbers),
                time=time_in(sequence, rng.randrange(4)),
                order=len(returns) * 2 + 1_001,
            )
        )
    return ports, returns


def remember(
    state: dict[int, dict[str, str]], ports: list[bdpn.Row], returns: list[bdpn.Row]
) -> None:
    """Apply rows to the oracle's state, one by one."""
    rows = sorted([*ports, *returns], key=lambda row: (row["PortDate"], int(row["NPId"])))
    for row in rows:
        number = int(row["Number"])
        state.pop(number, None)
        recipient = row.get("RecipientId")
        if recipient is not None and recipient != row["RangeHolderId"]:
            state[number] = bdpn.port_all_full_row(
                number, recipient, row["DonorId"], row["RangeHolderId"]
            ) | {
                "MNC": row["NewMNC"],
                "Route": row["NewRoute"],
                "RegionCode": row["RegionCode"],
                "PortDate": row["PortDate"],
            }


def facts(snapshot) -> list[tuple]:
    """Return everything that a snapshot knows of each ported number."""
    arrays = snapshot.arrays
    every = all_records(snapshot.tables)[0]
    numbers = every.tolist()
    donors = [snapshot.routes.donors[at].code for at in arrays[DONOR].tolist()]
    routes = [snapshot.route(row) for row in snapshot.lookup(every, overrides=False).route.tolist()]
    return list(zip(numbers, routes, arrays[PORTED_AT].tolist(), donors, strict=True))


def built_on(
    store: SnapshotStore, tmp_path: Path, *rows: bdpn.Row, day: int = 24, words: tuple = ()
) -> dict:
    """Build from the next day's dump; return the gate's finding on drift, and the drift."""
    folder = write_registry(tmp_path / f"next{day}", dump=None)
    sequence = 4659 + day - 23
    name = f"Port_All_202608{day}0000_{sequence}.csv"
    (folder / name).write_bytes(bdpn.dump(bdpn.PORT_ALL, rows))
    for key in ("operators", "plan"):
        (folder / NAMES[key]).rename(
            folder / f"{NAMES[key].partition('_2026')[0]}_202608{day}0000_{sequence + 1}.csv"
        )
    allow = ("--allow", "shrinkage", "--reason", "few")
    result = load("check", store.path, folder, "--json", *allow, *words)
    told = json.loads(result.out)
    (finding,) = [each for each in told["gate"] if each["check"] == "drift"]
    return finding | {"drift": told["drift"]}


def day_of_windows(store: SnapshotStore, tmp_path: Path, last: int = 12) -> None:
    """Apply the windows of a day, the first of which ports a number."""
    for sequence in range(FIRST, FIRST + last):
        ports = [bdpn.port_row(9_000_000_500, time=time_in(sequence))] if sequence == FIRST else []
        bdpn.put_window(tmp_path / "day", sequence, ports)
    result = load("apply", store.path, tmp_path / "day")
    assert result.status == 0, result.err


STATE = (
    bdpn.port_all_row(9_000_000_012, "mMEGAFON", "02", "77"),
    bdpn.port_all_row(9_000_000_345, "mMTS", "01", "77"),
    bdpn.port_all_row(9_000_000_500, "mMTS", "01", "25"),
    bdpn.port_all_row(9_161_234_567, "mTELE2", "20", "77"),
)


def test_a_dump_that_agrees_with_the_increments(store: SnapshotStore, tmp_path: Path) -> None:
    """The next day's dump is what the day's increments made: no drift."""
    day_of_windows(store, tmp_path)
    found = built_on(store, tmp_path, *STATE)
    assert found["outcome"] == "passed"
    assert " in 0 numbers: " in found["message"]
    assert found["drift"]["ported"] == found["drift"]["updated"] == 0


def test_a_dump_that_differs_from_the_increments(store: SnapshotStore, tmp_path: Path) -> None:
    """What is missing, surplus, with another operator or route is counted, and shown masked."""
    day_of_windows(store, tmp_path)
    found = built_on(
        store,
        tmp_path,
        bdpn.port_all_row(9_000_000_012, "mMTS", "01", "77"),
        bdpn.port_all_row(9_000_000_345, "mMTS", "09", "77"),
        bdpn.port_all_row(9_000_000_777, "mMTS", "01", "77"),
        STATE[3],
    )
    drift = found["drift"]
    counts = [drift[kind] for kind in ("ported", "returned", "moved", "updated")]
    assert counts == [1, 1, 1, 1]
    assert "7900******* (only in the dump)" in drift["examples"]
    assert "7900******* (another operator)" in drift["examples"]
    assert "the dump differs" in found["message"]
    assert found["outcome"] == "passed", "so few numbers are never too much"
    limits = tmp_path / "limits.toml"
    limits.write_text("drift_numbers_min = 0\n")
    result = load("build", store.path, tmp_path / "next24", "--limits", limits)
    assert result.status == 1
    assert "drift: the dump differs" in result.err


@pytest.mark.parametrize(
    ("last", "day", "message"),
    [
        (11, 24, "have not led the current snapshot to the time of the dump"),
        (13, 23, "have not led the current snapshot to the time of the dump"),
        (12, 25, "have not led the current snapshot to the time of the dump"),
        (0, 24, "the current snapshot was not made by increments"),
    ],
)
def test_drift_that_cannot_be_told(
    store: SnapshotStore, tmp_path: Path, last: int, day: int, message: str
) -> None:
    """A dump of another moment than the state is not compared, and the finding says why."""
    if last:
        day_of_windows(store, tmp_path, last)
    found = built_on(store, tmp_path, *STATE, day=day)
    assert found["outcome"] == "not checked"
    assert message in found["message"]
    assert found["drift"] is None


def test_a_dump_that_comes_after_a_later_window(store: SnapshotStore, tmp_path: Path) -> None:
    """It is compared but for the numbers that windows after it changed, told or not."""
    day_of_windows(store, tmp_path)
    bdpn.put_window(
        tmp_path / "later",
        FIRST + 12,
        [bdpn.port_row(9_000_000_600, time=time_in(FIRST + 12))],
        [bdpn.return_row(9_000_000_012, time=time_in(FIRST + 12))],
    )
    assert load("apply", store.path, tmp_path / "later").status == 0
    found = built_on(store, tmp_path, *STATE)
    assert found["outcome"] == "passed"
    assert " in 0 numbers: " in found["message"]
    assert "2 that increments after the dump changed are left out" in found["message"]
    drifted = built_on(store, tmp_path, *STATE[:-1])["drift"]
    counts = [drifted[kind] for kind in ("ported", "returned", "moved", "updated")]
    assert counts == [0, 1, 0, 0]
    assert drifted["examples"] == ["7916******* (not in the dump)"]


def test_another_brand_table_is_no_drift(store: SnapshotStore, tmp_path: Path) -> None:
    """Networks that are ours to choose are left out, before and after a later window."""
    brands = tmp_path / "brands.csv"
    brands.write_text("tax_number,operator_code,registry_mnc,brand,mcc,mnc\n,mMTS,,Mts,250,35\n")
    day_of_windows(store, tmp_path)
    found = built_on(store, tmp_path, *STATE, words=("--brands", brands))
    assert " in 0 numbers: " in found["message"]
    later = [bdpn.port_row(9_000_000_600, time=time_in(FIRST + 12))]
    bdpn.put_window(tmp_path / "later", FIRST + 12, later)
    assert load("apply", store.path, tmp_path / "later").status == 0
    found = built_on(store, tmp_path, *STATE, words=("--brands", brands))
    assert " in 0 numbers: " in found["message"]
