"""The recipe for Envoy: its JSON transcoder in front of a real service."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
Post = Callable[[str, dict[str, Any]], tuple[int, bytes]]


@pytest.fixture
def post(server, recipe, start, free_ports, tmp_path) -> Post:
    """Run Envoy in front of the service and return a way to ask it."""
    (port,) = free_ports(1)
    page = (ROOT / "docs" / "recipes" / "envoy.md").read_text("utf-8")
    (words,) = re.findall(r"^python -m (grpc_tools\.protoc .*)$", page, re.MULTILINE)
    words = words.replace("-Iprotos", f"-I{ROOT / 'protos'}")
    subprocess.run([sys.executable, "-m", *words.split()], cwd=tmp_path, check=True)
    config = recipe("envoy.yaml", **{"8081": f"{port}", "50051": f"{server.port}"})
    envoy = start("envoy", "-c", config, "--concurrency", 1, "--disable-hot-restart")

    def ask(method: str, body: dict[str, Any]) -> tuple[int, bytes]:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.closing(connection), contextlib.suppress(ConnectionRefusedError):
                path, sent = f"/numroute.v1.NumberRouting/{method}", json.dumps(body)
                connection.request("POST", path, sent, {"Content-Type": "application/json"})
                response = connection.getresponse()
                return response.status, response.read()
            assert envoy.poll() is None, (tmp_path / "envoy.log").read_text()
            time.sleep(0.05)

    return ask


def test_envoy_answers_json(post: Post, registry, store) -> None:
    """Lookup by JSON gives what the registry says, and a status of gRPC becomes one of HTTP."""
    number = next(iter(registry.ported))
    route, _, holder = registry.answer(number)
    status, body = post("Lookup", {"numbers": [f"+{number}", "x"]})
    assert status == 200
    found = json.loads(body)
    answer, invalid = found["answers"]
    assert answer["number"] == f"{number}"
    assert answer["status"] == f"STATUS_{route.status.name}"
    assert answer["route"]["operator"]["code"] == route.operator.code
    assert answer["range_holder"]["code"] == holder.code
    assert invalid["status"] == "STATUS_INVALID"
    assert found["snapshot"]["id"] == store.current_id()
    status, body = post("Lookup", {"numbers": ["x"], "default_region": "??"})
    assert (status, json.loads(body)["code"]) == (400, 3)
    assert post("Delete", {})[0] == 404
