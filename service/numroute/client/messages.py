"""The requests and responses of every method but the bulk ones, which have columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, Message

from numroute import wire
from numroute.client.codec import not_understood
from numroute.model import OperatorInfo, SnapshotInfo, SnapshotNews
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from numroute.model import Answer, Explanation, SnapshotRef

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The response to one ``Lookup``."""

    snapshot: SnapshotRef
    answers: list[Answer]


def as_texts(texts: Iterable[str]) -> list[str]:
    """Return the caller's texts as a list.

    Raises:
        TypeError: It is a single text, or an entry is not a text.
        ValueError: A text is not valid Unicode.
    """
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


def lookup_request(
    texts: Sequence[str],
    default_region: str | None,
    as_of: datetime | None,
    snapshot_id: str = "",
) -> bytes:
    """Return a serialised ``LookupRequest``.

    Raises:
        TypeError: ``default_region`` is not a text, or ``as_of`` not a time.
        ValueError: ``as_of`` has no time zone.
    """
    return pb.LookupRequest(
        numbers=texts,
        default_region=_region(default_region),
        as_of=_time(as_of),
        snapshot_id=snapshot_id,
    ).SerializeToString()


def lookup_response(data: bytes, count: int) -> Answers:
    """Return the answers of a serialised ``LookupResponse``; ServiceError when it is malformed."""
    try:
        message = pb.LookupResponse.FromString(data)
        ref = wire.snapshot_ref_value(message.snapshot)
        answers = [wire.answer_value(each, ref) for each in message.answers]
    except (DecodeError, ValueError):
        raise not_understood(
            "it is malformed, or a value in it is unknown to this client"
        ) from None
    if len(answers) != count:
        raise not_understood(f"it has {len(answers)} answers to {count} texts")
    return Answers(snapshot=ref, answers=answers)


def snapshot_response(data: bytes) -> SnapshotInfo:
    """Return a serialised ``GetSnapshotResponse`` as a value; ServiceError when it is malformed."""
    message = _parsed(pb.GetSnapshotResponse, data)
    return SnapshotInfo(
        snapshot=wire.snapshot_ref_value(message.snapshot),
        built_at=wire.time_value(message.built_at),
        age_seconds=message.age_seconds,
        format_version=message.format_version,
        sources=wire.source_values(message.sources),
        counts=dict(message.counts),
        changes=wire.changes_value(message.changes) if message.HasField("changes") else None,
        preferred_numbers_per_call=message.preferred_numbers_per_call,
        coverage=wire.coverage_values(message.coverage),
    )


def watch_response(data: bytes) -> SnapshotNews:
    """Return a serialised ``WatchSnapshotsResponse`` as a value, or raise ServiceError."""
    message = _parsed(pb.WatchSnapshotsResponse, data)
    return SnapshotNews(
        snapshot=wire.snapshot_ref_value(message.snapshot),
        built_at=wire.time_value(message.built_at),
        counts=dict(message.counts),
        changes=wire.changes_value(message.changes) if message.HasField("changes") else None,
    )


def operators_response(data: bytes) -> list[OperatorInfo]:
    """Return the operators of a serialised ``ListOperatorsResponse``."""
    message = _parsed(pb.ListOperatorsResponse, data)
    return [
        OperatorInfo(
            operator=wire.operator_value(entry.operator),
            networks=tuple((network.mcc, network.mnc) for network in entry.networks),
            serves_ported_numbers=entry.serves_ported_numbers,
            holds_ranges=entry.holds_ranges,
        )
        for entry in message.operators
    ]


def explain_request(text: str, default_region: str | None, as_of: datetime | None) -> bytes:
    """Return a serialised ``ExplainRequest``.

    Raises:
        TypeError: ``text`` or ``default_region`` is not a text, or ``as_of`` not a time.
        ValueError: It is not valid Unicode, or ``as_of`` has no time zone.
    """
    (checked,) = as_texts([text])
    return pb.ExplainRequest(
        number=checked, default_region=_region(default_region), as_of=_time(as_of)
    ).SerializeToString()


def explain_response(data: bytes) -> Explanation:
    """Return a serialised ``ExplainResponse`` as a value; ServiceError when it is malformed."""
    try:
        return wire.explanation_value(pb.ExplainResponse.FromString(data))
    except (DecodeError, KeyError, ValueError):
        raise not_understood(
            "it is malformed, or a value in it is unknown to this client"
        ) from None


def _parsed(kind: type[MessageT], data: bytes) -> MessageT:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise not_understood("it is not a well-formed message") from None


def _region(region: str | None) -> str | None:
    if region is not None and not isinstance(region, str):
        raise TypeError(f"default_region must be a text, e.g. 'RU', not {type(region).__name__}")
    return region


def _time(as_of: datetime | None) -> Timestamp | None:
    if as_of is None:
        return None
    if not isinstance(as_of, datetime):
        raise TypeError(f"as_of must be a datetime with its time zone, not {type(as_of).__name__}")
    if as_of.tzinfo is None:
        raise ValueError("as_of has no time zone: give an aware time")
    return wire.time_message(as_of)
