"""How both clients reach a service: its address, the channel's options, the errors of calls."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any

from numroute import wire
from numroute.client.core import NUMBERS_PER_CHUNK_MAX, retry_pause
from numroute.client.security import Security
from numroute.errors import ServiceError, SettingError

TIMEOUT_SECONDS = 5.0
"""How long a call may take, retries included, unless the caller says otherwise."""

TIMEOUT_SECONDS_MAX = 86_400.0
"""The longest timeout accepted; gRPC itself accepts longer ones until it overflows."""

UNARY_METHODS = ("Lookup", "BulkLookup", "Explain", "GetSnapshot", "ListOperators")
"""The methods with one request and one response."""

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

_NO_TLS = (
    "it does not speak TLS",
    "Connect in plaintext (without tls, ca and cert), or to the port that speaks TLS",
)
_OTHER_AUTHORITY = (
    "its certificate is not from the authority in ca, or is not valid now",
    "Give the file of the authority that issued it; without ca the system must trust it",
)
_OTHER_NAME = (
    "its certificate is for another name",
    "Connect to a name in the certificate, or give that name (Security.server_name)",
)
# A service that speaks TLS reports no more to plaintext or to a client without a certificate; nor
# does one that is stopping.
_CLOSED = (
    "it closed the connection",
    (
        "It is stopping, speaks TLS (give ca or tls), or requires a certificate "
        "(cert and key) from an authority that it trusts"
    ),
)
_PROBE_SECONDS = 1.0
"""How long a connection that only looks for the reason may take, and how long its result counts."""

_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a client of HTTP/2 begins: the preface and empty settings."""

_TLS_ALERT = b"\x15"
_WRONG_NAMES = (62, 64)
"""OpenSSL's codes for a certificate of another host or address."""

_LISTS = ("ipv4:", "ipv6:")
_LOCAL = ("unix:", "unix-abstract:")
_OTHERS = ("vsock:", "xds:", "google-c2p:", "google-c2p-experimental:")
_HOST_AND_PORT = re.compile(r"([^\s/]+):([0-9]{1,5})")
_PORT_MAX = 65_535
_FIRST = re.compile(
    r"(?:(?:dns|ipv4|ipv6):(?://[^/]*/|/)?)?\[?([^\s/,\]]+)\]?:([0-9]{1,5})(?:,.*)?"
)
"""The first address of a target."""

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
        """Open a channel of ``library``, which is ``grpc`` or ``grpc.aio``.

        Raises:
            TypeError: ``target`` is not a text, or ``security`` not a ``Security``.
            ValueError: ``timeout`` or ``numbers_per_chunk`` is out of range.
            SettingError: The target or a file of ``security`` is wrong.
            ServiceError: A name in a list of addresses is unknown.
        """
        if not isinstance(target, str):
            raise TypeError(f"target must be a text, HOST:PORT, not {type(target).__name__}")
        if not isinstance(security, Security):
            raise TypeError(
                f"security must be a numroute.Security, e.g. Security(ca='ca.pem'), "
                f"not {type(security).__name__}"
            )
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
        self._security = security
        self._reached = False  # has been answered
        self._probing = threading.Lock()
        self._probed: tuple[float, tuple[str, str] | None] = (-math.inf, None)
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
            for name in UNARY_METHODS
        }
        self._watch = self._channel.unary_stream(wire.method_path("WatchSnapshots"), None, None)

    def _seconds(self, timeout: float | None) -> float:
        """Return the timeout of one call after checking it.

        It may be zero or negative, as a caller's remaining time may be: the answer is then too
        late. Raises ValueError when it is too long, infinite or not a number.
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
        """Return what a failed call means; where nothing was reached, after finding out why."""
        code, details = call.code().name, call.details() or ""
        message, hint = f"{self.target} answered {code}: {details}", ""
        if any(key == wire.ERROR_KEY for key, _ in call.trailing_metadata() or ()):
            pass  # the service's own words
        elif code == "UNAVAILABLE":
            message, hint = self._unreachable(details)
        elif code == "DEADLINE_EXCEEDED":
            return timed_out(self.target, seconds)
        elif code == "UNIMPLEMENTED":
            message = f"{self.target} does not know the method that was called"
            hint = "Is it a numroute service of this client's version?"
        if code == "UNAUTHENTICATED" and not self._token():
            hint = "Give a token: Security(token_file=...), --token-file or NUMROUTE_TOKEN_FILE"
        return ServiceError(message, code=code, hint=hint)

    def _unreachable(self, details: str) -> tuple[str, str]:
        """Return why nothing was reached, and what to do.

        gRPC's details seldom name the reason, so one connection of our own looks for it.
        """
        with self._probing:
            if time.monotonic() - self._probed[0] > _PROBE_SECONDS:
                reason = _probe(self.target, self._security)
                self._probed = (time.monotonic(), reason)
            found = self._probed[1]
        if found is None and "Socket closed" in details:
            found = _CLOSED
        if found is None:
            return f"cannot reach {self.target}", "Is `numroute serve` running there?"
        return f"cannot reach {self.target}: {found[0]}", found[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a service is: one address, several replicas, or a name that stands for them.

    Attributes:
        uri: What gRPC is given.
        several: There may be more than one replica: calls take turns among the healthy ones.
        loopback: Nothing that is sent to it leaves this machine.
        authority: The name that TLS checks every replica's certificate for, when the uri does not
            give it: the first name of a list, because a channel has only one.
    """

    uri: str
    several: bool
    loopback: bool
    authority: str = ""


def parse_target(text: str) -> Target:
    """Return what a target means.

    ``a:1,b:2`` is a list of replicas; its names are resolved now, once: use ``dns:///`` with one
    name for all where addresses change. Any other scheme that gRPC knows is passed on.

    With TLS every replica of a list must have a certificate for the list's first name: put one name
    into all certificates and list it first, or give it as ``Security.server_name``.

    Raises:
        SettingError: It is neither a scheme that gRPC knows nor ``host:port``; or a list contains a
            scheme, or mixes IPv4 and IPv6 addresses.
        ServiceError: A name in a list has no address.
    """
    if text.startswith(_LISTS):
        # As a URL its path may follow an empty authority.
        addresses = text.partition(":")[2].removeprefix("//").removeprefix("/")
        hosts = [_host(address)[0] for address in addresses.split(",")]
        return Target(uri=text, several=len(hosts) > 1, loopback=all(map(_is_loopback, hosts)))
    if "," in text and "://" not in text:
        return _list(text)
    if text.startswith("dns:"):
        return Target(uri=text, several=True, loopback=False)
    if text.startswith(_LOCAL):
        return Target(uri=text, several=False, loopback=True)
    host = "" if text.startswith(_OTHERS) else _host(text)[0]
    return Target(uri=text, several=False, loopback=_is_loopback(host))


def _list(text: str) -> Target:
    hosts = [_host(address.strip()) for address in text.split(",") if address.strip()]
    families: dict[int, list[str]] = {}
    for host, port in hosts:
        for family, address in _addresses(host, port):
            families.setdefault(family, []).append(address)
    if len(families) != 1:
        raise SettingError(
            f"{text} mixes IPv4 and IPv6 addresses",
            hint="Give addresses of one kind, or one name: dns:///NAME:PORT",
        )
    ((family, addresses),) = families.items()
    names = [host for host, _ in hosts if not _is_address(host)]
    return Target(
        uri=("ipv4:" if family == socket.AF_INET else "ipv6:") + ",".join(dict.fromkeys(addresses)),
        several=True,
        loopback=all(_is_loopback(host) for host, _ in hosts),
        authority=names[0] if names else "",
    )


def _addresses(host: str, port: str) -> list[tuple[int, str]]:
    """Return the addresses of a host: the IPv4 ones if it has any."""
    try:
        infos = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise ServiceError(
            f"cannot resolve {host}: {error.strerror}", code="UNAVAILABLE", hint=_EXAMPLES
        ) from None
    fours = [address[0] for family, *_, address in infos if family == socket.AF_INET]
    if fours:
        return [(socket.AF_INET, f"{address}:{port}") for address in fours]
    return [(socket.AF_INET6, f"[{address[0]}]:{port}") for *_, address in infos]


def _host(address: str) -> tuple[str, str]:
    match = _HOST_AND_PORT.fullmatch(address)
    if match is None or not 0 < int(match[2]) <= _PORT_MAX:
        raise SettingError(f"{address!r} is not the address of a service", hint=_EXAMPLES)
    return match[1].strip("[]"), match[2]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _probe(target: str, security: Security) -> tuple[str, str] | None:
    """Connect to a target's first address; return what prevents it and what to do, if known."""
    address = None if target.startswith((*_LOCAL, *_OTHERS)) else _FIRST.fullmatch(target)
    if address is None:
        return None
    host, port = address.groups()
    try:
        context = security.context()
        with socket.create_connection((host, int(port)), _PROBE_SECONDS) as plain:
            name = security.server_name or host
            with context.wrap_socket(plain, server_hostname=name) if context else plain as channel:
                channel.sendall(_HELLO)
                begin = channel.recv(1)
    except ssl.SSLCertVerificationError as error:
        return _OTHER_NAME if error.verify_code in _WRONG_NAMES else _OTHER_AUTHORITY
    except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return _CLOSED
    except ssl.SSLError as error:
        return _CLOSED if "ALERT" in (error.reason or "") else _NO_TLS
    except socket.gaierror as error:
        return f"cannot resolve {host}: {error.strerror}", _EXAMPLES
    except OSError:
        return None
    return _CLOSED if begin in {b"", _TLS_ALERT} else None


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
    """Return the error of a call that ``close`` ended, or that was made after it."""
    return ServiceError(
        "the client is closed",
        code="CANCELLED",
        hint="Let its calls end before you close it, or make a new one",
    )
