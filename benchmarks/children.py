"""Child processes: commands whose time and memory are measured, servers, steps of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    Parameters = ParamSpec("Parameters")
    Result = TypeVar("Result")

BIN = Path(sys.executable).parent
"""Where the commands of this environment lie."""

STOP_SECONDS_MAX = 20.0
OUTPUT_BYTES_SHOWN = 2_000


class ChildError(NumrouteError):
    """A command that a benchmark needs has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that ended well.

    Attributes:
        output: What it wrote on standard output.
        seconds: From its start to its end, the start of the interpreter included.
        peak_rss_bytes: The most memory that it had resident at once: private pages, and pages of
            mapped files as far as they were in use.
    """

    output: str
    seconds: float
    peak_rss_bytes: int


def run_measured(words: Sequence[str | Path]) -> Finished:
    """Run a command to its end.

    To be called in a small process: Linux counts the resident pages of the process that starts a
    command towards the peak of the command (``getrusage(2)``, kept across ``execve``).

    Raises:
        ChildError: It ended with another status than 0.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        child = subprocess.Popen([str(word) for word in words], stdout=output, stderr=errors)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            child.wait()
            raise
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        for file in (output, errors):
            file.seek(0)
        if child.returncode:
            raise ChildError(
                f"{Path(words[0]).name} ended with status {child.returncode}: "
                + errors.read()[-OUTPUT_BYTES_SHOWN:].decode("utf-8", "replace").strip()
            )
        return Finished(
            output=output.read().decode("utf-8"),
            seconds=seconds,
            peak_rss_bytes=usage.ru_maxrss * 1024,
        )


def free_address() -> str:
    """Return a loopback address on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextlib.contextmanager
def server(
    words: Sequence[str | Path], *, folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, in ``folder`` if given; it gets SIGTERM at the end, whatever happens.

    Raises:
        ChildError: It did not end with status 0 then.
    """
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen([str(word) for word in words], stderr=errors, cwd=folder)
        try:
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if child.returncode:
            errors.seek(0)
            raise ChildError(
                f"{Path(words[0]).name} ended with status {child.returncode}: "
                + errors.read()[-OUTPUT_BYTES_SHOWN:].decode("utf-8", "replace").strip()
            )


def wait_until_listening(child: subprocess.Popen[bytes], address: str, seconds_max: float) -> None:
    """Return as soon as a connection to the address is taken.

    Raises:
        ChildError: The server ended, or it took too long.
    """
    host, _, port = address.rpartition(":")
    end = time.monotonic() + seconds_max
    while time.monotonic() < end and child.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.002)
        else:
            return
    raise ChildError(
        f"the server did not listen within {seconds_max:g} s"
        if child.poll() is None
        else f"the server ended with status {child.returncode}"
    )


def in_own_process(
    step: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Call a function of a module in a fresh interpreter and return its result.

    Each step measures in a process that no other step has filled with memory or threads. The
    process is ended when this one is interrupted.

    Raises:
        ChildError: The process died; otherwise whatever the function raises.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_step, args=(theirs, step, args, kwargs))
    child.start()
    theirs.close()
    try:
        succeeded, result = ours.recv()
    except EOFError:
        child.join()
        raise ChildError(f"a step died with status {child.exitcode}") from None
    except BaseException:
        child.terminate()
        raise
    finally:
        child.join()
        ours.close()
    if not succeeded:
        raise result
    returned: Result = result
    return returned


def _step(
    answer: Connection, step: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    end_on_sigterm()
    try:
        answer.send((True, step(*args, **kwargs)))
    except Exception as error:  # noqa: BLE001 - it is raised again in the process that asked
        error.add_note("".join(traceback.format_exception(error)))
        answer.send((False, error))


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as an exception does, so that its children are ended."""

    def stop(*_: Any) -> None:  # noqa: ANN401 - the signal's number and a frame, not needed
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
