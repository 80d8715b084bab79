"""What one process takes upon itself: the bounds that gRPC keeps before our own code runs."""

from __future__ import annotations

import resource

from numroute.server.settings import REQUEST_BYTES_MAX

CONNECTIONS_MAX = 10_000
"""The most connections of one process; one more is closed at once."""

STREAMS_PER_CONNECTION_MAX = 100
"""The most calls under way on one connection; a client keeps what exceeds them to itself, where
their deadlines apply. HTTP/2 advises no fewer (RFC 9113, 6.5.2). One connection can then neither
fill the room for waiting calls nor make the service hold more than 100 requests of 4 MB, or, where
it does not read, the answers to them; of each stream, those to four questions."""

CALLS_PENDING_MAX, CALLS_PENDING_HARD_MAX = 512, 1_024
"""How many calls may wait until Python takes them; gRPC ends more of them, at random from the first
bound on, all from the second on, with CANCELLED.

To answer a call with a status of ours takes Python as long as to answer it with a small batch:
what exceeds the capacity for small calls can only be turned away by gRPC itself. 512 of them wait
about a tenth of a second.
"""

METADATA_BYTES_MAX = 16 * 1024
"""How large the metadata of a call may be; a token takes a hundred bytes."""

HANDSHAKE_SECONDS = 10
"""How long a connection may take until TLS and HTTP/2 are agreed upon."""

PING_SECONDS, PING_TIMEOUT_SECONDS = 60, 20
"""After how long without a word a client is asked whether it is still there, and then dropped."""

CONNECTION_AGE_SECONDS = 1_800
"""After how long a client is asked to connect anew, give or take a tenth: connections spread over
the processes and replicas that have come since. Its calls under way go on to their end."""

REQUEST_WINDOW_BYTES = 256 * 1024
"""How much of a request a client may send before it is read (HTTP/2's flow control).

gRPC would widen the window as far as the network takes it. Overloaded, a process would then receive
hundreds of large batches at once, only to refuse them, instead of looking up those it has.
"""

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_allowed_incoming_connections", CONNECTIONS_MAX),
    ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX),
    ("grpc.server.max_pending_requests", CALLS_PENDING_MAX),
    ("grpc.server.max_pending_requests_hard_limit", CALLS_PENDING_HARD_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1_000),
    ("grpc.keepalive_time_ms", PING_SECONDS * 1_000),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_SECONDS * 1_000),
    ("grpc.max_connection_age_ms", CONNECTION_AGE_SECONDS * 1_000),
    ("grpc.http2.lookahead_bytes", REQUEST_WINDOW_BYTES),
    ("grpc.http2.bdp_probe", 0),
)
"""What the server of each process is told."""


def allow_many_files() -> None:
    """Raise the limit of open files as far as the system lets this process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
