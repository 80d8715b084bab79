"""The whole product: generate, build, serve, look up, stop.

Run by ``make demo``; every step but the bulk lookup is the command that a user would type.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from numroute import Client
from numroute.errors import ServiceError
from numroute.index import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Iterator

BIN = Path(sys.executable).parent
BULK_NUMBERS = 5_000_000
START_SECONDS_MAX = 30.0
LOOKUP_STATUSES = frozenset({0, 3})
"""`numroute lookup` exits with 3 when a number is unallocated or invalid; two of ours are."""


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo-data"))
    parser.add_argument("--ported", type=int, default=1_000_000)
    arguments = parser.parse_args()
    registry, store = arguments.folder / "registry", arguments.folder / "store"
    if arguments.folder.exists():
        shutil.rmtree(arguments.folder)
    run("numroute-load", "generate", registry, "--ported", arguments.ported)
    run("numroute-load", "build", "--store", store, registry)
    target = f"127.0.0.1:{free_port()}"
    with serving(store, target):
        numbers = human_numbers(registry)
        run(
            "numroute",
            "lookup",
            "--target",
            target,
            "--region",
            "RU",
            *numbers,
            allow=LOOKUP_STATUSES,
        )
        bulk(target, store)
    return 0


def run(command: str, *arguments: object, allow: frozenset[int] = frozenset({0})) -> None:
    """Print a command line and run it; end the demo when its exit status is not allowed."""
    words = [command, *map(str, arguments)]
    print(f"\n$ {shlex.join(words)}", flush=True)
    status = subprocess.run([BIN / words[0], *words[1:]], check=False).returncode
    if status not in allow:
        sys.exit(status)


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(store: Path, target: str) -> Iterator[None]:
    """Run `numroute serve` and stop it with SIGTERM."""
    words = ["numroute", "serve", "--store", str(store), "--listen", target]
    print(f"\n$ {shlex.join(words)} &", flush=True)
    log = store.parent / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen([BIN / words[0], *words[1:]], stderr=file)
    try:
        wait_until_serving(process, target, log)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(START_SECONDS_MAX)
    if status != 0:
        sys.exit(f"numroute serve ended with status {status}; see {log}")
    print("\nThe service has stopped.")


def wait_until_serving(process: subprocess.Popen[bytes], target: str, log: Path) -> None:
    """Return when the service answers; end the demo when it ends or takes too long."""
    begin = time.monotonic()
    with Client(target) as client:
        while process.poll() is None and time.monotonic() < begin + START_SECONDS_MAX:
            try:
                client.snapshot()
            except ServiceError:
                time.sleep(0.05)
            else:
                print(f"The service answers {time.monotonic() - begin:.1f} s after its start.")
                return
    sys.exit(f"numroute serve did not come up; see {log}")


def human_numbers(registry: Path) -> list[str]:
    """Return ported and other numbers as people write them; all of them are generated."""
    (dump,) = registry.glob("Port_All_*.zip")
    with zipfile.ZipFile(dump) as archive, archive.open(archive.namelist()[0]) as file:
        lines = io.TextIOWrapper(file, "utf-8")
        ported = [line[:10] for line, _ in zip(lines, range(400_000), strict=False)][1:]
    first, second, third = ported[:: min(130_000, len(ported) // 3)][:3]
    return [
        f"+7{first}",
        f"8 ({second[:3]}) {second[3:6]}-{second[6:8]}-{second[8:]}",
        f"{third[:3]} {third[3:6]} {third[6:]}",
        "8 (916) 123-45-67",
        "+7 495 123-45-67",
        "8 800 555-00-00",
        "+7 (999) 999-99-99",
        "+7 916 12",
    ]


def bulk(target: str, store: Path) -> None:
    """Send many numbers through BulkLookup, check every answer, and print the rate."""
    numbers = np.random.default_rng(1).integers(
        79_000_000_000, 80_000_000_000, BULK_NUMBERS, dtype=np.uint64
    )
    print(f"\nBulkLookup of {BULK_NUMBERS:,} random mobile numbers:")
    with Client(target) as client:
        client.lookup(numbers[:100_000])
        begin = time.perf_counter()
        answer = client.lookup(numbers, timeout=60)
        seconds = time.perf_counter() - begin
    counts = np.bincount(answer.route_index, minlength=len(answer.routes)).tolist()
    by_status: dict[str, int] = {}
    for route, count in zip(answer.routes, counts, strict=True):
        by_status[route.status.name] = by_status.get(route.status.name, 0) + count
    for status, count in sorted(by_status.items()):
        print(f"  {status:<12} {count:>10,}")
    with SnapshotStore(store).open() as snapshot:
        rows = snapshot.lookup(numbers).route
        same = [snapshot.route(row) for row in np.unique(rows).tolist()]
        index_of = {route: i for i, route in enumerate(answer.routes)}
        expected = np.zeros(snapshot.route_count, np.uint32)
        expected[np.unique(rows)] = [index_of[route] for route in same]
    if not np.array_equal(expected.take(rows), answer.route_index):
        sys.exit("the service's answers differ from the store's")
    print(f"  {BULK_NUMBERS / seconds / 1e6:.1f} million numbers per second, answers checked")


if __name__ == "__main__":
    sys.exit(main())
