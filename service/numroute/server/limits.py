"""The limits that hold for a whole service or a call; what belongs to one part stands there.

Some are kept by gRPC before our own code runs (``GRPC_OPTIONS``), the others by the service.
"""

from __future__ import annotations

NUMBERS_PER_BULK_MAX = 500_000
"""The most numbers in one ``BulkLookup``: 4,000,000 bytes, which fits one default-sized message."""

NUMBERS_PER_BULK_PREFERRED = 262_144
"""The numbers in one ``BulkLookup`` from which on larger calls gain nothing; clients may ask."""

NUMBERS_PER_LOOKUP_MAX = 1_000
"""The most texts in one ``Lookup``."""

NUMBERS_INLINE_MAX = 4_096
"""The most numbers that are looked up on the event loop itself, about 0.1 ms; more go to a thread,
which costs about as much. With all batches on the loop, a single number asked beside a stream of
batches of 65,536 waited 4.0 ms (median) instead of 0.9 ms."""

STREAM_QUESTIONS_IN_WORK_MAX = 4
"""How many questions of one stream are read and not yet answered: one is written while others are
looked up and read. A client that sends without reading costs the service this many questions and
answers, at most 10 MB each, and is then read no further."""

PAST_SNAPSHOTS_MAX = 4
"""How many past snapshots a process keeps open for questions with ``as_of``."""

PAST_IDLE_SECONDS = 60.0
"""A past snapshot is closed when nobody has asked for it for this long."""

WORKERS_MAX = 256
"""The most worker processes of one service; more than cores bring nothing."""

WORKER_MEMORY_MIN = 128 * 1024 * 1024
"""The lowest limit of a worker's own memory: an idle one takes 60 MB."""

UNAUTHENTICATED_SECONDS = 0.25
"""How long the refusal of an unknown client waits: with 100 calls under way on a connection, it is
refused 400 times a second there, and takes little from others."""

UNAUTHENTICATED_BYTES_MAX = 4_096
"""The largest request that is kept in memory for so long; larger ones are refused at once."""

CLIENT_PING_SECONDS_MIN = 5
"""How often a client may ping, with or without calls. Templates of other languages ping every 10 to
30 s; gRPC's own minimum of five minutes would end their idle connections, and those of clients that
only watch snapshots or health, with ``too_many_pings``."""

GRPC_OPTIONS: tuple[tuple[str, int], ...] = (
    # gRPC's own default.
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    # Further connections of a process are closed at once.
    ("grpc.max_allowed_incoming_connections", 10_000),
    # A client keeps further calls to itself, where their deadlines apply. HTTP/2 advises no fewer
    # (RFC 9113, 6.5.2). One connection can then neither fill the room for waiting calls nor make
    # the service hold more than 100 requests of 4 MB, or, where it does not read, the answers to
    # them; of each stream, those to four questions.
    ("grpc.max_concurrent_streams", 100),
    # How many calls may wait until Python takes them. gRPC ends further ones with CANCELLED: some
    # of them, at random, above the first limit, and all above the second. To answer a call with a
    # status of ours takes Python as long as to answer it with a small batch: what exceeds the
    # capacity for small calls can only be turned away by gRPC. 512 wait about a tenth of a second.
    ("grpc.server.max_pending_requests", 512),
    ("grpc.server.max_pending_requests_hard_limit", 1_024),
    # A token takes a hundred bytes.
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    ("grpc.server_handshake_timeout_ms", 10_000),
    # A client that has been silent for the first is pinged, and dropped if it does not answer
    # within the second.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", CLIENT_PING_SECONDS_MIN * 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # The age, give or take a tenth, at which a client is asked to connect anew: connections spread
    # over the processes and replicas that were started since. Calls under way run to their end.
    ("grpc.max_connection_age_ms", 1_800_000),
    # How much of a request a client may send before it is read. gRPC would widen the window as far
    # as the network takes it. Overloaded, a process would then receive hundreds of large batches at
    # once, only to refuse them, instead of looking up those it has.
    ("grpc.http2.lookahead_bytes", 256 * 1024),
    ("grpc.http2.bdp_probe", 0),
)
"""The options of each process's gRPC server."""
