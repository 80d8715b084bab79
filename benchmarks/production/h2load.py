"""A client outside Python: ``h2load`` of nghttp2, which sends one request again and again."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.children import ChildError

if TYPE_CHECKING:
    from pathlib import Path

PREFIX_BYTES = 5
"""What gRPC puts before each message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How a service is to be loaded.

    Attributes:
        connections: How many; the kernel gives each to one of the workers by chance.
        streams: Calls under way at most on each connection.
        seconds: How long.
        rate: Calls a second, sent by the clock; None sends as fast as answers come.
        core: The processor core that the client keeps to; None for any.
    """

    connections: int = 32
    streams: int = 4
    seconds: float = 4.0
    rate: float | None = None
    core: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What h2load has seen.

    Attributes:
        answered: Calls a second that were answered with a message.
        ended: Calls a second that ended, refused ones included.
        mean_ms, worst_ms: How long they took, refused ones included.
    """

    answered: float
    ended: float
    mean_ms: float
    worst_ms: float


def available() -> bool:
    """Whether the program is installed (Debian: nghttp2-client)."""
    return shutil.which("h2load") is not None


def frame(request: bytes) -> bytes:
    """Return a message as gRPC frames it: not compressed, its length, itself."""
    return b"\0" + len(request).to_bytes(PREFIX_BYTES - 1, "big") + request


def run(address: str, path: str, body: Path, answer_bytes: int, load: Load) -> Seen:
    """Send a body again and again.

    h2load does not look into gRPC's status, which comes after the message: calls are counted as
    answered by the bytes of messages received, each answer having ``answer_bytes``. Those include
    what comes while h2load warms up, but its counts of calls do not: so it does not.

    Raises:
        ChildError: Calls broke, or h2load says something else than expected.
    """
    words = [
        *("h2load", "-D", f"{load.seconds:g}"),
        *("-c", str(load.connections), "-m", str(load.streams), "-d", str(body)),
        *("-H", "content-type: application/grpc", "-H", "te: trailers"),
        f"http://{address}{path}",
    ]
    if load.rate is not None:
        words += ["--rps", f"{load.rate / load.connections:.4f}"]
    if load.core is not None:
        words = ["taskset", "-c", str(load.core), *words]
    output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    data = re.search(r"\((\d+)\) data", output)
    ended = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed", output)
    took = re.search(r"time for request: +\S+ +(\S+) +(\S+)", output)
    if not (data and ended and took) or int(ended[3]):
        raise ChildError(f"h2load: {output.strip()[-500:]}")
    return Seen(
        answered=int(data[1]) / (answer_bytes + PREFIX_BYTES) / load.seconds,
        ended=int(ended[1]) / load.seconds,
        mean_ms=_milliseconds(took[2]),
        worst_ms=_milliseconds(took[1]),
    )


def _milliseconds(text: str) -> float:
    """Return a time as h2load writes it, e.g. ``854us`` or ``1.20s``."""
    number, unit = re.fullmatch(r"([\d.]+)(\D+)", text.strip()).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}[unit]
