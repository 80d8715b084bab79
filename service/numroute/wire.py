"""The one place that knows how numroute's values become protobuf messages and back.

Columns are written and read without touching single numbers: a packed ``fixed32`` or ``fixed64``
field is, on the wire, its tag, its length in bytes and the little-endian array itself (Protocol
Buffers encoding specification, "Packed Repeated Fields"), and ``numpy.asarray`` of a parsed packed
field is one copy in protobuf's upb implementation. Building the same field from a list costs
20 to 60 ns per number. Because concatenated messages merge, hand-written columns and ordinarily
serialised parts of one message may simply follow each other.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from numroute import model
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
    number: name.removeprefix("LAYER_NAME_").replace("_", " ").lower()
    for name, number in pb.LayerName.items()
    if number
}
"""The contract's names of layers, and the index's."""

_LAYER_VALUES = {name: number for number, name in LAYER_NAMES.items()}

MESSAGES: dict[type, Any] = {
    model.Answer: pb.LookupAnswer,
    model.Changes: pb.SnapshotChanges,
    model.Coverage: pb.Coverage,
    model.Explanation: pb.ExplainResponse,
    model.Layer: pb.Layer,
    model.Network: pb.Network,
    model.Operator: pb.Operator,
    model.OperatorInfo: pb.OperatorEntry,
    model.Region: pb.Region,
    model.Route: pb.Route,
    model.SnapshotInfo: pb.GetSnapshotResponse,
    model.SnapshotNews: pb.WatchSnapshotsResponse,
    model.SnapshotRef: pb.SnapshotRef,
    model.Source: pb.Source,
}
"""The values of the model and their messages. Their fields have the same names."""

_REQUIRED = {
    kind: {
        each.name
        for each in inspect.signature(kind).parameters.values()
        if each.default is each.empty
    }
    for kind in MESSAGES
}
"""Their fields without a default."""

_KINDS: dict[Any, Any] = {kind.DESCRIPTOR: value for value, kind in MESSAGES.items()}

# A look-up takes a tenth of the time of the enum's own.
INVALID_REASONS = {int(reason): reason for reason in model.InvalidReason}
LINE_TYPES = {int(line_type): line_type for line_type in model.LineType}
STATUSES = {int(status): status for status in model.Status}

_ENUMS: dict[Any, Any] = {
    pb.InvalidReason.DESCRIPTOR: INVALID_REASONS,
    pb.LayerName.DESCRIPTOR: LAYER_NAMES,
    pb.LineType.DESCRIPTOR: LINE_TYPES,
    pb.Status.DESCRIPTOR: STATUSES,
}

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

ROUTES_KEPT_MAX = 4_096
"""Routes of rows, and range holders, that are kept as messages: rows repeat a few hundred."""

_LENGTH_DELIMITED = 2
_VARINT_BITS = 7
_SHORT_VARINT_BYTES_MAX = 5


def method_path(name: str) -> str:
    """Return the path of one of the service's methods, e.g. for ``BulkLookup``."""
    return f"/{SERVICE_NAME}/{name}"


def retry_hint(seconds: float, left: float | None) -> tuple[tuple[str, str], ...]:
    """Return the trailing metadata that say when, in seconds, a refused call may be sent again.

    A wait that outlasts the call, which has ``left`` seconds or no deadline, is stated, but gRPC
    must not retry: it would wait for the deadline and hide the refusal behind it.
    """
    milliseconds = str(math.ceil(seconds * 1e3))
    in_time = seconds < (PUSHBACK_SECONDS_MAX if left is None else left)
    return (RETRY_AFTER_KEY, milliseconds), (PUSHBACK_KEY, milliseconds if in_time else "-1")


def packed_field(
    field_number: int, values: NDArray[np.unsignedinteger]
) -> tuple[bytes, bytes | memoryview]:
    """Return a packed fixed-width field as its head (tag and length) and a view of its values.

    They are for ``bytes.join``, and both empty for an empty array. The values are unsigned[n] in
    the field's own type, ``FIXED32`` or ``FIXED64``.
    """
    if not values.size:
        return b"", b""
    return _head(field_number, values.nbytes), np.ascontiguousarray(values).data


def message_field(field_number: int, message: bytes) -> bytes:
    """Return a serialised message as a field of the message that it stands in."""
    return _head(field_number, len(message)) + message


def bulk_request(
    numbers: NDArray[np.uint64],
    snapshot_id: str = "",
    /,
    *,
    with_range_holder: bool,
    with_ported_at: bool,
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

    The numbers are uint64[n], read-only and seldom aligned; the message's own may be empty.
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


def message(value: Any) -> Any:  # noqa: ANN401 - of any of the pairs above
    """Return a value of the model as the message of the same fields; None for None.

    A row's route is written without its status, which the row itself has.
    """
    if value is None:
        return None
    if isinstance(value, model.Operator):
        return pb.Operator(
            code=value.code, name=value.name, brand=value.brand, tax_number=value.tax_number
        )
    if isinstance(value, model.Route):
        return _route_message(value)
    if isinstance(value, model.Answer):
        return _answer_message(value)
    kind = MESSAGES[type(value)]
    fields = {}
    for name in kind.DESCRIPTOR.fields_by_name:
        content = getattr(value, name, None)
        write = _WRITERS.get(type(content))
        fields[name] = content if write is None else write(content)
    if isinstance(value, model.Layer):
        fields["name"] = _LAYER_VALUES[value.name]
        if value.name == LAYER_NAMES[pb.LAYER_NAME_OVERRIDE]:
            expires = None if value.expires is None else time_message(value.expires)
            override = pb.Override(reason=value.reason, author=value.author, expires_at=expires)
            fields["override"] = override
    elif isinstance(value, model.Explanation):
        fields["decided_by"] = _LAYER_VALUES[value.decided_by]
        if value.route is not None:
            fields["route"] = _row_route(value.route)
    return kind(**fields)


def _route_message(route: model.Route) -> pb.Route:
    return pb.Route(
        operator=message(route.operator),
        mcc=route.mcc,
        mnc=route.mnc,
        registry_mnc=route.registry_mnc,
        routing_number=route.routing_number,
        region=pb.Region(code=route.region.code, name=route.region.name),
        # The enums' values are the contract's; their types are not.
        line_type=route.line_type,  # type: ignore[arg-type]
        status=route.status,  # type: ignore[arg-type]
        overridden=route.overridden,
    )


def _answer_message(answer: model.Answer) -> pb.LookupAnswer:
    return pb.LookupAnswer(
        input=answer.input,
        number=answer.number,
        status=answer.status,  # type: ignore[arg-type]
        invalid_reason=answer.invalid_reason,  # type: ignore[arg-type]
        route=None if answer.route is None else _row_route(answer.route),
        ported_at=None if answer.ported_at is None else time_message(answer.ported_at),
        range_holder=_row_holder(answer.range_holder),
    )


@functools.lru_cache(ROUTES_KEPT_MAX)
def _row_route(route: model.Route) -> pb.Route:
    """Return a row's route as a message, not to be changed."""
    found: pb.Route = message(route)
    found.ClearField("status")
    return found


def value(kind: type[ValueT], message: Any, **known: Any) -> ValueT:  # noqa: ANN401 - likewise
    """Return a message as the value with the same fields; ``known`` are further ones.

    An enum value that this program does not know, from a newer service, raises KeyError.
    """
    direct: Callable[..., ValueT] | None = _DIRECT.get(kind)
    if direct is not None:
        return direct(message, **known)
    if kind is model.Explanation and message.HasField("route"):
        message.route.status = message.status
    elif kind is model.Layer:
        override = message.override
        known |= {"reason": override.reason, "author": override.author}
        if override.HasField("expires_at"):
            known["expires"] = time_value(override.expires_at)
        if message.name in {pb.LAYER_NAME_OVERRIDE, pb.LAYER_NAME_RANGE}:
            known["first"] = message.first
    for field, content in message.ListFields():
        if field.name not in known and field.name != "override":
            known[field.name] = _read(field, content)
    for name in _REQUIRED[kind] - known.keys():
        # What a message leaves out is zero or empty.
        known[name] = _read(message.DESCRIPTOR.fields_by_name[name], getattr(message, name))
    return kind(**known)


def _operator_value(message: pb.Operator) -> model.Operator:
    return model.Operator(
        code=message.code, name=message.name, brand=message.brand, tax_number=message.tax_number
    )


def _route_value(message: pb.Route, status: model.Status | None = None) -> model.Route:
    return model.Route(
        status=STATUSES[message.status] if status is None else status,
        operator=_operator_value(message.operator),
        mcc=message.mcc,
        mnc=message.mnc,
        registry_mnc=message.registry_mnc,
        routing_number=message.routing_number,
        region=model.Region(code=message.region.code, name=message.region.name),
        line_type=LINE_TYPES[message.line_type],
        overridden=message.overridden,
    )


_DIRECT: dict[Any, Any] = {model.Operator: _operator_value, model.Route: _route_value}
"""How the values are read of which an answer has thousands, in less than half of the time."""


def _read(field: Any, content: Any) -> Any:  # noqa: ANN401 - likewise
    if field.enum_type is not None:
        return _ENUMS[field.enum_type][content]
    if field.message_type is None:
        return content
    if isinstance(content, Timestamp):
        return time_value(content)
    if isinstance(content, Message):
        return value(_KINDS[content.DESCRIPTOR], content)
    if isinstance(content, Mapping):
        return dict(content)
    return tuple(value(_KINDS[field.message_type], each) for each in content)


def time_message(time: datetime) -> Timestamp:
    """Return an aware time as a message."""
    message = Timestamp()
    message.FromDatetime(time)
    return message


def time_value(message: Timestamp) -> datetime:
    """Return a time message as an aware time in UTC."""
    return message.ToDatetime(tzinfo=timezone.utc)


_row_holder = functools.lru_cache(ROUTES_KEPT_MAX)(message)

_WRITERS: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys(MESSAGES, message),
    datetime: time_message,
    tuple: functools.partial(map, message),
}
"""What becomes of a field's content that is no number or text."""


@functools.lru_cache
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
