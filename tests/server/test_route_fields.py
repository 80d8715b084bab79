"""Routes put together from encoded parts, against the messages that protobuf makes of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.snapshots import make_content, make_metadata

from numroute import wire
from numroute.index import Override, Snapshot
from numroute.index.writer import write_snapshot
from numroute.model import LineType, Operator, Region, Route, Status
from numroute.server.view import AnswerCounts, View, only_number
from numroute.v1 import number_routing_pb2 as pb

RANGE_HOLDERS = pb.BulkLookupResponse.RANGE_HOLDERS_FIELD_NUMBER
FIRST = 79_000_000_000

# Long ones take a length of two bytes; few different ones make parts that routes share.
texts = st.sampled_from(["", "a", "250", "Свердловская область", "x" * 200])
operators = st.builds(Operator, code=texts, name=texts, brand=texts, tax_number=texts)
routes = st.builds(
    Route,
    status=st.sampled_from([Status.PORTED, Status.NOT_PORTED]),
    operator=operators,
    mcc=texts,
    mnc=texts,
    registry_mnc=texts,
    routing_number=texts,
    region=st.builds(Region, code=texts, name=texts),
    line_type=st.sampled_from(LineType),
)


@settings(max_examples=40, deadline=None)
@given(drawn=st.lists(routes, max_size=12, unique=True), data=st.data())
def test_fields_are_what_protobuf_reads(drawn: list[Route], data: st.DataObject) -> None:
    """Rows of the route table and of overrides, asked for once or again, in any order."""
    table = [Route(status=Status.UNALLOCATED), Route(status=Status.INVALID), *drawn]
    override = Override(
        first=FIRST, last=FIRST, operator=Operator(code="mX"), reason="test", author="me"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.lmdb"
        write_snapshot(path, make_content({}, {}, table), make_metadata(), (override,))
        with Snapshot(path) as snapshot:
            assert snapshot.route_count == len(snapshot.routes) + 2
            view = View(snapshot, max_age=None, answers=AnswerCounts())
            every = [snapshot.route(row) for row in range(snapshot.route_count)]
            assert view.status.tolist() == [route.status for route in every]
            for _ in range(3):
                asked = data.draw(st.lists(st.integers(0, len(every) - 1), unique=True))
                rows = np.array(asked, np.intp)
                answer = pb.BulkLookupResponse.FromString(view._route_fields(rows))
                assert list(answer.routes) == [wire.message(every[row]) for row in asked]
                for row in rows[rows < len(snapshot.routes)].tolist():
                    assert view._holder(snapshot.routes.operator_of_row[row]) == wire.message_field(
                        RANGE_HOLDERS, wire.message(every[row].operator).SerializeToString()
                    )


def test_a_request_of_one_number_gets_the_bytes_of_any_other(open_content) -> None:
    """One number without options has a shorter way to the same answer and the same counts."""
    table = [Route(status=Status.UNALLOCATED), Route(status=Status.INVALID)]
    table += [Route(status=Status.PORTED, mnc="01"), Route(status=Status.NOT_PORTED, mnc="02")]
    snapshot = open_content(make_content({FIRST: 2}, {FIRST: 3, FIRST + 9: 0}, table))
    ways = [View(snapshot, max_age=None, answers=AnswerCounts()) for _ in range(2)]
    for number in (FIRST, FIRST + 1, FIRST + 9, 0, (1 << 64) - 1):
        request = wire.bulk_request(
            np.array([number], np.uint64), with_range_holder=False, with_ported_at=False
        )
        assert only_number(request) == number
        expected = ways[0].bulk_answer(
            np.array([number], np.uint64), with_range_holder=False, with_ported_at=False
        )
        assert ways[1].answer_one(number) == expected
        assert ways[0].answers.by_status() == ways[1].answers.by_status()
    for options in ({"with_ported_at": True}, {"with_range_holder": True}, {"snapshot_id": "x"}):
        asked = {"with_range_holder": False, "with_ported_at": False} | options
        snapshot_id = asked.pop("snapshot_id", "")
        request = wire.bulk_request(np.array([FIRST], np.uint64), snapshot_id, **asked)
        assert only_number(request) is None
    assert only_number(b"") is None
