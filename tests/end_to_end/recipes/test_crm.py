"""The recipes for Bitrix24 and 1C, by the requests that the two products send."""

from __future__ import annotations

import http.client
import io
import json
import re
import runpy
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlencode

import pytest
from support.web import Web

MESSAGE = {
    "module_id": "crm",
    "bindings[0][OWNER_TYPE_ID]": "1",
    "bindings[0][OWNER_ID]": "98",
    "properties[phone_number]": "",
    "properties[message_text]": "Заказ готов",
    "type": "SMS",
    "code": "numroute",
    "message_id": "72dd742c8270db0d",
    "message_to": "",
    "message_body": "Заказ готов",
    "ts": "1506687055",
    "auth[access_token]": "access",
    "auth[expires_in]": "3600",
    "auth[scope]": "messageservice",
    "auth[domain]": "example.bitrix24.test",
    "auth[client_endpoint]": "",
    "auth[status]": "L",
    "auth[member_id]": "a223c6b3710f85df",
    "auth[application_token]": "application",
}
"""What Bitrix24 posts to a provider's handler when a message is sent from a CRM card."""

Forms = list[tuple[str, dict[str, str]]]


@pytest.fixture
def outside() -> Iterator[tuple[str, Forms]]:
    """Stand in for the gateways and for Bitrix24; return the address and what was posted."""
    posted: Forms = []

    class Outside(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            posted.append((self.path, dict(parse_qsl(body))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Outside) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()
        thread.join()


@pytest.fixture
def send(outside, recipe, monkeypatch) -> Callable[..., str]:
    """Return a function that hands a message to the handler as Bitrix24 does."""
    address, _ = outside
    gateways = {"default": f"{address}/default", "mMTS": f"{address}/mts"}
    monkeypatch.setenv("GATEWAYS", json.dumps(gateways))
    monkeypatch.setenv("BITRIX24_APPLICATION_TOKEN", "application")

    def post(url: str, number: str, **changed: str) -> str:
        monkeypatch.setenv("NUMROUTE", url)
        handler = runpy.run_path(str(recipe("bitrix24.py")))["application"]
        form = {name: value or number for name, value in MESSAGE.items()} | changed
        form["auth[client_endpoint]"] = f"{address}/rest/"
        body = urlencode(form).encode()
        environ = {"CONTENT_LENGTH": f"{len(body)}", "wsgi.input": io.BytesIO(body)}
        statuses: list[str] = []
        assert handler(environ, lambda status, _: statuses.append(status)) == []
        return statuses[0]

    return post


def test_bitrix24_sends_through_the_serving_operator(web, send, outside) -> None:
    """Each message goes to its gateway; one that nobody can receive is reported as failed."""
    _, posted = outside
    for number in ("+79000000345", "+79000000012", "+442071234567", "+79990000000", "x"):
        assert send(web.url, number) == "200 OK"
    assert [path for path, _ in posted] == [
        *("/mts", "/default", "/default"),
        *["/rest/messageservice.message.status.update"] * 2,
    ]
    assert posted[0][1] == {"to": "+79000000345", "text": "Заказ готов", "id": "72dd742c8270db0d"}
    assert posted[-1][1] == {
        "CODE": "numroute",
        "MESSAGE_ID": "72dd742c8270db0d",
        "STATUS": "failed",
        "auth": "access",
    }


def test_bitrix24_sends_while_the_service_is_away(send, outside) -> None:
    """A message that could not be asked about goes through the default gateway."""
    assert send("http://127.0.0.1:1", "+79000000345") == "200 OK"
    assert [path for path, _ in outside[1]] == ["/default"]


def test_only_bitrix24_may_send(web, send, outside) -> None:
    """A request without the application's token is refused, and so is an endless one."""
    for changed in ({"auth[application_token]": "guess"}, {"message_body": "x" * 100_000}):
        assert send(web.url, "+79000000345", **changed) == "403 Forbidden"
    assert outside[1] == []


def test_the_request_of_1c_is_answered(web: Web, recipe) -> None:
    """The page's request, byte for byte, gets the fields that the function reads."""
    (request,) = re.findall(r"```\n(POST .*?)\n```", recipe("crm.md").read_text("utf-8"), re.DOTALL)
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 200
        with response:
            answers = json.load(response)["answers"]
    assert [(one["input"], one["route"]["operator"]["code"]) for one in answers] == [
        ("89161234567", "mTELE2"),
        ("+79000000012", "mMEGAFON"),
    ]
    code = recipe("1c.bsl").read_text("utf-8")
    for word in ("/v1/lookup", "numbers, region", ".answers", ".input", ".route.operator.code"):
        assert word in code
