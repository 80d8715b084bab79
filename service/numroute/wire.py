"""The one place that knows how numroute's values become protobuf messages and back.

Columns are written and read without touching single numbers: a packed ``fixed32`` or ``fixed64``
field is, on the wire, its tag, its length in bytes and the little-endian array itself (Protocol
Buffers encoding specification, "Packed Repeated Fields"), and ``numpy.asarray`` of a parsed packed
field is one copy in protobuf's upb implementation. Building the same field from a list costs
20 to 60 ns per number. Because concatenated messages merge, hand-written columns and ordinarily
serialised parts of one message may simply follow each other.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from numroute.model import (
    Answer,
    Changes,
    Coverage,
    Explanation,
    InvalidReason,
    Layer,
    LineType,
    Operator,
    Region,
    Route,
    SnapshotRef,
    Source,
    Status,
)
from numroute.v1 import number_routing_pb2 as pb

ValueT = TypeVar("ValueT")

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["NumberRouting"].full_name
"""The service's full name, as health checks, reflection and method paths spell it."""

REQUEST_NAMES = {
    method.name: method.input_type.name
    for method in pb.DESCRIPTOR.services_by_name["NumberRouting"].methods
}
"""The service's methods, and the message that each takes."""

LAYER_NAMES = {
    pb.LAYER_NAME_OVERRIDE: "override",
    pb.LAYER_NAME_PORTED_RECORD: "ported record",
    pb.LAYER_NAME_RANGE: "range",
    pb.LAYER_NAME_NOTHING: "nothing",
}
"""The contract's names of layers, and the index's."""

_LAYER_VALUES = {name: value for value, name in LAYER_NAMES.items()}

ERROR_KEY = "numroute-error"
"""Trailing metadata of an error status that the service itself sends: the error's class.

It distinguishes "the service cannot answer" from "there is no service": both are UNAVAILABLE.
"""

RETRY_AFTER_KEY = "retry-after-ms"
"""Trailing metadata of a refused call: after how many milliseconds it may be sent again."""

PUSHBACK_KEY = "grpc-retry-pushback-ms"
"""The same for gRPC's own retries, which wait that long when a retry policy covers the status
(gRPC proposal A6, "Pushback"); -1 where gRPC must not retry."""

PUSHBACK_SECONDS_MAX = 1.0
"""The longest wait imposed on gRPC's own retries of a call without a deadline: meanwhile its caller
gets no answer, however long it is ready to wait."""

FIXED32 = np.dtype("<u4")
"""The numpy type of a ``fixed32`` column: little-endian on every host."""

FIXED64 = np.dtype("<u8")
"""The numpy type of a ``fixed64`` column: little-endian on every host."""

HEADS_KEPT_MAX = 4_096
"""Heads of fields that are kept: thousands of routes have some hundred different lengths."""

_LENGTH_DELIMITED = 2
_VARINT_BITS = 7
_SHORT_VARINT_BYTES_MAX = 5


def method_path(name: str) -> str:
    """Return the path of one of the service's methods, e.g. for ``BulkLookup``."""
    return f"/{SERVICE_NAME}/{name}"


def retry_hint(seconds: float, left: float | None) -> tuple[tuple[str, str], ...]:
    """Return the trailing metadata that say when a refused call may be sent again.

    A wait that outlasts the call is stated, but gRPC must not retry: it would wait for the deadline
    and hide the refusal behind it.

    Args:
        seconds: How long to wait.
        left: Seconds until the call's deadline; None where it has none.
    """
    milliseconds = str(math.ceil(seconds * 1e3))
    in_time = seconds < (PUSHBACK_SECONDS_MAX if left is None else left)
    return (RETRY_AFTER_KEY, milliseconds), (PUSHBACK_KEY, milliseconds if in_time else "-1")


def packed_field(
    field_number: int, values: NDArray[np.unsignedinteger]
) -> tuple[bytes, bytes | memoryview]:
    """Return a packed fixed-width field as two runs of bytes that follow each other.

    Args:
        field_number: The field's number in its message.
        values: unsigned[n] in the field's own type, ``FIXED32`` or ``FIXED64``.

    Returns:
        The field's head (tag and length) and a view of its values, for ``bytes.join``. Nothing,
        twice, for an empty array.
    """
    if not values.size:
        return b"", b""
    return _head(field_number, values.nbytes), np.ascontiguousarray(values).data


def message_field(field_number: int, message: bytes) -> bytes:
    """Return a serialised message as a field of the message that it stands in."""
    return _head(field_number, len(message)) + message


def bulk_request(
    numbers: NDArray[np.uint64],
    *,
    with_range_holder: bool,
    with_ported_at: bool,
    snapshot_id: str = "",
) -> bytes:
    """Return a serialised ``BulkLookupRequest`` for uint64[n] numbers."""
    options = pb.BulkLookupRequest(
        with_range_holder=with_range_holder, with_ported_at=with_ported_at, snapshot_id=snapshot_id
    )
    head, column = packed_field(
        pb.BulkLookupRequest.NUMBERS_FIELD_NUMBER, numbers.astype(FIXED64, copy=False)
    )
    return b"".join((head, column, options.SerializeToString()))


def bulk_request_parts(request: bytes) -> tuple[NDArray[np.uint64], pb.BulkLookupRequest]:
    """Return the numbers of a serialised ``BulkLookupRequest``, and a message with its options.

    Returns:
        uint64[n] numbers, read-only and seldom aligned, and the message; its own ``numbers`` may be
        empty.

    Raises:
        DecodeError: The bytes are not such a message.
    """
    numbers, begin = leading_column(request, pb.BulkLookupRequest.NUMBERS_FIELD_NUMBER, FIXED64)
    rest = pb.BulkLookupRequest.FromString(request[begin:])
    if rest.numbers:
        # In several runs: what protobuf makes of them is one column.
        rest = pb.BulkLookupRequest.FromString(request)
        numbers = np.asarray(rest.numbers, FIXED64)
    return numbers.astype(np.uint64, copy=False), rest


def leading_column(
    data: bytes, field_number: int, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], int]:
    """Return the packed fixed-width field that a message begins with, and where the rest begins.

    The column is read where it stands, without a copy and without parsing: read-only, and aligned
    only by chance. Every writer of protobuf puts it first, in one run. Of a message that begins
    with anything else the column is empty and the rest the whole.
    """
    tag = _varint(field_number << 3 | _LENGTH_DELIMITED)
    length, begin = _read_varint(data, len(tag)) if data.startswith(tag) else (0, 0)
    if not begin or begin + length > len(data) or length % dtype.itemsize:
        return np.empty(0, dtype), 0
    return np.frombuffer(data, dtype, length // dtype.itemsize, begin), begin + length


def route_message(route: Route, *, with_status: bool) -> pb.Route:
    """Return a route as a message; bulk answers carry the status in it, row answers do not."""
    return pb.Route(
        operator=operator_message(route.operator),
        mcc=route.mcc,
        mnc=route.mnc,
        registry_mnc=route.registry_mnc,
        routing_number=route.routing_number,
        region=region_message(route.region),
        line_type=pb.LineType.Name(route.line_type),
        status=pb.Status.Name(route.status) if with_status else None,
        overridden=route.overridden,
    )


def route_value(message: pb.Route, *, status: Status | None = None) -> Route:
    """Return a route message as a value; ``status`` is given where the message has none.

    An enum value that this program does not know, from a newer service, raises ``ValueError``.
    """
    return Route(
        status=Status(message.status) if status is None else status,
        operator=operator_value(message.operator),
        mcc=message.mcc,
        mnc=message.mnc,
        registry_mnc=message.registry_mnc,
        routing_number=message.routing_number,
        region=Region(code=message.region.code, name=message.region.name),
        line_type=LineType(message.line_type),
        overridden=message.overridden,
    )


def operator_message(operator: Operator) -> pb.Operator:
    """Return an operator as a message; empty where none is named."""
    return pb.Operator(
        code=operator.code,
        name=operator.name,
        brand=operator.brand,
        tax_number=operator.tax_number,
    )


def region_message(region: Region) -> pb.Region:
    """Return a region as a message; empty where none is named."""
    return pb.Region(code=region.code, name=region.name)


def operator_value(message: pb.Operator) -> Operator:
    """Return an operator message as a value."""
    return Operator(
        code=message.code,
        name=message.name,
        brand=message.brand,
        tax_number=message.tax_number,
    )


def answer_message(answer: Answer) -> pb.LookupAnswer:
    """Return a row answer as a message; the snapshot is given once for all rows."""
    return pb.LookupAnswer(
        input=answer.input,
        number=answer.number,
        status=pb.Status.Name(answer.status),
        invalid_reason=pb.InvalidReason.Name(answer.invalid_reason),
        route=None if answer.route is None else route_message(answer.route, with_status=False),
        ported_at=None if answer.ported_at is None else time_message(answer.ported_at),
        range_holder=None if answer.range_holder is None else operator_message(answer.range_holder),
    )


def answer_value(message: pb.LookupAnswer, ref: SnapshotRef) -> Answer:
    """Return a row answer's message as a value; an unknown enum value raises ``ValueError``."""
    status = Status(message.status)
    return Answer(
        input=message.input,
        number=message.number,
        status=status,
        snapshot=ref,
        invalid_reason=InvalidReason(message.invalid_reason),
        route=route_value(message.route, status=status) if message.HasField("route") else None,
        ported_at=time_value(message.ported_at) if message.HasField("ported_at") else None,
        range_holder=operator_value(message.range_holder)
        if message.HasField("range_holder")
        else None,
    )


def explanation_message(explanation: Explanation) -> pb.ExplainResponse:
    """Return an explanation as a message."""
    route, ref = explanation.route, explanation.snapshot
    return pb.ExplainResponse(
        input=explanation.input,
        number=explanation.number,
        status=pb.Status.Name(explanation.status),
        invalid_reason=pb.InvalidReason.Name(explanation.invalid_reason),
        decided_by=_LAYER_VALUES[explanation.decided_by],
        route=None if route is None else route_message(route, with_status=False),
        layers=[_layer_message(layer) for layer in explanation.layers],
        snapshot=None if ref is None else snapshot_ref_message(ref),
    )


def explanation_value(message: pb.ExplainResponse) -> Explanation:
    """Return an explanation's message as a value.

    Raises:
        KeyError: The name of a layer is unknown.
        ValueError: Another enum value is unknown.
    """
    status = Status(message.status)
    return Explanation(
        input=message.input,
        number=message.number,
        status=status,
        invalid_reason=InvalidReason(message.invalid_reason),
        decided_by=LAYER_NAMES[message.decided_by],
        route=route_value(message.route, status=status) if message.HasField("route") else None,
        layers=tuple(map(_layer_value, message.layers)),
        snapshot=snapshot_ref_value(message.snapshot),
    )


def _layer_message(layer: Layer) -> pb.Layer:
    return pb.Layer(
        name=_LAYER_VALUES[layer.name],
        decides=layer.decides,
        route=None if layer.route is None else route_message(layer.route, with_status=True),
        sources=source_messages(layer.sources),
        first=layer.first or 0,
        last=layer.last or 0,
        ported_at=None if layer.ported_at is None else time_message(layer.ported_at),
        donor=None if layer.donor is None else operator_message(layer.donor),
        override=pb.Override(
            reason=layer.reason,
            author=layer.author,
            expires_at=None if layer.expires is None else time_message(layer.expires),
        )
        if _LAYER_VALUES[layer.name] == pb.LAYER_NAME_OVERRIDE
        else None,
    )


def _layer_value(message: pb.Layer) -> Layer:
    override = message.override
    bounded = message.name in {pb.LAYER_NAME_OVERRIDE, pb.LAYER_NAME_RANGE}
    return Layer(
        name=LAYER_NAMES[message.name],
        decides=message.decides,
        route=route_value(message.route) if message.HasField("route") else None,
        sources=source_values(message.sources),
        first=message.first if bounded else None,
        last=message.last or None,
        ported_at=time_value(message.ported_at) if message.HasField("ported_at") else None,
        donor=operator_value(message.donor) if message.HasField("donor") else None,
        reason=override.reason,
        author=override.author,
        expires=time_value(override.expires_at) if override.HasField("expires_at") else None,
    )


def source_messages(sources: Iterable[Source]) -> list[pb.Source]:
    """Return the files of a snapshot as messages."""
    return [pb.Source(**dataclasses.asdict(source)) for source in sources]


def source_values(messages: Iterable[pb.Source]) -> tuple[Source, ...]:
    """Return the messages of a snapshot's files as values."""
    sources = [_flat_value(Source, message) for message in messages]
    return tuple(dataclasses.replace(each, sequence=each.sequence or None) for each in sources)


def changes_message(changes: Changes | None) -> pb.SnapshotChanges | None:
    """Return what a snapshot changed as a message; None when it does not record that."""
    return None if changes is None else pb.SnapshotChanges(**dataclasses.asdict(changes))


def changes_value(message: pb.SnapshotChanges) -> Changes:
    """Return the message of what a snapshot changed as a value."""
    return _flat_value(Changes, message)


def coverage_messages(coverage: Iterable[Coverage]) -> list[pb.Coverage]:
    """Return the coverage of a snapshot as messages."""
    return [pb.Coverage(**dataclasses.asdict(block)) for block in coverage]


def coverage_values(messages: Iterable[pb.Coverage]) -> tuple[Coverage, ...]:
    """Return the messages of a snapshot's coverage as values."""
    return tuple(_flat_value(Coverage, message) for message in messages)


def _flat_value(kind: type[ValueT], message: Message) -> ValueT:
    """Return a message as a value that has the same fields, all of them numbers and texts."""
    return kind(**{name: getattr(message, name) for name in message.DESCRIPTOR.fields_by_name})


def snapshot_ref_message(ref: SnapshotRef) -> pb.SnapshotRef:
    """Return a snapshot reference as a message."""
    return pb.SnapshotRef(id=ref.id, as_of=time_message(ref.as_of), stale=ref.stale)


def snapshot_ref_value(message: pb.SnapshotRef) -> SnapshotRef:
    """Return a snapshot reference message as a value."""
    return SnapshotRef(id=message.id, as_of=time_value(message.as_of), stale=message.stale)


def time_message(time: datetime) -> Timestamp:
    """Return an aware time as a message."""
    message = Timestamp()
    message.FromDatetime(time)
    return message


def time_value(message: Timestamp) -> datetime:
    """Return a time message as an aware time in UTC."""
    return message.ToDatetime(tzinfo=timezone.utc)


@functools.lru_cache(HEADS_KEPT_MAX)
def _head(field_number: int, length: int) -> bytes:
    """Return the tag and the length that stand before a length-delimited field's bytes."""
    return _varint(field_number << 3 | _LENGTH_DELIMITED) + _varint(length)


def _read_varint(data: bytes, begin: int) -> tuple[int, int]:
    """Return the number that begins at ``begin`` and where it ends; (0, 0) when it does not end.

    At most 32 bits are read: no length field of a message holds more.
    """
    value = 0
    for place, byte in enumerate(data[begin : begin + _SHORT_VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (_VARINT_BITS * place)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that another byte follows
            return value, begin + place + 1
    return 0, 0


def _varint(value: int) -> bytes:
    """Return an unsigned integer in protobuf's base-128 form, least significant group first."""
    groups = bytearray()
    while value >> _VARINT_BITS:
        groups.append(value & 0x7F | 0x80)
        value >>= _VARINT_BITS
    groups.append(value)
    return bytes(groups)
