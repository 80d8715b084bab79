"""Hostile HTTP/2: frames and conversations that no client of ours would send."""

from __future__ import annotations

import contextlib
import random
import socket
import struct

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from support.servers import Server

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SERVICE = "/numroute.v1.NumberRouting"


def connect(server: Server) -> socket.socket:
    """Return a connection to the service's port."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def attack(server: Server, *pieces: bytes, wait: float = 0.1) -> bytes:
    """Send pieces over a connection of their own; return what comes back until it ends."""
    answer = b""
    with connect(server) as connection, contextlib.suppress(OSError):
        for piece in pieces:
            connection.sendall(piece)
        connection.settimeout(wait)
        while block := connection.recv(65_536):
            answer += block
    return answer


def frame(kind: type, stream: int = 0, **fields: object) -> bytes:
    """Return a serialised frame; ``flags`` are set, other fields given to its class."""
    flags = fields.pop("flags", ())
    made = kind(stream, **fields)
    for flag in flags:
        made.flags.add(flag)
    serialised: bytes = made.serialize()
    return serialised


def raw_frame(kind: int, flags: int, stream: int, body: bytes, length: int | None = None) -> bytes:
    """Return a frame with any header, a lying length too."""
    size = len(body) if length is None else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream) + body


def headers(path: str = f"{SERVICE}/GetSnapshot", *more: tuple[str, str]) -> bytes:
    """Return the header block of a call."""
    block: bytes = Encoder().encode(
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "x"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *more,
        ],
        huffman=False,
    )
    return block


OPENING = PREFACE + frame(SettingsFrame)
CALL = frame(HeadersFrame, 1, data=headers(), flags=["END_HEADERS"])


def garbage_before_the_preface() -> list[bytes]:
    return [random.Random(1).randbytes(4_096), OPENING]


def http_1() -> list[bytes]:
    return [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 50]


def tls_to_plaintext() -> list[bytes]:
    return [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)]


def frame_longer_than_allowed() -> list[bytes]:
    return [OPENING, raw_frame(0, 0, 1, b"x" * 100, length=0xFFFFFF)]


def unknown_frames() -> list[bytes]:
    return [OPENING, *(raw_frame(kind, 0xFF, 0x7FFFFFFF, b"y" * 40) for kind in range(10, 250))]


def settings_flood() -> list[bytes]:
    return [OPENING, frame(SettingsFrame, settings={4: 65_535, 1: 0}) * 5_000]


def wrong_settings() -> list[bytes]:
    return [OPENING, raw_frame(4, 0, 0, b"\x00\x04\xff\xff\xff\xff" * 100)]


def ping_flood() -> list[bytes]:
    return [OPENING, frame(PingFrame, opaque_data=b"12345678") * 10_000]


def rapid_reset() -> list[bytes]:
    pairs = (
        frame(HeadersFrame, stream, data=headers(), flags=["END_HEADERS"])
        + frame(RstStreamFrame, stream, error_code=8)
        for stream in range(1, 6_001, 2)
    )
    return [OPENING, *pairs]


def continuation_flood() -> list[bytes]:
    piece = frame(ContinuationFrame, 1, data=b"\x00\x01a" + b"\x7f\x81\x1f" + b"b" * 16_000)
    return [OPENING, frame(HeadersFrame, 1, data=headers()), *[piece] * 500]


def empty_continuations() -> list[bytes]:
    return [
        OPENING,
        frame(HeadersFrame, 1, data=headers()),
        frame(ContinuationFrame, 1, data=b"") * 20_000,
    ]


def oversized_metadata() -> list[bytes]:
    block = headers(f"{SERVICE}/GetSnapshot", ("x-long", "a" * 60_000))
    first, rest = block[:16_000], block[16_000:]
    pieces = [rest[i : i + 16_000] for i in range(0, len(rest), 16_000)]
    return [
        OPENING,
        frame(HeadersFrame, 1, data=first),
        *(frame(ContinuationFrame, 1, data=piece) for piece in pieces[:-1]),
        frame(ContinuationFrame, 1, data=pieces[-1], flags=["END_HEADERS"]),
    ]


def header_bomb() -> list[bytes]:
    # One entry of 4 KB in the table, referred to by single bytes ever after.
    entry = b"\x40\x01a\x7f\x81\x1f" + b"b" * 4_000
    return [
        OPENING,
        frame(HeadersFrame, 1, data=headers() + entry + b"\xbe" * 12_000, flags=["END_HEADERS"]),
    ]


def broken_header_block() -> list[bytes]:
    return [OPENING, frame(HeadersFrame, 1, data=b"\xff" * 200, flags=["END_HEADERS"])]


def data_without_a_call() -> list[bytes]:
    return [OPENING, frame(DataFrame, 77, data=b"z" * 10_000) * 20]


def message_longer_than_the_limit() -> list[bytes]:
    return [OPENING, CALL, frame(DataFrame, 1, data=b"\x00\xff\xff\xff\xff" + b"z" * 10_000)]


def compressed_without_saying_how() -> list[bytes]:
    return [
        OPENING,
        CALL,
        frame(DataFrame, 1, data=b"\x01\x00\x00\x00\x04abcd", flags=["END_STREAM"]),
    ]


def end_in_the_middle_of_a_message() -> list[bytes]:
    return [
        OPENING,
        CALL,
        frame(DataFrame, 1, data=b"\x00\x00\x00\x10\x00abc", flags=["END_STREAM"]),
    ]


def half_closed_before_a_message() -> list[bytes]:
    return [OPENING, frame(HeadersFrame, 1, data=headers(), flags=["END_HEADERS", "END_STREAM"])]


def window_overflow() -> list[bytes]:
    return [OPENING, CALL, frame(WindowUpdateFrame, 0, window_increment=2**31 - 1) * 50]


def path_that_is_no_text() -> list[bytes]:
    block = headers().replace(b"GetSnapshot", b"GetSnapsh\xff\xfe")
    return [OPENING, frame(HeadersFrame, 1, data=block, flags=["END_HEADERS", "END_STREAM"])]


def zero_window_updates() -> list[bytes]:
    return [OPENING, CALL, raw_frame(8, 0, 1, bytes(4)) * 50]


def depends_on_itself() -> list[bytes]:
    return [OPENING, frame(PriorityFrame, 1, depends_on=1, stream_weight=255) * 2_000]


def push_from_a_client() -> list[bytes]:
    pushed = frame(PushPromiseFrame, 1, promised_stream_id=2, data=headers())
    return [OPENING, CALL, pushed]


def goodbye_at_once() -> list[bytes]:
    return [OPENING, frame(GoAwayFrame, last_stream_id=0, error_code=0), CALL]


def even_and_old_streams() -> list[bytes]:
    streams = (2, 9, 3, 1, 9)
    return [
        OPENING,
        *(frame(HeadersFrame, each, data=headers(), flags=["END_HEADERS"]) for each in streams),
    ]


ATTACKS = [
    garbage_before_the_preface,
    http_1,
    tls_to_plaintext,
    frame_longer_than_allowed,
    unknown_frames,
    settings_flood,
    wrong_settings,
    ping_flood,
    rapid_reset,
    continuation_flood,
    empty_continuations,
    oversized_metadata,
    header_bomb,
    broken_header_block,
    data_without_a_call,
    message_longer_than_the_limit,
    compressed_without_saying_how,
    end_in_the_middle_of_a_message,
    half_closed_before_a_message,
    window_overflow,
    zero_window_updates,
    depends_on_itself,
    push_from_a_client,
    goodbye_at_once,
    even_and_old_streams,
]


def random_conversation(seed: int) -> list[bytes]:
    """Return a well begun conversation that goes wrong at random."""
    rng = random.Random(seed)
    pieces = [OPENING] if rng.random() < 0.9 else []
    for _ in range(rng.randrange(1, 30)):
        kind = rng.choice([*range(11), rng.randrange(256)])
        body = rng.randbytes(rng.choice([0, 1, 4, 5, 6, 8, 17, 300]))
        if rng.random() < 0.3:
            body = headers() if rng.random() < 0.5 else headers()[: rng.randrange(40)]
            kind = rng.choice([1, 9])
        flags = rng.choice([0, 1, 4, 5, 8, 0x20, rng.randrange(256)])
        stream = rng.choice([0, 1, 1, 3, 5, rng.randrange(2**31)])
        length = None if rng.random() < 0.9 else rng.randrange(2**24)
        pieces.append(raw_frame(kind, flags, stream, body, length))
    return pieces
