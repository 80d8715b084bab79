"""Where a service is: one address, several replicas of it, or a name that stands for them."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from numroute.errors import ServiceError, SettingError

_LISTS = ("ipv4:", "ipv6:")
_LOCAL = ("unix:", "unix-abstract:")
_OTHERS = ("vsock:", "xds:", "google-c2p:", "google-c2p-experimental:")
_HOST = re.compile(r"[^\s/]+")
_DIGITS = re.compile(r"[0-9]{1,5}")
_PORT_MAX = 65_535
_EXAMPLES = "Give HOST:PORT, HOST:PORT,HOST:PORT or dns:///NAME:PORT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A target as gRPC takes it.

    Attributes:
        uri: What the channel is told.
        several: There may be more than one replica: calls take turns among the healthy ones.
        loopback: Nothing that is sent to it leaves this machine.
        authority: The name that TLS checks the certificate of every replica for: the first name of
            a list, because a channel has but one. Empty where it follows from the uri.
    """

    uri: str
    several: bool
    loopback: bool
    authority: str = ""


def parse_target(text: str) -> Target:
    """Return what a target means.

    ``a:1,b:2`` is a list of replicas; names in it are resolved now, and once: use ``dns:///`` with
    one name for all where addresses change. Whatever else gRPC knows is handed to it as it is.

    With TLS every replica of a list must have a certificate for the list's first name: put one name
    into all certificates and list it first, or give it as ``Security.server_name``.

    Raises:
        SettingError: It is nothing that gRPC knows and no ``host:port``, or a list has one of
            these, or addresses of IPv4 beside ones of IPv6.
        ServiceError: A name of a list stands for no address.
    """
    if text.startswith(_LISTS):
        # As a URL its path may begin behind an empty authority.
        addresses = text.partition(":")[2].removeprefix("//").removeprefix("/")
        hosts = [_host(each)[0] for each in addresses.split(",")]
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
    hosts = [_host(each.strip()) for each in text.split(",") if each.strip()]
    families: dict[int, list[str]] = {}
    for host, port in hosts:
        for family, address in _addresses(host, port):
            families.setdefault(family, []).append(address)
    if len(families) != 1:
        raise SettingError(
            f"{text} names addresses of IPv4 and of IPv6",
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
    """Return the addresses of a host, those of IPv4 only where it has any."""
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise ServiceError(
            f"cannot find the address of {host}: {error.strerror}",
            code="UNAVAILABLE",
            hint=_EXAMPLES,
        ) from None
    fours = [address[0] for family, *_, address in found if family == socket.AF_INET]
    if fours:
        return [(socket.AF_INET, f"{each}:{port}") for each in fours]
    return [(socket.AF_INET6, f"[{address[0]}]:{port}") for *_, address in found]


def _host(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    if not _HOST.fullmatch(host) or not _is_port(port):
        raise SettingError(f"{address!r} is not the address of a service", hint=_EXAMPLES)
    return host.strip("[]"), port


def _is_port(text: str) -> bool:
    return _DIGITS.fullmatch(text) is not None and 0 < int(text) <= _PORT_MAX


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
