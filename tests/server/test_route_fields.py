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
from numroute.server.view import RouteFields
from numroute.v1 import number_routing_pb2 as pb

ROUTES = pb.BulkLookupResponse.ROUTES_FIELD_NUMBER
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


def route_field(route: Route) -> bytes:
    """Return a route as protobuf writes it into a bulk answer."""
    message = wire.route_message(route, with_status=True)
    return wire.message_field(ROUTES, message.SerializeToString())


@settings(max_examples=40, deadline=None)
@given(drawn=st.lists(routes, max_size=12, unique=True), data=st.data())
def test_fields_are_what_protobuf_writes(drawn: list[Route], data: st.DataObject) -> None:
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
            fields = RouteFields(snapshot)
            every = [snapshot.route(row) for row in range(snapshot.route_count)]
            assert fields.status.tolist() == [route.status for route in every]
            for _ in range(3):
                asked = data.draw(st.lists(st.integers(0, len(every) - 1), unique=True))
                rows = np.array(asked, np.intp)
                assert fields.routes(rows) == b"".join(route_field(every[row]) for row in asked)
                of_table = rows[rows < len(snapshot.routes)]
                holders = fields.holders(of_table)
                assert not len(holders) or holders.max() < fields.holder_count
                assert fields.holder_fields(holders.astype(np.intp)) == b"".join(
                    wire.message_field(
                        RANGE_HOLDERS,
                        wire.operator_message(every[row].operator).SerializeToString(),
                    )
                    for row in of_table.tolist()
                )
