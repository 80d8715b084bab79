"""What both clients set up and understand alike: the channel's options, and the errors of calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from numroute import wire
from numroute.client.plans import NUMBERS_PER_CHUNK_MAX
from numroute.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

TIMEOUT_SECONDS = 5.0
"""How long a call may take, retries included, when the caller says nothing else."""

CALLS_IN_FLIGHT = 4
"""How many requests of one question are under way at once: the service works while the others
travel."""

RESPONSE_BYTES_MAX = 16 * 1024 * 1024
"""The largest response that is read: 500,000 numbers with all columns take 6 MB."""

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": wire.SERVICE_NAME}],
            # Lookups change nothing, so that asking again is always right. UNAVAILABLE means that
            # the call found no server, CANCELLED that it found one in the moment of its stopping
            # (grpc drops what it has not begun to handle then); a caller's own cancelling ends the
            # call without a retry.
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ]
}

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
    # A service that starts or restarts is found within a tenth of a second, not a whole one.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A request larger than this is not kept for a retry; the default is 256 KiB.
    ("grpc.per_rpc_retry_buffer_size", 8 * 1024 * 1024),
    # The service stands in the same network: a proxy set for the way out must not get the numbers.
    ("grpc.enable_http_proxy", 0),
)


def service_error(
    target: str,
    timeout: float,
    code: grpc.StatusCode,
    details: str | None,
    trailers: Iterable[Any] | None,
) -> ServiceError:
    """Return what a failed call means, and what to do about it."""
    if any(key == wire.ERROR_KEY for key, _ in trailers or ()):
        return ServiceError(f"{target} answered {code.name}: {details}", code=code.name)
    match code.name:
        case "UNAVAILABLE":
            message, hint = f"cannot reach {target}", "Is `numroute serve` running there?"
        case "DEADLINE_EXCEEDED":
            message = f"{target} did not answer within {timeout:g} s"
            hint = "Is `numroute serve` running there? If it is, give a longer timeout"
        case "UNIMPLEMENTED":
            message = f"{target} does not know the method that was called"
            hint = "Is it a numroute service, and of this client's version?"
        case name:
            message, hint = f"{target} answered {name}: {details}", ""
    return ServiceError(message, code=code.name, hint=hint)


def checked_chunk(numbers_per_chunk: int) -> int:
    """Return the size of a request after checking that the service would take it."""
    if not 1 <= numbers_per_chunk <= NUMBERS_PER_CHUNK_MAX:
        raise ValueError(f"numbers_per_chunk must be from 1 to {NUMBERS_PER_CHUNK_MAX}")
    return numbers_per_chunk
