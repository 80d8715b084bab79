"""Callbacks go to allowed hosts only, are signed, and are repeated until one arrives."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.web import Web, running

from numroute.errors import SettingError
from numroute_web.webhooks import Webhooks, _CheckedNetwork

KEY = b"0123456789abcdef01234567"


@pytest.fixture
def receiver():
    """Run a receiver; its ``answers`` are statuses, the last one for all further requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            server.received.append((dict(self.headers.items()), body))
            status = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            self.send_response(status)
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.received, server.answers = [], [204]
    threading.Thread(target=server.serve_forever).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return the file of a secret."""
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text(f"whsec_{base64.b64encode(KEY).decode()}\n")
    return path


def deliveries(web: Web, job: str, count: int) -> list[dict]:
    """Wait until this many attempts were made, and return them."""
    while len(found := web.get(f"/v1/lists/{job}/deliveries").json["deliveries"]) < count:
        time.sleep(0.05)
    return found


def test_the_end_of_a_list_is_told_and_signed(store, tmp_path, secret, receiver) -> None:
    """The request carries Standard Webhooks' headers; a redirect is not followed, but repeated."""
    receiver.answers = [307, 204]
    port = receiver.server_address[1]
    options = ("--callback-host", "127.0.0.1", "--callback-secret", secret)
    with running(tmp_path, "--store", store, *options) as web:
        url = f"http://127.0.0.1:{port}/done"
        job = web.post(f"/v1/lists?callback_url={url}", b"phone\n+79161234567\n").json["id"]
        (first,) = deliveries(web, job, 1)
        assert (first["status"], first["error"]) == (307, "status 307")
        assert first["next_at"]
        _, second = deliveries(web, job, 2)
        assert (second["status"], second["error"], second["next_at"]) == (204, "", None)
    for headers, body in receiver.received:
        sent = {name.lower(): value for name, value in headers.items()}
        signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert sent["webhook-signature"] == f"v1,{expected}"
        assert abs(int(sent["webhook-timestamp"]) - time.time()) < 60
        message = json.loads(body)
        assert (message["type"], message["data"]["id"]) == ("list.done", job)
        assert b"7916" not in body


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest", "http://localhost/",
        "http://crm.example.com.evil.example/", "http://crm.example.com@evil.example/",
        "http://user:password@crm.example.com/", "ftp://crm.example.com/", "file:///etc/passwd",
        "http://crm.example.com:99999/", "//crm.example.com/", "gopher:x", "http://[/", "x" * 100,
    ],
)  # fmt: skip
def test_a_hostile_callback_is_refused(web, url) -> None:
    """Nothing but an allowed host is taken."""
    answer = web.post(f"/v1/lists?callback_url={url}", b"phone\n+79161234567\n")
    assert (answer.status, answer.problem) == (400, "callback-refused")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1", "fe80::1", "fd00::1",
     "::ffff:127.0.0.1", "0.0.0.1", "224.0.0.1", "100.64.0.1"],
)  # fmt: skip
def test_private_addresses_are_refused_unless_listed(address) -> None:
    """An allowed name may not lead into the network; a listed address may."""
    hooks = Webhooks(hosts=frozenset({"crm.example.com"}), networks=(), key=KEY)
    assert not hooks.allows(address)
    assert hooks.allows("93.184.216.34")
    listed = ipaddress.ip_network(address.removeprefix("::ffff:"))
    assert Webhooks(hosts=frozenset(), networks=(listed,), key=KEY).allows(address)


async def test_a_name_that_changes_its_address_gains_nothing(monkeypatch) -> None:
    """The address that was judged is the one that is connected to: rebinding finds no gap."""
    import asyncio

    import httpcore

    hooks = Webhooks(hosts=frozenset({"crm.example.com"}), networks=(), key=KEY)
    network = _CheckedNetwork(hooks)
    asked, connected = [], []

    async def resolve(host: str, port: int, **_: object) -> list:
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(2, 1, 6, "", (address, port))]

    async def connect(address: str, *_: object) -> None:
        connected.append(address)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    monkeypatch.setattr(network._network, "connect_tcp", connect)
    await network.connect_tcp("crm.example.com", 443)
    assert connected == ["93.184.216.34"]
    with pytest.raises(httpcore.ConnectError):
        await network.connect_tcp("crm.example.com", 443)
    assert connected == ["93.184.216.34"]


def test_hosts_need_a_secret(tmp_path) -> None:
    """Without a secret, or with a short or readable one, no callback is promised."""
    with pytest.raises(SettingError, match="needs a secret"):
        Webhooks.of_settings(["crm.example.com"], None)
    short = tmp_path / "short"
    short.touch(mode=0o600)
    short.write_text("whsec_AAAA")
    with pytest.raises(SettingError, match="not valid"):
        Webhooks.of_settings(["crm.example.com"], short)
    short.chmod(0o644)
    with pytest.raises(SettingError, match="read or changed by others"):
        Webhooks.of_settings(["crm.example.com"], short)
