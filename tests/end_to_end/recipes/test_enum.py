"""The recipe for ENUM: dig asks PowerDNS, which asks the recipe's script, which asks numroute."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

Dig = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def dig(recipe, start, free_ports, tmp_path, monkeypatch) -> Callable[[str], Dig]:
    """Return a function that runs PowerDNS in front of a service and returns a way to ask it."""
    if shutil.which("dig") is None:
        pytest.skip("dig is not installed")

    def run(url: str) -> Dig:
        dns, http = free_ports(2)
        for name, value in {"NUMROUTE": url, "PORT": f"{http}"}.items():
            monkeypatch.setenv(name, value)
        config = recipe("pdns.conf", **{"5300": f"{dns}", ":8053/": f":{http}/"})
        start(
            "pdns_server",
            *(f"--config-dir={config.parent}", f"--socket-dir={tmp_path}"),
            *("--daemon=no", "--guardian=no", "--security-poll-suffix="),
        )
        backend = start(sys.executable, recipe("enum_backend.py"))

        def ask(name: str, kind: str = "NAPTR") -> tuple[str, list[str]]:
            words = ["dig", "@127.0.0.1", "-p", f"{dns}", "+tries=1", "+timeout=5", name, kind]
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
            lines = done.stdout.splitlines()
            status = [
                line.split("status: ")[1].split(",")[0] for line in lines if "status:" in line
            ]
            answers = [line for line in lines if kind in line and not line.startswith(";")]
            return status[0] if status else "", answers

        for _ in range(100):
            assert backend.poll() is None
            if ask("7.e164.arpa", "SOA")[0] == "NOERROR":
                return ask
        raise AssertionError((tmp_path / "pdns_server.log").read_text())

    return run


def enum(number: int) -> str:
    return ".".join(reversed(f"{number}")) + ".e164.arpa"


def test_dig_finds_the_routing_number(web, dig) -> None:
    """RFC 4694's parameters for a ported number and for one that was not ported."""
    ask = dig(web.url)
    naptr = '100 10 "u" "E2U+pstn:tel" "!^.*$!tel:{}!" .'
    for number, tel in {
        79000000012: "+79000000012;npdi;rn=D7702;rn-context=+7",
        79160000001: "+79160000001;npdi",
    }.items():
        status, (answer,) = ask(enum(number))
        assert status == "NOERROR"
        assert answer.split("NAPTR")[1].strip() == naptr.format(tel)
    assert ask(enum(79990000000)) == ("NXDOMAIN", [])
    # Resolvers that ask from the top down come past parts of a number.
    assert ask(enum(7900))[0] == "NOERROR"


def test_a_service_that_is_away_is_no_answer(dig) -> None:
    """A number that could not be asked about is SERVFAIL, which is not cached as unallocated."""
    ask = dig("http://127.0.0.1:1")
    assert ask(enum(79000000012)) == ("SERVFAIL", [])
