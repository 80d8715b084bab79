"""The requests and responses of every method; those of bulk lookups as columns.

Arguments are checked before anything is sent, and responses before anything is answered.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from numroute import wire
from numroute.errors import ServiceError
from numroute.model import Answer, Operator, OperatorInfo, Route, SnapshotRef
from numroute.v1 import number_routing_pb2 as pb

ValueT = TypeVar("ValueT")

_ROUTE_INDEXES = pb.BulkLookupResponse.ROUTE_INDEXES_FIELD_NUMBER

VALUES_KEPT_MAX = 100_000
"""How many different routes and how many operators a client keeps decoded; 50 MB of routes."""

_SNAPSHOTS_KEPT_MAX = 64
"""How many references to snapshots are kept decoded: answers name one, or a few replicas'."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BulkAnswer:
    """The answers to a batch of n numbers, in its order, all from one snapshot.

    Attributes:
        route_index: uint32[n], for each number its place in ``routes``.
        routes: The distinct routes; a route carries the status of its numbers.
        ported_at: uint32[n], seconds since 1970-01-01 UTC, 0 where the number is not ported or
            the time is not known; None when not asked for.
        range_holder_index: uint32[n], places in ``range_holders``; None when not asked for.
        range_holders: The distinct range holders; an empty operator stands for "nobody".
    """

    route_index: NDArray[np.uint32]
    routes: tuple[Route, ...]
    snapshot: SnapshotRef
    ported_at: NDArray[np.uint32] | None = None
    range_holder_index: NDArray[np.uint32] | None = None
    range_holders: tuple[Operator, ...] = ()


def as_numbers(numbers: NDArray[Any] | Sequence[int]) -> NDArray[np.uint64]:
    """Return the caller's numbers as uint64[n]; TypeError or ValueError for others."""
    array = np.asarray(numbers)
    if not array.ndim and not isinstance(numbers, int | np.integer | np.ndarray):
        raise TypeError(f"numbers must be integers, not {type(numbers).__name__}")
    if array.ndim != 1:
        hint = "" if array.ndim else ": for one number give [number]"
        raise ValueError(f"numbers must have one dimension, not {array.ndim}{hint}")
    if not array.size:
        return np.empty(0, np.uint64)
    if array.dtype.kind in "fO" and all(isinstance(number, int) for number in numbers):
        # So numpy reads a list in which some integers have more than 63 bits.
        try:
            array = np.array(numbers, np.uint64)
        except OverflowError:
            # numpy's own message quotes the number.
            raise ValueError("numbers must be from 0 to 2^64 - 1; some are not") from None
    if array.dtype.kind not in "ui":
        raise TypeError(f"numbers must be integers, not {array.dtype}")
    if array.dtype.kind == "i" and array.min() < 0:
        first = int((array < 0).argmax())
        raise ValueError(f"numbers must not be negative; the one at position {first} is")
    return np.ascontiguousarray(array, np.uint64)


def as_number(number: int | np.integer[Any]) -> int:
    """Return the caller's number as an int; TypeError or ValueError for others."""
    if isinstance(number, bool):
        raise TypeError("numbers must be integers, not bool")
    if not 0 <= number < 2**64:
        raise ValueError("numbers must be from 0 to 2^64 - 1; this one is not")
    return int(number)


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    """Raise ServiceError where a response cannot be decoded."""
    try:
        yield
    except (DecodeError, KeyError, ValueError):
        raise not_understood(
            "it is not well-formed, or a value in it is unknown to this client"
        ) from None


@_decoding()
def bulk_response(
    data: bytes, count: int, /, *, with_range_holder: bool, with_ported_at: bool
) -> tuple[SnapshotRef, BulkAnswer]:
    """Return the snapshot and the answer of a ``BulkLookupResponse`` to ``count`` numbers.

    ``route_index`` may be a view of the response.
    """
    indexes, begin = wire.leading_column(data, _ROUTE_INDEXES, wire.FIXED32)
    columns = _BulkColumns.FromString(data[begin:])
    if columns.route_indexes:
        columns = _BulkColumns.FromString(data)
        indexes = np.asarray(columns.route_indexes, wire.FIXED32)
    holder_indexes = np.asarray(columns.range_holder_indexes, np.uint32)
    ported_at = np.asarray(columns.ported_at, np.uint32)
    expected = (count, count if with_range_holder else 0, count if with_ported_at else 0)
    actual = (len(indexes), len(holder_indexes), len(ported_at))
    if actual != expected:
        raise not_understood(f"its columns have {actual} entries, not {expected}")
    for places, values in ((indexes, columns.routes), (holder_indexes, columns.range_holders)):
        if places.size and int(places.max()) >= len(values):
            raise not_understood("an index in it points to nothing")
    ref = _snapshot_ref(columns.snapshot)
    return ref, BulkAnswer(
        route_index=indexes.astype(np.uint32, copy=False),
        routes=tuple(map(route, columns.routes)),
        snapshot=ref,
        ported_at=ported_at if with_ported_at else None,
        range_holder_index=holder_indexes if with_range_holder else None,
        range_holders=tuple(map(operator, columns.range_holders)),
    )


@_decoding()
def decoded(kind: type[ValueT], data: bytes) -> ValueT:
    """Return a serialised message as the value of a kind; ServiceError when it is malformed."""
    return wire.value(kind, wire.MESSAGES[kind].FromString(data))


_snapshot_ref = functools.lru_cache(_SNAPSHOTS_KEPT_MAX)(functools.partial(decoded, SnapshotRef))

route = functools.lru_cache(VALUES_KEPT_MAX)(functools.partial(decoded, Route))
"""Returns a serialised route as a value."""

operator = functools.lru_cache(VALUES_KEPT_MAX)(functools.partial(decoded, Operator))
"""Returns a serialised operator as a value."""


def as_texts(texts: Iterable[str]) -> list[str]:
    """Return the caller's texts as a list; TypeError or ValueError for others."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError("give a sequence of texts, e.g. [text] for one")
    listed = list(texts)
    for position, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f"the entry at position {position} is not a text")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the text at position {position} is not valid Unicode") from None
    return listed


def text_options(default_region: str | None, as_of: datetime | None) -> dict[str, Any]:
    """Return the fields of a question about texts; TypeError or ValueError for other values."""
    if default_region is not None and not isinstance(default_region, str):
        # protobuf would quote it.
        raise TypeError(
            f"default_region must be a text, e.g. 'RU', not {type(default_region).__name__}"
        )
    if as_of is None:
        return {"default_region": default_region}
    if not isinstance(as_of, datetime):
        raise TypeError(f"as_of must be a datetime with its time zone, not {type(as_of).__name__}")
    if as_of.tzinfo is None:
        raise ValueError("as_of has no time zone: give an aware time")
    return {"default_region": default_region, "as_of": wire.time_message(as_of)}


@_decoding()
def lookup_response(data: bytes, count: int) -> tuple[SnapshotRef, list[Answer]]:
    """Return the snapshot and the answers of a serialised ``LookupResponse`` to ``count`` texts."""
    message = pb.LookupResponse.FromString(data)
    ref = wire.value(SnapshotRef, message.snapshot)
    if len(message.answers) != count:
        raise not_understood(f"it has {len(message.answers)} answers to {count} texts")
    return ref, [_answer(answer, ref) for answer in message.answers]


def _answer(message: pb.LookupAnswer, ref: SnapshotRef) -> Answer:
    """Return a row answer; its route and its range holder are most often decoded already."""
    if message.HasField("route"):
        message.route.status = message.status
    return Answer(
        input=message.input,
        number=message.number,
        status=wire.STATUSES[message.status],
        snapshot=ref,
        invalid_reason=wire.INVALID_REASONS[message.invalid_reason],
        route=route(message.route.SerializeToString()) if message.HasField("route") else None,
        ported_at=wire.time_value(message.ported_at) if message.HasField("ported_at") else None,
        range_holder=operator(message.range_holder.SerializeToString())
        if message.HasField("range_holder")
        else None,
    )


@_decoding()
def operators_response(data: bytes) -> list[OperatorInfo]:
    """Return the operators of a serialised ``ListOperatorsResponse``."""
    entries = pb.ListOperatorsResponse.FromString(data).operators
    return [wire.value(OperatorInfo, entry) for entry in entries]


def explain_request(text: str, default_region: str | None, as_of: datetime | None) -> bytes:
    """Return a serialised ``ExplainRequest``."""
    (checked,) = as_texts([text])
    options = text_options(default_region, as_of)
    return pb.ExplainRequest(number=checked, **options).SerializeToString()


def not_understood(reason: str) -> ServiceError:
    """Return the error of a response that this client cannot read."""
    return ServiceError(
        f"the service's answer cannot be understood: {reason}",
        code="INTERNAL",
        hint="Use the same numroute version on both sides",
    )


def _bulk_columns_class() -> type[Any]:
    """Return a message class for ``BulkLookupResponse`` that leaves routes and operators unparsed.

    It declares message fields as ``bytes``, which is compatible on the wire (Protocol Buffers
    language guide, "Updating A Message Type"). Most routes of a response are known from the last
    one, and comparing bytes is ten times cheaper than parsing.
    """
    message = descriptor_pb2.DescriptorProto()
    pb.BulkLookupResponse.DESCRIPTOR.CopyToProto(message)
    for field in message.field:
        if field.type == descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE:
            field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
            field.ClearField("type_name")
    file = descriptor_pb2.FileDescriptorProto(
        name="numroute/client/columns.proto",
        package="numroute.client",
        syntax="proto3",
        message_type=[message],
    )
    return message_factory.GetMessages([file])[f"{file.package}.{message.name}"]


_BulkColumns = _bulk_columns_class()
