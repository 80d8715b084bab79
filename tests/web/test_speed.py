"""How fast lookups over HTTP are beside a handler that returns a constant: printed only."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time

import pytest

CONSTANT = """
import asyncio, sys, uvicorn
from litestar import Litestar, Response, post
from numroute_web.lookup import LookupBody

CONTENT = b"1" * int(sys.argv[1])

@post("/v1/lookup", status_code=200)
async def constant(data: LookupBody) -> Response[bytes]:
    return Response(CONTENT, media_type="application/json")

uvicorn.run(
    Litestar([constant], openapi_config=None, logging_config=None),
    port=int(sys.argv[2]), log_config=None, access_log=False, lifespan="off",
)
"""


def rate(port: int, body: bytes, seconds: float) -> float:
    """Return requests per second on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            connection.request("POST", "/v1/lookup", body, {"content-type": "application/json"})
            assert connection.getresponse().read()
            count += 1
    return count / seconds


@pytest.mark.slow
def test_a_lookup_costs_little_more_than_a_constant(web) -> None:
    """Print the ratio for 100 numbers, alternating so that both meet the same machine."""
    body = json.dumps({"numbers": [f"+7916{i:07}" for i in range(0, 10**7, 10**5)]}).encode()
    size = len(web.ask("POST", "/v1/lookup", body, content_type="application/json").body)
    port = web.port + 1 if web.port < 65_535 else web.port - 1
    constant = subprocess.Popen([sys.executable, "-c", CONSTANT, str(size), str(port)])
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                rate(port, body, 0.1)
                break
            time.sleep(0.1)
        ratios = [rate(web.port, body, 2) / rate(port, body, 2) for _ in range(4)]
    finally:
        constant.kill()
        constant.wait()
    text = f"100 numbers, {size:,} bytes: {max(ratios):.2f} of a constant handler's rate"
    print(text)  # noqa: T201 - the figure is the test's result
