"""No phone number appears in a log line or an error, whatever is asked."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc
import pytest

import numroute
from numroute.errors import ServiceError
from numroute.logs import fault_fields
from numroute.server.auth import new_token, token_entry
from numroute.server.settings import Security
from numroute.v1 import number_routing_pb2 as pb

NUMBERS = [79_000_123_456, 79_000_654_321, 999_999_999_999_999_123, 49_301_234_567]
TEXTS = ["8 (900) 012-34-56", "+7 900 065 43 21", "+999 8765 4321", "79000123456 abc", "9000123456"]
SECRETS = ["123456", "654321", "0123456", "012-34-56", "065 43 21", "8765 4321", "1234567"]

FAULT = """
from numroute.server.view import View

def fail(self, numbers, **options):
    raise ValueError(f"cannot look up {list(numbers)}")

View.bulk_answer = fail
"""


def assert_masked(text: str) -> None:
    """Check that no part of a number that tells it apart stands in a text."""
    assert [secret for secret in SECRETS if secret in text] == []


def ask_everything(server) -> list[str]:
    """Ask every method for valid and invalid numbers; return the texts of all errors."""
    errors = []
    with numroute.Client(server.target) as client:
        for ask in (
            lambda: client.lookup(NUMBERS, with_range_holder=True, with_ported_at=True),
            lambda: client.lookup_text(TEXTS, "RU"),
            lambda: client.lookup_text(TEXTS),
            lambda: client.lookup_text(TEXTS, "XX"),
            lambda: client.lookup([NUMBERS[0], -NUMBERS[1]]),
            lambda: client.lookup([NUMBERS[0], 10**30 + 123456]),
            lambda: client.lookup([float(NUMBERS[0])]),
            lambda: client.lookup(TEXTS),
            lambda: client.lookup_text(NUMBERS),
            lambda: client.lookup_text([TEXTS[0] + "\ud800"]),
        ):
            try:
                ask()
            except (ServiceError, TypeError, ValueError) as error:
                errors.append(repr(error) + str(error))
    good = pb.BulkLookupRequest(numbers=NUMBERS).SerializeToString()
    texts = pb.LookupRequest(numbers=TEXTS).SerializeToString()
    for method, request in (("BulkLookup", good[:-3]), ("Lookup", texts[:-3]), ("Lookup", good)):
        try:
            server.call(method, request)
        except grpc.RpcError as error:
            errors.append(str(error))
    return errors


def test_requests_leave_no_number_behind(run_server, store) -> None:
    """Neither log nor error texts hold a number after valid, invalid and malformed requests."""
    server = run_server(store.path)
    errors = ask_everything(server)
    assert len(errors) >= 8
    assert_masked("\n".join(errors))
    assert server.stop() == 0
    assert_masked(server.log_path.read_text("utf-8"))
    # Requests are not logged at all: the whole log is the service's own life.
    assert [line["event"] for line in server.log()] == [
        "snapshot in service",
        "worker serving",
        "serving",
        "draining",
        "worker draining",
        "worker stopped",
        "stopped",
    ]


@pytest.mark.parametrize("count", [1, 2_000], ids=["small", "large"])
def test_an_unforeseen_fault_is_told_without_its_text(run_server, store, count) -> None:
    """A fault whose text quotes numbers is INTERNAL; the log has its class and places only."""
    server = run_server(store.path, before=FAULT)
    with numroute.Client(server.target) as client, pytest.raises(ServiceError) as caught:
        client.lookup(NUMBERS * count)
    assert caught.value.code == "INTERNAL"
    assert_masked(str(caught.value))
    (line,) = server.wait_for_log("request failed")
    assert line["fault"] == "ValueError"
    assert line["method"] == "BulkLookup"
    assert any("bulk_lookup" in place for place in line["places"])
    assert server.stop() == 0
    assert_masked(server.log_path.read_text("utf-8"))


def test_protection_leaves_neither_number_nor_token_behind(run_server, store, tmp_path) -> None:
    """Refusals, quotas, audit, metrics and a broken tokens file tell clients, never more."""
    token, sha256 = new_token()
    path = tmp_path / "tokens"
    path.touch(0o600)
    lines = [token_entry("messaging", sha256), "[clients.messaging]\ndaily = 5"]
    path.write_text("\n".join(lines), "utf-8")
    security = Security(tokens=path, state=tmp_path / "state")
    server = run_server(store.path, security=security, metrics="127.0.0.1:0")
    request = pb.BulkLookupRequest(numbers=NUMBERS).SerializeToString()
    told = []
    for authorization in (
        None,
        "Basic 79000123456",
        "Bearer nr_79000654321",
        f"Bearer {token}",
        # The quota has one number left for these four.
        f"Bearer {token}",
    ):
        metadata = () if authorization is None else (("authorization", authorization),)
        for method in ("BulkLookup", "StreamLookup"):
            try:
                if method == "BulkLookup":
                    server.channel.unary_unary(f"/numroute.v1.NumberRouting/{method}")(
                        request, timeout=20, metadata=metadata
                    )
                else:
                    stream = server.channel.stream_stream(f"/numroute.v1.NumberRouting/{method}")
                    list(stream(iter([request]), timeout=20, metadata=metadata))
            except grpc.RpcError as error:
                told.append(str(error))
    assert len(told) == 9
    path.write_text("\n".join([*lines, f"billing {token}", "79000123456"]), "utf-8")
    server.wait_for_log("tokens refused")
    (line,) = [line for line in server.log() if line["event"] == "metrics served"]
    with urllib.request.urlopen(f"http://{line['address']}/metrics", timeout=20) as answer:
        told.append(answer.read().decode())
    assert server.stop() == 0
    told.append(server.log_path.read_text("utf-8"))
    events = {line["event"] for line in server.log()}
    assert {"call refused", "tokens refused", "audit"} <= events
    assert_masked("\n".join(told))
    assert token not in "\n".join(told)
    assert sha256 not in "\n".join(told)
    assert_masked((tmp_path / "state" / "usage-v1.bin").read_bytes().decode("latin-1"))


def test_fault_fields_name_the_place() -> None:
    """What is logged of a fault is its class and where it went through."""
    with pytest.raises(KeyError) as caught:
        {}[NUMBERS[0]]
    fields = fault_fields(caught.value)
    assert fields["fault"] == "KeyError"
    assert "test_masking.py" in fields["places"][0]
    assert_masked(str(fields))


def test_a_crash_writes_no_memory_to_disk(server) -> None:
    """A worker's core dumps are off, by limit and by prctl: its memory holds tokens and numbers."""
    (worker,) = server.workers()
    limits = Path(f"/proc/{worker}/limits").read_text("ascii")
    assert re.search(r"Max core file size +0 +0 ", limits)
    code = (
        "import ctypes\n"
        "from numroute.server.memory import forbid_core_dumps\n"
        "forbid_core_dumps()\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
