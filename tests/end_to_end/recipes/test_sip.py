"""The recipe for SIP, run by Kamailio between a caller's socket and the gateways'."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

CALLED = {
    "+79161111111": "mMTS",
    "+79000000345": "mMTS",  # ported
    "+79000000012": "mMEGAFON",  # ported
    "89000000012": "mMEGAFON",
    "+79161234567": "default",  # ported to mTELE2, which has no gateway
    "+79990000000": "default",  # unallocated
    "+442071234567": "default",  # not covered
    "operator": "default",  # not a number
}


def udp() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    bound.settimeout(10)
    return bound


def uri(bound: socket.socket) -> str:
    return "sip:{}:{}".format(*bound.getsockname())


@dataclass
class Proxy:
    """A running Kamailio, a caller, and the gateways by operator."""

    process: subprocess.Popen[bytes]
    port: int
    caller: socket.socket
    gateways: dict[socket.socket, str]

    def call(self, number: str) -> str:
        """Return the name of the gateway that gets an INVITE to the number."""
        host, port = self.caller.getsockname()
        invite = (
            f"INVITE sip:{number}@127.0.0.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{number.strip('+')}\r\n"
            "Max-Forwards: 70\r\nFrom: <sip:caller@127.0.0.1>;tag=1\r\n"
            f"To: <sip:{number}@127.0.0.1>\r\nCall-ID: {number}@{port}\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <sip:caller@{host}:{port}>\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        for _ in range(50):
            # Sent again until it arrives, as SIP over UDP is.
            self.caller.sendto(invite, ("127.0.0.1", self.port))
            if called := select.select(self.gateways, (), (), 0.2)[0]:
                request, sender = called[0].recvfrom(65536)
                assert f"INVITE sip:{number}@".encode() in request
                self.answer(called[0], request, sender)
                return self.gateways[called[0]]
            assert self.process.poll() is None
        raise AssertionError("no gateway was called")

    def answer(self, gateway: socket.socket, request: bytes, sender: tuple[str, int]) -> None:
        """Answer 486 and wait for it to reach the caller."""
        lines = [line for line in request.split(b"\r\n")[1:] if line[:3] in COPIED]
        busy = b"\r\n".join([b"SIP/2.0 486 Busy Here", *lines, b"Content-Length: 0", b"", b""])
        gateway.sendto(busy, sender)
        while not self.caller.recv(65536).startswith(b"SIP/2.0 486"):
            pass
        gateway.recv(65536)  # the proxy's ACK


COPIED = (b"Via", b"Fro", b"To:", b"Cal", b"CSe")


@pytest.fixture
def proxy(web, recipe, start, free_ports, request) -> Iterator[Proxy]:
    """Run Kamailio, by the recipe's configuration, beside a web service or a closed port."""
    with contextlib.ExitStack() as stack:
        default, mts, megafon = (stack.enter_context(udp()) for _ in range(3))
        caller = stack.enter_context(udp())
        (port,) = free_ports(1)
        answering = getattr(request, "param", True)
        config = recipe(
            "kamailio.cfg",
            **{
                "udp:127.0.0.1:5060": f"udp:127.0.0.1:{port}",
                "http://127.0.0.1:8080": web.url if answering else "http://127.0.0.1:1",
                "sip:127.0.0.1:5070": uri(default),
                "sip:127.0.0.1:5071": uri(mts),
                "sip:127.0.0.1:5072": uri(megafon),
                "children=8": "children=1",
            },
        )
        process = start("kamailio", "-DD", "-m", "16", "-M", "4", "-Y", config.parent, "-f", config)
        gateways = {default: "default", mts: "mMTS", megafon: "mMEGAFON"}
        yield Proxy(process, port, caller, gateways)


def test_kamailio_calls_the_serving_operator(proxy: Proxy) -> None:
    """Each call goes to its operator's gateway, or to the default one."""
    assert {number: proxy.call(number) for number in CALLED} == CALLED


@pytest.mark.parametrize("proxy", [False], indirect=True)
def test_kamailio_goes_on_without_the_service(proxy: Proxy, tmp_path: Path) -> None:
    """While the service is away, calls take the default route."""
    assert proxy.call("+79000000012") == "default"
    assert "region=RU&number=%2b79000000012)" in (tmp_path / "kamailio.log").read_text()


def test_the_request_of_the_dialplan(web, recipe) -> None:
    """The URL that Asterisk asks, and the field that it takes from the answer."""
    dialplan = recipe("extensions.conf").read_text("utf-8")
    (path,) = re.findall(r"CURL\(\$\{NUMROUTE\}(.*)\$\{URIENCODE\(\$\{EXTEN\}\)\}\)", dialplan)
    (field,) = re.findall(r"JSON_DECODE\(ANSWER,([a-z.]+)\)", dialplan)
    for number, operator in CALLED.items():
        found = web.get(path + quote(number, safe="")).json
        for name in field.split("."):
            found = found and found[name]
        assert (found or "default") == operator or f"TRUNK_{found}" not in dialplan
