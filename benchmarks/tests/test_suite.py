"""The suite, whole, on a small registry; its load generator; and comparing two runs."""

from __future__ import annotations

import copy
import json
import math
import shutil
import time
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from benchmarks import compare
from benchmarks.children import ChildError
from benchmarks.plans import find_plans
from benchmarks.suite.__main__ import STEPS, main, run
from benchmarks.suite.open_load import at_rate, histogram, percentiles
from benchmarks.suite.results import Row
from benchmarks.suite.scale import Scale
from benchmarks.yardsticks.redis_server import COMMAND, MISSING, check, keys_of, redis_server
from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from pathlib import Path

PORTED = 20_000
# The whole small run takes a minute: `make test-slow`.


def scale(work: Path) -> Scale:
    """Return the scale of a run of seconds."""
    return Scale(
        name="suite-small",
        work=work,
        sizes=(PORTED,),
        main=PORTED,
        batches=(1, 1_000),
        store_keys_max=5_000,
        small_store_keys_max=5_000,
        rounds=1,
        grpc_rounds=1,
        load_batches=(10,),
        load_seconds=2.0,
    )


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Return the results of a small run, Redis left out, and their folder."""
    try:
        find_plans()
    except NumrouteError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("suite")
    with pytest.MonkeyPatch.context() as patch:
        # The steps run in processes of their own, which inherit the search path.
        patch.setenv("PATH", "")
        results = run(scale(folder / "work"), folder / "results")
    assert set(results.seconds) == {"preparing", *STEPS}
    return json.loads((folder / "results" / "suite-small.json").read_text("utf-8")), folder


@pytest.mark.slow
def test_measures_everything(small_run: tuple[dict[str, Any], Path]) -> None:
    """Every step leaves rows with sound values; a yardstick that a row names is there too."""
    document, _ = small_run
    assert document["complete"]
    names = {(row["section"], row["name"]) for row in document["rows"]}
    assert len(names) == len(document["rows"])
    for row in document["rows"]:
        assert all(math.isfinite(value) and value >= 0 for value in row["values"])
        assert not row["against"] or (row["section"], row["against"]) in names
        assert bool(row["ratios"]) == bool(row["against"])


@pytest.mark.slow
def test_says_that_redis_is_missing(small_run: tuple[dict[str, Any], Path]) -> None:
    """Where there is no Redis server, its rows say so, in JSON and in the table."""
    document, folder = small_run
    rows = [row for row in document["rows"] if row["note"] == MISSING]
    assert len(rows) == 2
    assert all(row["median"] is None for row in rows)
    assert MISSING in (folder / "results" / "suite-small.md").read_text("utf-8")


@pytest.mark.slow
def test_draws_every_plot(small_run: tuple[dict[str, Any], Path]) -> None:
    """Four plots lie beside the tables."""
    _, folder = small_run
    found = sorted(path.name for path in (folder / "results").glob("*.svg"))
    names = ("cost", "latency", "memory", "throughput")
    assert found == [f"suite-small-{name}.svg" for name in names]


@pytest.mark.slow
def test_keeps_what_was_measured_before_an_interrupt(
    small_run: tuple[dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An interrupted run leaves the rows of the steps before, marked as not complete."""
    _, folder = small_run

    def interrupt(_: object) -> list[Row]:
        raise KeyboardInterrupt

    def first(_: object) -> list[Row]:
        return [Row(section="Section", name="thing", unit="MB", values=[1.0])]

    monkeypatch.setattr("benchmarks.suite.__main__.STEPS", {"first": first, "second": interrupt})
    monkeypatch.setattr("benchmarks.suite.__main__.quick", lambda _: scale(folder / "work"))
    monkeypatch.setattr("benchmarks.suite.__main__.in_own_process", lambda step, *args: step(*args))
    monkeypatch.setattr("benchmarks.suite.__main__.prepare", lambda *_: None)
    assert main(["--quick", "--results", str(tmp_path)]) == 1
    document = json.loads((tmp_path / "suite-small.json").read_text("utf-8"))
    assert [row["name"] for row in document["rows"]] == ["thing"]
    assert not document["complete"]
    assert "not completed" in (tmp_path / "suite-small.md").read_text("utf-8")


class DoneFuture:
    """A call whose answer is there at once."""

    def result(self) -> bytes:
        """Return the answer."""
        return b"answer"

    def add_done_callback(self, callback: Any) -> None:  # noqa: ANN401 - grpc's callback
        """Call it at once, in the thread that asks."""
        callback(self)


class StallingCall:
    """A service whose first call keeps the sender waiting, as a full connection does."""

    stall_seconds = 0.2

    def __init__(self) -> None:
        """Begin with no call."""
        self.calls = 0

    def future(self, _request: bytes, *, timeout: float) -> DoneFuture:
        """Take a call."""
        assert timeout > 0
        self.calls += 1
        if self.calls == 1:
            time.sleep(self.stall_seconds)
        return DoneFuture()


def test_latency_counts_from_the_intended_send() -> None:
    """Calls that had to wait behind a stall are as late as a caller would have seen them."""
    call = StallingCall()
    load = at_rate(call, [b"request"], per_second=100, seconds=0.5)  # type: ignore[arg-type]
    assert call.calls == len(load.latency) == 50
    # The tenth call was to be sent 0.1 s before the stall ended.
    assert load.latency[0] >= call.stall_seconds
    assert load.latency[10] >= call.stall_seconds - 0.1 - 1e-9
    assert load.responses == [[b"answer"]]


class Refusal(grpc.RpcError):
    """The end of a call that was not answered."""


class RefusingCall(StallingCall):
    """A service that answers every second call only, and ends the others with one status."""

    stall_seconds = 0.0

    def __init__(self, status: grpc.StatusCode, details: str = "") -> None:
        """End calls with this status."""
        super().__init__()
        self.status, self.details = status, details

    def future(self, request: bytes, *, timeout: float) -> DoneFuture:
        """Take a call."""
        future = super().future(request, timeout=timeout)
        return future if self.calls % 2 else RefusedFuture(self.status, self.details)


class RefusedFuture(DoneFuture):
    """A call that ended with a status."""

    def __init__(self, status: grpc.StatusCode, details: str) -> None:
        """End with this status."""
        self.status, self._details = status, details

    def result(self) -> bytes:
        """Raise as grpc does."""
        raise Refusal

    def code(self) -> grpc.StatusCode:
        """Return the status."""
        return self.status

    def details(self) -> str:
        """Return what is said of it."""
        return self._details


REFUSED_STREAM = "Stream removed (RST_STREAM (Received RST_STREAM with error code 7))"


def test_refused_calls_are_counted() -> None:
    """Calls that an overloaded service refuses are told apart; any other failure is an error."""
    for call in (
        RefusingCall(grpc.StatusCode.CANCELLED),
        RefusingCall(grpc.StatusCode.UNAVAILABLE, REFUSED_STREAM),
    ):
        load = at_rate(call, [b"request"], per_second=200, seconds=0.1)  # type: ignore[arg-type]
        assert (len(load.latency), load.refused, load.refused_share) == (10, 10, 0.5)
    for call in (
        RefusingCall(grpc.StatusCode.INTERNAL),
        RefusingCall(grpc.StatusCode.UNAVAILABLE, "Connection refused"),
    ):
        with pytest.raises(ChildError, match="10 of 20 calls failed"):
            at_rate(call, [b"request"], per_second=200, seconds=0.1)  # type: ignore[arg-type]


def test_percentiles_and_histogram_are_of_all_calls() -> None:
    """Percentiles are exact, and the histogram's counts add up to the calls."""
    latency = np.arange(1, 1_001) / 1e3
    assert percentiles(latency)["p50"] == pytest.approx(500.5)
    found = histogram(latency)
    assert sum(found["count"]) == 1_000
    assert found["upper_ms"] == sorted(found["upper_ms"])
    assert found["upper_ms"][-1] >= 1_000


def run_of(ratio: float, size: float = 5.0) -> dict[str, Any]:
    """Return the document of a run with one ratio, one size and one absolute time."""
    rows = [
        Row(section="S", name="yardstick", unit="ns/number", values=[10.0 * ratio]),
        Row(
            section="S",
            name="thing",
            unit="ns/number",
            values=[7.0],
            against="yardstick",
            ratios=[ratio, ratio + 0.1, ratio - 0.1],
        ),
        Row(section="S", name="file", unit="MB", values=[size]),
    ]
    return {"format": 1, "machine": {"CPU": "A"}, "rows": [row.document() for row in rows]}


def test_compares_ratios_and_not_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ratio and a size that changed are listed; a time without a yardstick is not compared."""
    paths = tmp_path / "old.json", tmp_path / "new.json"
    for path, document in zip(paths, (run_of(2.0), run_of(3.0, size=8.0)), strict=True):
        path.write_text(json.dumps(document), "utf-8")
    assert compare.main(list(map(str, paths))) == 0
    text = capsys.readouterr().out
    assert "2 rows compared, 2 differ" in text
    assert "| S / thing | yardstick | 2.00 | 3.00 | 1.50 | apart |" in text
    assert "| S / file |  | 5.00 MB | 8.00 MB | 1.60 | single |" in text


def test_tells_machines_and_rows_that_differ() -> None:
    """Another machine and rows that one run lacks are said."""
    old, new = run_of(2.0), copy.deepcopy(run_of(2.0))
    new["machine"]["CPU"] = "B"
    del new["rows"][1]
    text = compare.compare(old, new).text(0.1)
    assert "CPU: A → B" in text
    assert "- S / thing" in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("nonsense", "not the results"),
        ('{"rows": []}', "not the results"),
        ('{"format": 9, "machine": {}, "rows": []}', "format 9"),
        (None, "No such file"),
    ],
)
def test_refuses_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, reason: str
) -> None:
    """A file that is no run's results, or of another version, is refused with the reason."""
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content, "utf-8")
    assert compare.main([str(path), str(path)]) == 1
    assert reason in capsys.readouterr().err


@pytest.mark.skipif(shutil.which(COMMAND) is None, reason=MISSING)
def test_redis_gives_what_was_stored(tmp_path: Path) -> None:
    """Numbers that were stored are found again, in one MGET or in several."""
    numbers = np.arange(79_000_000_000, 79_000_002_500, dtype=np.uint64)
    facts = np.arange(2_500, dtype=np.uint32)
    with redis_server(tmp_path) as server:
        assert server is not None
        server.fill(numbers, facts)
        check(server.get(keys_of(numbers)), facts)
