"""``numroute.testing``: a real service from a dict."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import numroute
from numroute import testing
from numroute.errors import ServiceError, SettingError
from numroute.model import NUMBER_MAX, LineType, Operator, Route, Status
from numroute.testing import numroute_service  # noqa: F401 - a fixture

NUMBER = 79_000_010_123
RANGE = (79_000_010_000, 79_000_999_999)
FULL = Route(
    status=Status.PORTED,
    operator=Operator(code="mOne", name="One", brand="One!", tax_number="7700000000"),
    mcc="250",
    mnc="01",
    routing_number="D1",
    line_type=LineType.MOBILE,
)


def statuses(answer: numroute.client.BulkAnswer) -> list[tuple[str, str]]:
    """Return the status and the operator's code of each number."""
    routes = [answer.routes[index] for index in answer.route_index]
    return [(route.status.name, route.operator.code) for route in routes]


def test_numbers_and_ranges_are_answered(numroute_service) -> None:  # noqa: F811 - as above
    """Ported numbers, numbers in ranges, at their ends and outside are answered as they should."""
    service = numroute_service(
        {NUMBER: FULL, 4_912_345: "mTwo"},
        {RANGE: Operator(code="mThree"), (RANGE[1] + 1, RANGE[1] + 1): "mFour"},
    )
    asked = [NUMBER, 4_912_345, RANGE[0] - 1, *RANGE, RANGE[1] + 1, RANGE[1] + 2, 0, NUMBER_MAX]
    with numroute.Client(service.target) as client:
        answer = client.lookup(asked, with_range_holder=True)
        assert statuses(answer) == [
            ("PORTED", "mOne"),
            ("PORTED", "mTwo"),
            ("UNALLOCATED", ""),
            ("NOT_PORTED", "mThree"),
            ("NOT_PORTED", "mThree"),
            ("NOT_PORTED", "mFour"),
            ("UNALLOCATED", ""),
            ("INVALID", ""),
            ("NOT_COVERED", ""),
        ]
        assert answer.routes[answer.route_index[0]] == FULL
        assert answer.range_holders[answer.range_holder_index[0]].code == "mThree"
        assert datetime.now(UTC) - answer.snapshot.as_of < timedelta(minutes=1)
        (text,) = client.lookup_text(["+7 900 001-01-23"])
        assert text.route.operator == FULL.operator


def test_other_countries_are_not_covered(numroute_service) -> None:  # noqa: F811 - as above
    """Beyond the first two digits and the lengths of what is given, nothing is covered."""
    service = numroute_service({NUMBER: "mOne", 380_441_234_567: "mTwo"}, {RANGE: "mThree"})
    asked = {
        79_999_999_999: "UNALLOCATED",
        389_999_999_999: "UNALLOCATED",
        77_010_000_000: "NOT_COVERED",
        80_000_000_000: "NOT_COVERED",
        447_700_900_123: "NOT_COVERED",
        7_900_001_012: "NOT_COVERED",
    }
    with numroute.Client(service.target) as client:
        answer = client.lookup(list(asked))
        assert [status for status, _ in statuses(answer)] == list(asked.values())
        covered = [(each.first, each.last) for each in client.snapshot().coverage]
        assert covered == [(79_000_000_000, 79_999_999_999), (380_000_000_000, 389_999_999_999)]
        service.publish({}, {(78_000_000_000, 79_000_000_000): "mOne"})
        asked = [77_999_999_999, 78_500_000_000, 79_000_000_000, 79_000_000_001, 80_000_000_000]
        assert [status for status, _ in statuses(client.lookup(asked))] == [
            "NOT_COVERED",
            "NOT_PORTED",
            "NOT_PORTED",
            "UNALLOCATED",
            "NOT_COVERED",
        ]


async def test_it_serves_asyncio_clients_and_takes_new_data() -> None:
    """Another loop's client asks it for single numbers; a new snapshot answers at once."""
    with testing.serve({NUMBER: "mOne"}) as service:
        async with numroute.AsyncClient(service.target) as client:
            answers = await asyncio.gather(*(client.lookup(NUMBER + i) for i in range(100)))
            assert [answer.status for answer in answers[:2]] == [
                Status.PORTED,
                Status.UNALLOCATED,
            ]
            published = await asyncio.to_thread(service.publish, {}, {RANGE: "mTwo"})
            answer = await client.lookup(NUMBER)
            assert (answer.status, answer.snapshot.id) == (Status.NOT_PORTED, published)


def test_faults_come_on_demand(numroute_service) -> None:  # noqa: F811 - as above
    """Unavailable, slow and stale services are what a client meets, and then it is well again."""
    service = numroute_service({NUMBER: "mOne"})
    with numroute.Client(service.target) as client:
        with service.unavailable(), pytest.raises(numroute.ServiceError) as caught:
            client.lookup([NUMBER])
        assert caught.value.code == "UNAVAILABLE"
        with service.unavailable(), pytest.raises(numroute.ServiceError, match="cannot reach"):
            next(client.stream([[NUMBER]]))
        with service.slow(2.0), pytest.raises(numroute.ServiceError) as caught:
            client.lookup([NUMBER], timeout=0.2)
        assert caught.value.code == "DEADLINE_EXCEEDED"
        assert not client.lookup([NUMBER]).snapshot.stale
        published = service.publish({NUMBER: "mTwo"}, stale=True)
        answer = client.lookup([NUMBER])
        assert (answer.snapshot.id, answer.snapshot.stale) == (published, True)
        assert statuses(answer) == [("PORTED", "mTwo")]


def test_the_fixture_comes_as_a_plugin(tmp_path) -> None:
    """One line in a conftest.py is enough."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["numroute.testing"]\n')
    (tmp_path / "test_it.py").write_text(
        "def test_it(numroute_service):\n    assert numroute_service({1: 'm'}).target\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("ported", "ranges"),
    [
        ({0: "m"}, {}),
        ({NUMBER_MAX + 1: "m"}, {}),
        ({}, {(5, 4): "m"}),
        ({}, {(0, 4): "m"}),
        ({}, {(1, 5): "m", (5, 9): "m"}),
        ({"79001234567": "m"}, {}),
        ({NUMBER: None}, {}),
        ({}, {RANGE: 7}),
    ],
)
def test_wrong_data_are_refused(ported, ranges) -> None:
    """Numbers that are not whole E.164 numbers and impossible ranges are refused."""
    with (
        pytest.raises(SettingError, match=r"E\.164|reversed or overlap|operator's code"),
        testing.serve(ported, ranges),
    ):
        pass


def test_nothing_is_left_behind(tmp_path, monkeypatch) -> None:
    """After the block the port is closed and the temporary folder is gone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with testing.serve({}) as service:
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    with (
        numroute.Client(service.target, timeout=0.5) as client,
        pytest.raises(ServiceError),
    ):
        client.snapshot()
