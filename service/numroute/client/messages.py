"""Requests and responses of ``Lookup`` and ``GetSnapshot``: a message per answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from numroute import wire
from numroute.client.answers import SnapshotInfo, SourceInfo
from numroute.client.codec import not_understood
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.model import Answer, SnapshotRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The response to one ``Lookup``."""

    snapshot: SnapshotRef
    answers: list[Answer]


def as_texts(texts: Iterable[str]) -> list[str]:
    """Return the caller's texts as a list.

    Raises:
        TypeError: It is one text, or something in it is no text.
        ValueError: A text is not valid Unicode.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError("give a sequence of texts, e.g. [text] for one")
    listed = list(texts)
    for position, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f"the entry at position {position} is no text")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the text at position {position} is not valid Unicode") from None
    return listed


def lookup_request(texts: Sequence[str], default_region: str | None) -> bytes:
    """Return a serialised ``LookupRequest``."""
    return pb.LookupRequest(numbers=texts, default_region=default_region).SerializeToString()


def lookup_response(data: bytes, count: int) -> Answers:
    """Return the answers of a serialised ``LookupResponse``; ServiceError when it is not one."""
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


def snapshot_request() -> bytes:
    """Return a serialised ``GetSnapshotRequest``."""
    return pb.GetSnapshotRequest().SerializeToString()


def snapshot_response(data: bytes) -> SnapshotInfo:
    """Return what a serialised ``GetSnapshotResponse`` says; ServiceError when it is not one."""
    try:
        message = pb.GetSnapshotResponse.FromString(data)
    except DecodeError:
        raise not_understood("it is not a well-formed message") from None
    return SnapshotInfo(
        snapshot=wire.snapshot_ref_value(message.snapshot),
        built_at=wire.time_value(message.built_at),
        age_seconds=message.age_seconds,
        format_version=message.format_version,
        sources=tuple(
            SourceInfo(
                name=source.name,
                registry=source.registry,
                kind=source.kind,
                sequence=source.sequence,
                rows=source.rows,
                sha256=source.sha256,
            )
            for source in message.sources
        ),
        counts=dict(message.counts),
    )
