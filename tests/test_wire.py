"""What is encoded and read by hand is what protobuf itself would write and read."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from numroute import wire
from numroute.client import messages
from numroute.model import Answer, LineType, Operator, Region, Route, SnapshotRef, Status
from numroute.v1 import number_routing_pb2 as pb

NUMBERS = st.lists(st.integers(0, 2**64 - 1), max_size=40)


@given(NUMBERS, st.booleans(), st.booleans())
def test_bulk_request_is_the_message(numbers, with_range_holder, with_ported_at) -> None:
    """A request written by hand is byte for byte what protobuf writes."""
    message = pb.BulkLookupRequest(
        numbers=numbers, with_range_holder=with_range_holder, with_ported_at=with_ported_at
    )
    assert message.SerializeToString() == wire.bulk_request(
        np.array(numbers, np.uint64),
        with_range_holder=with_range_holder,
        with_ported_at=with_ported_at,
    )


def test_long_lengths() -> None:
    """Lengths of one to four varint bytes are written and read."""
    for count in (1, 15, 16, 2047, 2048, 262_144):
        numbers = np.arange(count, dtype=np.uint64)
        request = wire.bulk_request(numbers, with_range_holder=False, with_ported_at=True)
        assert pb.BulkLookupRequest.FromString(request).numbers == numbers.tolist()
        read, options = wire.bulk_request_parts(request)
        assert np.array_equal(read, numbers)
        assert options.with_ported_at


def single(number: int) -> bytes:
    """Return one number of the field in the form that is not packed."""
    return b"\x09" + number.to_bytes(8, "little")


PIECES = st.one_of(
    NUMBERS.map(lambda numbers: pb.BulkLookupRequest(numbers=numbers).SerializeToString()),
    st.integers(0, 2**64 - 1).map(single),
    st.sampled_from([b"\x10\x01", b"\x18\x01", b"\x10\x00", b"\x0a\x00", b"\x0a\x80\x00"]),
    # A field that this version does not know.
    st.just(b"\x7a\x03abc"),
    st.binary(max_size=12),
)


@given(st.lists(PIECES, max_size=6).map(b"".join))
def test_bulk_request_parts_equal_protobuf(request_bytes) -> None:
    """Any bytes are read as protobuf reads them: the same numbers and options, or refused."""
    try:
        expected = pb.BulkLookupRequest.FromString(request_bytes)
    except DecodeError:
        with pytest.raises(DecodeError):
            wire.bulk_request_parts(request_bytes)
        return
    numbers, options = wire.bulk_request_parts(request_bytes)
    assert numbers.dtype == np.uint64
    assert numbers.tolist() == list(expected.numbers)
    assert options.with_range_holder == expected.with_range_holder
    assert options.with_ported_at == expected.with_ported_at


TEXTS = st.text(max_size=10)
ROUTES = st.builds(
    Route,
    status=st.sampled_from(Status),
    operator=st.builds(Operator, code=TEXTS, name=TEXTS, brand=TEXTS, tax_number=TEXTS),
    mcc=TEXTS,
    mnc=TEXTS,
    registry_mnc=TEXTS,
    routing_number=TEXTS,
    region=st.builds(Region, code=TEXTS, name=TEXTS),
    line_type=st.sampled_from(LineType),
)


@given(ROUTES)
def test_routes_survive_the_wire(route) -> None:
    """A route is the same after it was a message; a row has its status beside it."""
    inside = wire.message(route).SerializeToString()
    assert messages.decoded(Route, inside) == route
    ref = SnapshotRef(id="s", as_of=datetime(2026, 1, 1, tzinfo=UTC))
    row = Answer(input="x", number=7, status=route.status, snapshot=ref, route=route)
    beside = wire.message(row)
    assert beside.route.status == pb.STATUS_UNSPECIFIED
    response = pb.LookupResponse(answers=[beside], snapshot=wire.message(ref))
    assert messages.lookup_response(response.SerializeToString(), 1) == (ref, [row])


@pytest.mark.parametrize(
    ("ours", "theirs"), [(Status, pb.Status), (LineType, pb.LineType)], ids=["Status", "LineType"]
)
def test_enums_have_the_values_of_the_contract(ours, theirs) -> None:
    """Names and values of the model's enums are those of the wire contract."""
    prefix = {Status: "STATUS_", LineType: "LINE_TYPE_"}[ours]
    expected = {name.removeprefix(prefix): value for name, value in theirs.items()}
    assert expected == {member.name: member.value for member in ours} | (
        {"UNSPECIFIED": 0} if ours is Status else {}
    )
