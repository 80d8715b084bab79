"""Real ``numroute-load`` processes that run until they are stopped or killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAUNCHER = """
import sys
from pathlib import Path
from numroute_loader.cli import main

{before}
main()
"""

HANG_AT = """
import importlib, time
def hang(*_, **__):
    Path({marker!r}).touch()
    while True:
        time.sleep(1)
module, _, names = {point!r}.partition(":")
owner = importlib.import_module(module)
*outer, last = names.split(".")
for name in outer:
    owner = getattr(owner, name)
setattr(owner, last, hang)
"""
"""Replaces a function by one that never returns: the process stands still right before it."""


@dataclass
class Loader:
    """A ``numroute-load`` in a process of its own."""

    process: subprocess.Popen[bytes]
    log_path: Path
    marker: Path

    def log(self) -> list[dict[str, Any]]:
        """Return what has been logged so far."""
        lines = self.log_path.read_text("utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n") and line[0] == "{"]

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """Return the log's line of an event once there are ``count``."""
        while True:
            found = [line for line in self.log() if line["event"] == event]
            if len(found) >= count:
                return found[-1]
            self.alive()

    def wait_for_hang(self) -> None:
        """Wait until the process stands still where it was told to."""
        while not self.marker.exists():
            self.alive()

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def alive(self) -> None:
        """Wait a moment; fail when the process has ended."""
        assert self.process.poll() is None, self.log_path.read_text()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.02)


@contextlib.contextmanager
def loading(
    folder: Path, *words: object, hang_at: str | None = None, before: str = ""
) -> Iterator[Loader]:
    """Run ``numroute-load`` with these words until the block ends.

    ``before`` is Python code that the process runs first; ``marker`` in it is a path to touch.
    """
    number = len(list(folder.glob("loader-log-*")))
    log_path, marker = folder / f"loader-log-{number}", folder / f"marker-{number}"
    before = f"marker = Path({str(marker)!r})\n{before}"
    if hang_at:
        before += HANG_AT.format(marker=str(marker), point=hang_at)
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", LAUNCHER.format(before=before), *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield Loader(process, log_path, marker)
    finally:
        process.kill()
        process.wait(30)


def watching(
    folder: Path, store: Path, *words: object, hang_at: str | None = None
) -> contextlib.AbstractContextManager[Loader]:
    """Run ``numroute-load watch`` with short waits until the block ends."""
    return loading(
        folder, "watch", "--store", store, "--interval", 0.1, "--settle", 0.02, *words,
        hang_at=hang_at,
    )  # fmt: skip
