"""The examples in ``deploy``: what they say is true of the product."""

from __future__ import annotations

import importlib.util
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.certificates import Authority

ROOT = Path(__file__).resolve().parent.parent


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_health_check_asks_web_with_and_without_tls(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a certificate it asks over HTTPS, on the loopback without verification."""
    spec = importlib.util.spec_from_file_location("healthcheck", ROOT / "deploy/healthcheck.py")
    assert spec is not None
    assert spec.loader is not None
    healthcheck = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(healthcheck)
    server = HTTPServer(("127.0.0.1", 0), _Page)
    monkeypatch.setenv("NUMROUTE_WEB_LISTEN", f"0.0.0.0:{server.server_port}")
    monkeypatch.delenv("NUMROUTE_TLS_CERT", raising=False)
    if scheme == "https":
        files = Authority.make(tmp_path / "ca").issue()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files.certificate, files.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        monkeypatch.setenv("NUMROUTE_TLS_CERT", str(files.certificate))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        healthcheck.check(["numroute", "web"])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_units_start_without_files_that_a_setup_may_lack() -> None:
    """A missing credential or document of a unit is a failed start or a dead link."""
    for unit in (ROOT / "deploy/systemd").glob("*.service"):
        text = unit.read_text("utf-8")
        assert "LoadCredential=" not in text, unit.name
        assert "/usr/share/doc" not in text, unit.name


def test_the_documented_extras_serve_every_unit() -> None:
    """The page installs what the feed, the replicas and the web service need."""
    page = (ROOT / "docs/deploy.md").read_text("utf-8")
    extras = page.partition("pip install '.[")[2].partition("]")[0].split(",")
    assert {"sftp", "s3", "web"} <= set(extras)
