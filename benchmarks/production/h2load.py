"""A client outside Python: ``h2load`` of nghttp2, which sends one request again and again."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from benchmarks.children import ChildError

if TYPE_CHECKING:
    from pathlib import Path

CONNECTIONS = 32
STREAMS = 4
"""Calls under way on each connection."""


def available() -> bool:
    """Whether the program is installed (Debian: nghttp2-client)."""
    return shutil.which("h2load") is not None


def frame(request: bytes) -> bytes:
    """Return a message as gRPC frames it: not compressed, its length, itself."""
    return b"\0" + len(request).to_bytes(4, "big") + request


def calls_per_second(address: str, body: Path, calls: int, path: str) -> float:
    """Send so many calls with this body and return how many a second were answered.

    Raises:
        ChildError: Not every one was answered.
    """
    found = subprocess.run(
        [
            *("h2load", "-n", str(calls), "-c", str(CONNECTIONS), "-m", str(STREAMS)),
            *("-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"),
            f"http://{address}{path}",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    succeeded = re.search(r"(\d+) succeeded", found)
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", found)
    if succeeded is None or rate is None or int(succeeded[1]) != calls:
        raise ChildError(f"h2load: {found.strip()[-500:]}")
    return float(rate[1])
