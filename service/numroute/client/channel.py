"""What both clients set up and understand alike: the channel's options, and the errors of calls."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numroute import wire
from numroute.client.plans import NUMBERS_PER_CHUNK_MAX
from numroute.client.targets import parse_target
from numroute.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import grpc

    from numroute.client.security import Security, TokenSource

TIMEOUT_SECONDS = 5.0
"""How long a call may take, retries included, when the caller says nothing else."""

TIMEOUT_SECONDS_MAX = 86_400.0
"""The longest timeout that is taken; gRPC itself takes ever longer ones until it overflows."""

QUESTIONS_IN_FLIGHT = 4
"""How many questions of a stream are sent and not yet answered: what the service works on."""

UNARY_METHODS = ("Lookup", "BulkLookup", "Explain", "GetSnapshot", "ListOperators")
"""The methods with one request and one response."""

CALLS_IN_FLIGHT = 4
"""How many requests of one question are under way at once: the service works while the others
travel."""

RESPONSE_BYTES_MAX = 16 * 1024 * 1024
"""The largest response that is read: 500,000 numbers with all columns take 6 MB."""

RETRIED = ("UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED")
"""The statuses after which a call is sent again.

Lookups change nothing, so that asking again is always right. UNAVAILABLE means that the call found
no server, CANCELLED that it found one in the moment of its stopping (grpc drops what it has not
begun to handle then); a caller's own cancelling ends the call without a retry. RESOURCE_EXHAUSTED
is how a server says that it has too much to do, mostly with the time after which to come again,
which gRPC keeps to ("pushback", gRPC proposal A6). Where that time is longer than the call may
take, the service forbids the retry, and its refusal is heard at once.
"""

ATTEMPTS_MAX = 4
"""How often a call is sent at most."""

BACKOFF_SECONDS = 0.05
BACKOFF_SECONDS_MAX = 1.0

_METHOD_CONFIG = [
    {
        "name": [{"service": wire.SERVICE_NAME}],
        "retryPolicy": {
            "maxAttempts": ATTEMPTS_MAX,
            "initialBackoff": f"{BACKOFF_SECONDS}s",
            "maxBackoff": f"{BACKOFF_SECONDS_MAX}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": list(RETRIED),
        },
    },
    # The clients begin a stream again themselves, which gRPC could before its first answer only.
    {"name": [{"service": wire.SERVICE_NAME, "method": "StreamLookup"}]},
]

_ONE_ADDRESS: Mapping[str, Any] = {"methodConfig": _METHOD_CONFIG}

_SEVERAL_ADDRESSES: Mapping[str, Any] = {
    "methodConfig": _METHOD_CONFIG,
    "loadBalancingConfig": [{"round_robin": {}}],
    # Each replica is asked for its health all the time, and gets calls only while it says SERVING.
    # Not so with one address: a service without a snapshot says why in its answers.
    "healthCheckConfig": {"serviceName": wire.SERVICE_NAME},
}

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
    # A service that starts or restarts is found within a tenth of a second, not a whole one.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A request larger than this is not kept for a retry; the default is 256 KiB.
    ("grpc.per_rpc_retry_buffer_size", 8 * 1024 * 1024),
    # A machine that has gone without a word is noticed while calls wait for it. Servers bear a
    # ping in five minutes without asking, and one in ten seconds from clients with open calls.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The service stands in the same network: a proxy set for the way out must not get the numbers.
    ("grpc.enable_http_proxy", 0),
)
"""What every channel is told, whatever its target."""


_UNREACHABLE = (
    (
        "WRONG_VERSION_NUMBER",
        "it does not speak TLS",
        "Ask in plaintext (without --tls, --ca and --cert), or at the port that speaks TLS",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not of --ca, or not valid now",
        "Give the file of the authority that it comes from; without --ca the system's must know it",
    ),
    (
        "Hostname Verification Check failed",
        "its certificate is for another name",
        "Ask at a name that the certificate has, or give that name (Security.server_name)",
    ),
    # A service that speaks TLS says no more to plaintext or to a client without a certificate; nor
    # does one that stops just now.
    (
        "Socket closed",
        "the connection is made, and closed from there",
        (
            "Is it stopping? Or it speaks TLS (--ca, --tls), or wants a certificate "
            "(--cert, --key) of an authority in its --tls-client-ca"
        ),
    ),
)
"""What gRPC's details of an UNAVAILABLE hold, what that means, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a channel is made from, and what each call on it carries.

    ``credentials`` is None for plaintext.
    """

    uri: str
    options: tuple[tuple[str, Any], ...]
    credentials: grpc.ChannelCredentials | None
    token: TokenSource


def connection(target: str, security: Security) -> Connection:
    """Return how to reach a target.

    Raises:
        SettingError: The target or a file of ``security`` is not what it should be.
        ServiceError: A name in a list of addresses is not known.
    """
    found = parse_target(target)
    config = _SEVERAL_ADDRESSES if found.several else _ONE_ADDRESS
    options = [*OPTIONS, ("grpc.service_config", json.dumps(config))]
    if security.server_name or (security.encrypted and found.authority):
        name = security.server_name or found.authority
        options.append(("grpc.ssl_target_name_override", name))
    return Connection(
        uri=found.uri,
        options=tuple(options),
        credentials=security.credentials(),
        token=security.token_source(found),
    )


def resume_after(
    code: grpc.StatusCode, trailers: Iterable[Any] | None, tries: int, *, answered: bool
) -> float | None:
    """Return after how many seconds an open call that broke may be begun again; None for never.

    gRPC's retries end with a call's first answer, so that the clients begin open calls again
    themselves, by the same rules.

    Args:
        code: How the call ended.
        trailers: Its trailing metadata.
        tries: How often it has been begun again without an answer since.
        answered: It had an answer before: then it is begun again for as long as its caller waits,
            otherwise as often as gRPC would send a call.
    """
    # grpc.aio reports a message that it could not send, because the call had just been ended, as
    # INTERNAL and forgets the status with which it was ended. The service's own has a trailer.
    not_sent = code.name == "INTERNAL" and not trailers
    if code.name not in RETRIED and not not_sent:
        return None
    if not answered and tries >= ATTEMPTS_MAX - 1:
        return None
    wait = _wait_seconds(trailers)
    if wait is not None:
        return wait if wait >= 0 else None
    if code.name == "RESOURCE_EXHAUSTED":
        return None
    return min(BACKOFF_SECONDS * float(1 << min(tries, 16)), BACKOFF_SECONDS_MAX)


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
            message, hint = _unreachable(target, details or "")
        case "DEADLINE_EXCEEDED":
            return timed_out(target, timeout)
        case "UNIMPLEMENTED":
            message = f"{target} does not know the method that was called"
            hint = "Is it a numroute service, and of this client's version?"
        case "OK":
            message, hint = f"{target} ended the call without an answer", "Ask again"
            return ServiceError(message, code="INTERNAL", hint=hint)
        case name:
            message, hint = f"{target} answered {name}: {details}", ""
    return ServiceError(message, code=code.name, hint=hint)


def _unreachable(target: str, details: str) -> tuple[str, str]:
    """Return why a connection could not be made, as far as gRPC's details tell, and what to do."""
    for sign, reason, hint in _UNREACHABLE:
        if sign in details:
            return f"cannot reach {target}: {reason}", hint
    return f"cannot reach {target}", "Is `numroute serve` running there?"


def timed_out(target: str, seconds: float) -> ServiceError:
    """Return the error of an answer that did not come in time."""
    if seconds <= 0:
        return ServiceError(
            f"there is no time left to ask {target}: the timeout is {seconds:g} s",
            code="DEADLINE_EXCEEDED",
            hint="Give the seconds that the answer may take",
        )
    return ServiceError(
        f"{target} did not answer within {seconds:g} s",
        code="DEADLINE_EXCEEDED",
        hint="Is `numroute serve` running there? If it is, give a longer timeout",
    )


def client_closed() -> ServiceError:
    """Return the error of a call that the client's own ``close`` ended, or that came after it."""
    return ServiceError(
        "the client is closed",
        code="CANCELLED",
        hint="Let its calls end before you close it, or make a new one",
    )


def _wait_seconds(trailers: Iterable[Any] | None) -> float | None:
    """Return how long the service asks to wait: what it tells, else what it asks of gRPC."""
    told = dict(trailers or ())
    asked = told.get(wire.RETRY_AFTER_KEY) or told.get(wire.PUSHBACK_KEY)
    try:
        return None if asked is None else int(asked) / 1000
    except ValueError:
        return None


def checked_timeout(seconds: float) -> float:
    """Return a timeout after checking that it is one.

    One call's may be zero or less, as what is left of somebody's time may be: its answer is too
    late. Raises ValueError for one that is too long, infinite or no number.
    """
    if not math.isfinite(seconds) or seconds > TIMEOUT_SECONDS_MAX:
        raise ValueError(
            f"timeout must be a number of seconds up to {TIMEOUT_SECONDS_MAX:g}, not {seconds}"
        )
    return seconds


def checked_client_timeout(seconds: float) -> float:
    """Return the timeout of a client's calls after checking that they could be answered in it."""
    if not 0 < seconds <= TIMEOUT_SECONDS_MAX:
        raise ValueError(
            f"timeout must be more than 0 and up to {TIMEOUT_SECONDS_MAX:g} seconds, not {seconds}"
        )
    return seconds


def checked_chunk(numbers_per_chunk: int) -> int:
    """Return the size of a request after checking that the service would take it."""
    if not 1 <= numbers_per_chunk <= NUMBERS_PER_CHUNK_MAX:
        raise ValueError(f"numbers_per_chunk must be from 1 to {NUMBERS_PER_CHUNK_MAX}")
    return numbers_per_chunk
