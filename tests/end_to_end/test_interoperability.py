"""Clients of others: Node (@grpc/grpc-js) with the proto, buf curl through reflection."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.certificates import Authority
from support.servers import running

from numroute.model import Status
from numroute.server.auth import new_token, token_entry
from numroute.server.settings import Security

ROOT = Path(__file__).parents[2]
PROTOS = ROOT / "protos"
SERVICE = "numroute.v1.NumberRouting"


class Guarded:
    """A service that speaks TLS and wants a token, and what a client of it needs."""

    def __init__(self, server, ca: Path, token: str) -> None:
        """Keep them together."""
        self.port = server.port
        self.ca = ca
        self.token = token


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, store):
    """Run a service with TLS and tokens."""
    folder = tmp_path_factory.mktemp("guarded")
    authority = Authority.make(folder / "tls")
    token, digest = new_token()
    tokens = folder / "tokens"
    tokens.touch(0o600)
    tokens.write_text(token_entry("interoperability", digest))
    security = Security(tls=authority.issue(), tokens=tokens)
    with running(folder, store.path, security=security) as server:
        yield Guarded(server, authority.path, token)


def run_node(folder: Path, target: str, asked: dict) -> subprocess.CompletedProcess[str]:
    """Run the Node client."""
    proto = PROTOS / "numroute" / "v1" / "number_routing.proto"
    return subprocess.run(
        ["node", "client.js", str(proto), target, json.dumps(asked)],  # noqa: S607 - found above
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def check_bulk(told: dict, numbers: list[int], registry) -> None:
    """Compare a bulk answer, as proto-loader and protojson give it, with the oracle."""
    rows = [
        (
            told["routes"][index]["status"],
            told["routes"][index].get("operator", {}).get("code", ""),
            time,
            told["range_holders"][holder].get("code", ""),
        )
        for index, time, holder in zip(
            told["route_indexes"], told["ported_at"], told["range_holder_indexes"], strict=True
        )
    ]
    assert rows == [
        (f"STATUS_{route.status.name}", route.operator.code, time, holder.code)
        for route, time, holder in map(registry.answer, numbers)
    ]


def check_rows(told: dict, numbers: list[int], registry) -> None:
    """Compare a row answer with the oracle."""
    found = [
        (answer["number"], answer["status"], (answer.get("route") or {}).get("operator"))
        for answer in told["answers"]
    ]
    for (number, status, operator), asked in zip(found, numbers, strict=True):
        route = registry.answer(asked)[0]
        assert (number, status) == (str(asked), f"STATUS_{route.status.name}")
        assert (operator or {}).get("code", "") == route.operator.code


def check_all(told: dict, numbers: list[int], registry, store) -> None:
    """Check what each method said."""
    current = store.current_id()
    check_bulk(told["BulkLookup"], numbers, registry)
    check_rows(told["Lookup"], numbers, registry)
    assert told["Explain"]["decided_by"] == "LAYER_NAME_PORTED_RECORD"
    assert told["Explain"]["route"]["operator"]["code"] == (
        registry.answer(numbers[0])[0].operator.code
    )
    for method in ("GetSnapshot", "WatchSnapshots", "ListOperators", "Explain"):
        assert told[method]["snapshot"]["id"] == current
    assert [entry["operator"]["code"] for entry in told["ListOperators"]["operators"]] == sorted(
        {route.operator.code for route in registry.content.routes[2:]}
    )


@pytest.fixture(scope="module")
def numbers(registry) -> list[int]:
    """Return ported numbers, the ends of ranges, and what nobody holds."""
    first = next(n for n, (route, _) in registry.ported.items() if route.status is Status.PORTED)
    return [first, *list(registry.ported)[:30], *registry.starts[1:20]]


@pytest.mark.parametrize("guard", [False, True], ids=["plaintext", "tls_and_token"])
def test_node_asks_every_method(guard, node, server, guarded, store, registry, numbers) -> None:
    """A Node client gets right answers from every call, streams too, with TLS and a token too."""
    target = f"localhost:{guarded.port}" if guard else server.target
    asked: dict = {"numbers": numbers}
    if guard:
        asked |= {"ca": str(guarded.ca), "token": guarded.token}
    done = run_node(node, target, asked)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    check_all(told, numbers, registry, store)
    assert len(told["StreamLookup"]) == 20
    for i, answer in enumerate(told["StreamLookup"]):
        check_bulk(answer, numbers[i:], registry)


def test_node_without_a_token_is_refused(node, guarded, numbers) -> None:
    """Without its token the Node client is told UNAUTHENTICATED."""
    asked = {"numbers": numbers, "ca": str(guarded.ca)}
    done = run_node(node, f"localhost:{guarded.port}", asked)
    assert done.returncode == 1
    assert "UNAUTHENTICATED" in done.stderr


@pytest.fixture(scope="module")
def buf() -> str:
    """Return the path of buf."""
    beside = Path(sys.executable).with_name("buf")
    found = str(beside) if beside.exists() else shutil.which("buf")
    if found is None:
        pytest.skip("buf is not installed")
    return found


def curl(buf: str, url: str, method: str, messages: list[dict], *flags: str) -> list[dict]:
    """Call a method with buf curl, which learns of it by reflection; return the responses."""
    words = [buf, "curl", "--protocol", "grpc", *flags, "--emit-defaults", "--data", "@-"]
    done = subprocess.run(
        [*words, f"{url}/{SERVICE}/{method}"],
        input="\n".join(map(json.dumps, messages)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if method != "WatchSnapshots":
        assert done.returncode == 0, done.stderr
    decoder, text, found = json.JSONDecoder(), done.stdout, []
    while text.strip():
        value, end = decoder.raw_decode(text.lstrip())
        text = text.lstrip()[end:]
        found.append(snake(value))
    return found


def snake(value):
    """Return protojson's names as the contract spells them."""
    if isinstance(value, dict):
        return {
            "".join("_" + c.lower() if c.isupper() else c for c in key): snake(each)
            for key, each in value.items()
        }
    return [snake(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("guard", [False, True], ids=["plaintext", "tls_and_token"])
def test_buf_curl_asks_every_method(guard, buf, server, guarded, store, registry, numbers) -> None:
    """Through reflection alone, buf curl gets right answers from every call."""
    url = f"https://localhost:{guarded.port}" if guard else f"http://{server.target}"
    flags = ["--http2-prior-knowledge"]
    if guard:
        bearer = f"authorization: Bearer {guarded.token}"
        flags = ["--cacert", str(guarded.ca), "--header", bearer, "--reflect-header", bearer]
    bulk = {"numbers": list(map(str, numbers)), "withRangeHolder": True, "withPortedAt": True}
    requests: dict[str, list[dict]] = {
        "Lookup": [{"numbers": [f"+{number}" for number in numbers]}],
        "BulkLookup": [bulk],
        "Explain": [{"number": f"+{numbers[0]}"}],
        "GetSnapshot": [{}],
        "ListOperators": [{}],
    }
    told = {
        method: curl(buf, url, method, messages, *flags)[0] for method, messages in requests.items()
    }
    # The watch has no end of its own: the tool gives it up.
    told["WatchSnapshots"] = curl(buf, url, "WatchSnapshots", [{}], *flags, "--timeout", "3s")[0]
    check_all(told, numbers, registry, store)
    streamed = curl(
        buf, url, "StreamLookup", [bulk, bulk | {"numbers": bulk["numbers"][5:]}], *flags
    )
    check_bulk(streamed[0], numbers, registry)
    check_bulk(streamed[1], numbers[5:], registry)
