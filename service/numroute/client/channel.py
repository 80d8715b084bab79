"""How both clients reach a service: its address, the channel's options, the errors of calls."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import re
import socket
import threading
from typing import Any, NamedTuple

from numroute import wire
from numroute.client.core import NUMBERS_PER_CHUNK_MAX, retry_pause
from numroute.client.security import Security
from numroute.errors import ServiceError, SettingError

TIMEOUT_SECONDS = 5.0
"""How long a call may take, retries included, unless the caller says otherwise."""

TIMEOUT_SECONDS_MAX = 86_400.0
"""The longest timeout accepted; gRPC itself accepts longer ones until it overflows."""

CALLS_IN_FLIGHT = 4
"""How many requests of one question, and batches of a stream, are under way at once: the service
works on some while others travel."""

RESPONSE_BYTES_MAX = 16 * 1024 * 1024
"""The largest response accepted: 500,000 numbers with all columns take 6 MB."""

_SEVERAL_ADDRESSES = {
    "loadBalancingConfig": [{"round_robin": {}}],
    # The health of each replica is watched, and it gets calls only while it reports SERVING. Not so
    # with one address: a service without a snapshot explains itself in its answers.
    "healthCheckConfig": {"serviceName": wire.SERVICE_NAME},
}

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
    # A service that starts or restarts is found within a tenth of a second, not a whole one.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Notice a machine that vanished without closing the connection while calls wait for it, a watch
    # too. The service allows a ping every five seconds.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The service is in the same network: a proxy for outgoing traffic must not see the numbers.
    ("grpc.enable_http_proxy", 0),
)
"""The options of every channel, whatever its target."""

_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "xds:")
"""What gRPC itself resolves: such a target is passed on as it is."""

_HOST_AND_PORT = re.compile(r"([^\s/]+):([0-9]{1,5})")
_PORT_MAX = 65_535

_EXAMPLES = "Give HOST:PORT, HOST:PORT,HOST:PORT or dns:///NAME:PORT"


class ClientBase:
    """What both clients hold: their settings, the channel, its methods and what failures mean.

    Attributes:
        target: The service's address as it was given.
        timeout: Seconds that each call may take unless it sets its own.
    """

    _closed: threading.Event | asyncio.Event

    def __init__(
        self,
        library: Any,  # noqa: ANN401 - a module
        target: str,
        timeout: float,
        numbers_per_chunk: int,
        security: Security,
    ) -> None:
        """Open a channel of ``library``, which is ``grpc`` or ``grpc.aio``."""
        if not isinstance(target, str) or not isinstance(security, Security):
            raise TypeError("give the target as a text and security as numroute.Security(...)")
        if not 0 < timeout <= TIMEOUT_SECONDS_MAX:
            raise ValueError(
                f"timeout must be more than 0 and up to {TIMEOUT_SECONDS_MAX:g} seconds, "
                f"not {timeout}"
            )
        if not 1 <= numbers_per_chunk <= NUMBERS_PER_CHUNK_MAX:
            raise ValueError(f"numbers_per_chunk must be from 1 to {NUMBERS_PER_CHUNK_MAX}")
        self.target = target
        self.timeout = timeout
        self._numbers_per_chunk = numbers_per_chunk
        self._reached = False  # has been answered
        parsed = parse_target(target)
        self._token = security.token_metadata(loopback=parsed.loopback)
        options = [*OPTIONS]
        if parsed.several:
            options.append(("grpc.service_config", json.dumps(_SEVERAL_ADDRESSES)))
        name = security.server_name or parsed.authority
        if name and security.encrypted:
            options.append(("grpc.ssl_target_name_override", name))
        credentials = security.credentials()
        self._channel: Any = (
            library.insecure_channel(parsed.uri, options=options)
            if credentials is None
            else library.secure_channel(parsed.uri, credentials, options=options)
        )
        self._methods = {
            name: self._channel.unary_unary(wire.method_path(name), None, None)
            for name in ("Lookup", "BulkLookup", "Explain", "GetSnapshot", "ListOperators")
        }
        self._watch = self._channel.unary_stream(wire.method_path("WatchSnapshots"), None, None)

    def _seconds(self, timeout: float | None) -> float:
        """Return the timeout of one call after checking it.

        It may be zero or negative, as a caller's remaining time may be: the answer is then too
        late.
        """
        if timeout is None:
            return self.timeout
        if not math.isfinite(timeout) or timeout > TIMEOUT_SECONDS_MAX:
            raise ValueError(
                f"timeout must be a number of seconds up to {TIMEOUT_SECONDS_MAX:g}, not {timeout}"
            )
        return timeout

    def _pause(self, call: Any, tries: int, left: float) -> float | None:  # noqa: ANN401 - of either library
        """Return how many seconds to wait before a call is sent again; None to give up."""
        code, trailers = call.code().name, call.trailing_metadata()
        # A client that is being closed still answers what it has taken, but does not wait on.
        reached = self._reached and not self._closed.is_set()
        return retry_pause(code, trailers, tries, left, reached=reached)

    def _failure(self, call: Any, seconds: float) -> ServiceError:  # noqa: ANN401 - likewise
        """Return what a failed call means."""
        code, details = call.code().name, call.details() or ""
        if code == "CANCELLED" and self._closed.is_set():
            return client_closed()
        message, hint = f"{self.target} answered {code}: {details}", ""
        if any(key == wire.ERROR_KEY for key, _ in call.trailing_metadata() or ()):
            pass  # the service's own words
        elif code == "UNAVAILABLE":
            message = f"cannot reach {self.target}: {details}"
            hint = (
                "Is `numroute serve` running there? If it speaks TLS, give ca or tls, and cert and "
                "key where it requires them; if it does not, give none of them"
            )
        elif code in {"OK", "DEADLINE_EXCEEDED"}:  # OK: a watch that announced nothing
            return timed_out(self.target, seconds)
        elif code == "UNIMPLEMENTED":
            message = f"{self.target} does not know the method that was called"
            hint = "Is it a numroute service of this client's version?"
        if code == "UNAUTHENTICATED" and not self._token():
            hint = "Give a token: Security(token_file=...), --token-file or NUMROUTE_TOKEN_FILE"
        return ServiceError(message, code=code, hint=hint)


class Target(NamedTuple):
    """Where a service is: one address, several replicas, or a name that stands for them.

    gRPC is given ``uri``. With ``several`` replicas calls take turns among the healthy ones. What
    is sent to ``loopback`` does not leave this machine. ``authority`` is the name for which TLS
    checks the certificate of every replica of a list: its first, because a channel has only one.
    """

    uri: str
    several: bool
    loopback: bool
    authority: str = ""


def parse_target(text: str) -> Target:
    """Return what a target means.

    ``a:1,b:2`` is a list of replicas; its names are resolved now, once: use ``dns:///`` with one
    name for all where addresses change. Raises SettingError for what is no target, and ServiceError
    when a name in a list has no address.
    """
    text = text.strip()
    if text.startswith(_SCHEMES):
        local = text.startswith("unix")
        return Target(uri=text, several=not local, loopback=local)
    hosts = [_host(address.strip()) for address in text.split(",")]
    loopback = all(map(_is_loopback, (host for host, _ in hosts)))
    if len(hosts) == 1:
        return Target(uri=text, several=False, loopback=loopback)
    resolved = [_resolved(host, port) for host, port in hosts]
    if len({family for family, _ in resolved}) > 1:
        raise SettingError(
            f"{text} mixes IPv4 and IPv6 addresses",
            hint="Give addresses of one kind, or one name: dns:///NAME:PORT",
        )
    addresses = dict.fromkeys(address for _, found in resolved for address in found)
    return Target(
        uri=f"{resolved[0][0]}:" + ",".join(addresses),
        several=True,
        loopback=loopback,
        authority=next((host for host, _ in hosts if _address(host) is None), ""),
    )


def _host(text: str) -> tuple[str, str]:
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or not 0 < int(match[2]) <= _PORT_MAX:
        raise SettingError(f"{text!r} is not the address of a service", hint=_EXAMPLES)
    return match[1].strip("[]"), match[2]


def _resolved(host: str, port: str) -> tuple[str, list[str]]:
    """Return a host's addresses and of which kind they are: the IPv4 ones if it has any."""
    try:
        infos = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise ServiceError(
            f"cannot resolve {host}: {error.strerror}", code="UNAVAILABLE", hint=_EXAMPLES
        ) from None
    fours = [f"{address[0]}:{port}" for family, *_, address in infos if family == socket.AF_INET]
    return ("ipv4", fours) if fours else ("ipv6", [f"[{i[-1][0]}]:{port}" for i in infos])


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def timed_out(target: str, seconds: float) -> ServiceError:
    """Return the error of an answer that did not come in time."""
    return ServiceError(
        f"{target} did not answer within {seconds:g} s",
        code="DEADLINE_EXCEEDED",
        hint="Is `numroute serve` running there? If it is, give a longer timeout",
    )


def client_closed() -> ServiceError:
    """Return the error of a call that ``close`` ended, or that was made after it."""
    return ServiceError(
        "the client is closed",
        code="CANCELLED",
        hint="Let its calls end before you close it, or make a new one",
    )
