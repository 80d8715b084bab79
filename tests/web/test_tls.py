"""TLS of the page: the certificate that new connections see."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from support.certificates import Authority
from support.registry import command
from support.web import running


def served_serial(port: int, authority: Path) -> int:
    """Return the serial number of the certificate that a new connection gets."""
    text = ssl.get_server_certificate(("127.0.0.1", port), ca_certs=str(authority), timeout=10)
    return x509.load_pem_x509_certificate(text.encode()).serial_number


@pytest.mark.parametrize("is_mixed", [False, True])
def test_a_new_certificate_is_used_without_a_restart(
    store: Path, tmp_path: Path, *, is_mixed: bool
) -> None:
    """New connections see it; one whose key has not come yet leaves the old one in use."""
    authority = Authority.make(tmp_path / "authority")
    files, new = authority.issue(), authority.issue("next")
    wanted = x509.load_pem_x509_certificate(new.certificate.read_bytes()).serial_number
    options = ("--store", store, "--tls-cert", files.certificate, "--tls-key", files.key)
    with running(tmp_path, *options) as web:
        old = served_serial(web.port, authority.path)
        new.certificate.rename(files.certificate)
        if is_mixed:
            wait_for(web, "certificate refused")
            assert served_serial(web.port, authority.path) == old
        new.key.rename(files.key)
        wait_for(web, "certificate in use")
        found = old
        while found == old:
            found = served_serial(web.port, authority.path)
        assert found == wanted


def wait_for(web, event: str) -> None:
    """Wait until the service has logged an event."""
    while web.find_log(event) is None:
        assert web.process.poll() is None
        with contextlib.suppress(subprocess.TimeoutExpired):
            web.process.wait(0.05)


def test_the_help_offers_what_the_command_takes() -> None:
    """Client certificates and reflection are of gRPC: the former are refused, not offered."""
    help_text = command("numroute", "web", "--help").out
    assert "--tls-cert" in help_text
    assert "--tls-client-ca" not in help_text
    assert "--reflection" not in help_text
    refused = command(
        *("numroute", "web", "--store", "x", "--tls-cert", "a", "--tls-key", "b"),
        *("--tls-client-ca", "c", "--check"),
    )
    assert (refused.status, "is for numroute serve" in refused.err) == (2, True)
