"""Child processes: commands whose time and memory are measured, and servers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from numroute.errors import NumrouteError

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
"""The folder of this environment's commands."""

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 20.0
OUTPUT_BYTES_SHOWN = 2_000


class ChildError(NumrouteError):
    """A command that a benchmark needs has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that succeeded; ``seconds`` include the start of the interpreter."""

    output: str
    seconds: float
    peak_rss_bytes: int


_LAUNCHER = """
import json, os, sys, time
begin = time.perf_counter()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
with open(int(sys.argv[1]), "w") as result:
    json.dump([status, time.perf_counter() - begin, usage.ru_maxrss], result)
"""


def run(*words: str | Path) -> Finished:
    """Run a command to its end; raise ChildError when it fails.

    A small launcher starts the command: Linux counts the resident pages of the process that starts
    a command towards the command's peak (``getrusage(2)``, kept across ``execve``).
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        reading, writing = os.pipe()
        with open(reading) as result:  # noqa: PTH123 - a descriptor
            child = subprocess.Popen(
                [sys.executable, "-IS", "-c", _LAUNCHER, str(writing), *map(str, words)],
                stdout=output,
                stderr=errors,
                pass_fds=(writing,),
                start_new_session=True,
            )
            os.close(writing)
            try:
                measured = result.read()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        status, seconds, peak = json.loads(measured or "[-1, 0, 0]")
        output.seek(0)
        errors.seek(0)
        if status:
            raise ChildError(
                f"{Path(words[0]).name} failed: "
                + errors.read()[-OUTPUT_BYTES_SHOWN:].decode("utf-8", "replace").strip()
            )
        return Finished(
            output=output.read().decode("utf-8"), seconds=seconds, peak_rss_bytes=peak * 1024
        )


@contextlib.contextmanager
def server(*words: str | Path, quiet: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run a server until the block ends; its standard output is a pipe, ``quiet`` drops its log."""
    with subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
        cwd=ROOT,
    ) as child:
        try:
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                child.kill()


@contextlib.contextmanager
def module_server(module: str, *words: str | Path) -> Iterator[tuple[str, int]]:
    """Run a module of ours that prints the address it listens on; yield that and the process id."""
    with server(sys.executable, "-m", module, *words) as child:
        address = child.stdout.readline().strip() if child.stdout else ""
        if not address:
            raise ChildError(f"{module} did not start")
        yield address, child.pid


def free_address() -> str:
    """Return a loopback address on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def wait_until_listening(address: str) -> None:
    """Return as soon as a connection is accepted; raise ChildError when that takes too long."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.002)
        else:
            return
    raise ChildError(f"the server did not listen within {START_SECONDS_MAX:g} s")


def drop_from_page_cache(path: Path) -> None:
    """Make the next reader read the file from disk; no process may have it mapped."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # Only clean pages can be dropped.
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
