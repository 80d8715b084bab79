"""An SMS provider for Bitrix24 that sends through the serving operator's gateway."""

import hmac
import json
import os
from urllib.error import URLError
from urllib.parse import parse_qsl, quote, urlencode
from urllib.request import Request, urlopen
from wsgiref.simple_server import make_server

NUMROUTE = os.environ.get("NUMROUTE", "http://127.0.0.1:8080")
TOKEN = os.environ.get("NUMROUTE_TOKEN", "")
APPLICATION_TOKEN = os.environ["BITRIX24_APPLICATION_TOKEN"]
GATEWAYS = json.loads(os.environ["GATEWAYS"])  # URL by operator code, and "default"
BODY_MAX = 65536


def application(environ, start_response):
    """Answer a request of messageservice: WSGI."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    form = {}
    if length <= BODY_MAX:
        form = dict(parse_qsl(environ["wsgi.input"].read(length).decode("utf-8", "replace")))
    if not hmac.compare_digest(
        form.get("auth[application_token]", "").encode(), APPLICATION_TOKEN.encode()
    ):
        start_response("403 Forbidden", [])
        return []
    gateway = choose_gateway(form["message_to"])
    try:
        if gateway is not None:
            post(gateway, to=form["message_to"], text=form["message_body"], id=form["message_id"])
    except OSError:
        gateway = None
    if gateway is None:
        report_failure(form)
    start_response("200 OK", [])
    return []


def choose_gateway(number):
    """Return the gateway of a number; None when the number is invalid or nobody serves it."""
    url = f"{NUMROUTE}/v1/lookup?region=RU&number={quote(number)}"
    headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    try:
        with urlopen(Request(url, headers=headers), timeout=1) as response:  # noqa: S310 - http
            answer = json.load(response)
    except (URLError, TimeoutError):
        return GATEWAYS["default"]
    if answer["status"] in ("INVALID", "UNALLOCATED"):
        return None
    operator = answer["route"]["operator"]["code"] if answer["route"] else ""
    return GATEWAYS.get(operator, GATEWAYS["default"])


def report_failure(form):
    """Show in the CRM that the message was not sent."""
    post(
        form["auth[client_endpoint]"] + "messageservice.message.status.update",
        CODE=form["code"],
        MESSAGE_ID=form["message_id"],
        STATUS="failed",
        auth=form["auth[access_token]"],
    )


def post(url, **fields):
    """Send a form."""
    with urlopen(url, urlencode(fields).encode(), timeout=10):  # noqa: S310 - https
        pass


if __name__ == "__main__":
    make_server("127.0.0.1", int(os.environ.get("PORT", "8090")), application).serve_forever()
