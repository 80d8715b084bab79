"""Children are measured, and none outlives the benchmark."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.children import ChildError, in_own_process, run_measured, server
from benchmarks.pagecache import forget, warm
from numroute.server.memory import resident_share

if TYPE_CHECKING:
    from pathlib import Path

PEAK_BYTES = 200_000_000


def test_measures_a_command() -> None:
    """Output and peak memory of a command are its own."""
    finished = run_measured(
        [sys.executable, "-c", f"x = b'1' * {PEAK_BYTES}; print(len(x)); del x"]
    )
    assert finished.output == f"{PEAK_BYTES}\n"
    assert finished.peak_rss_bytes > PEAK_BYTES
    assert finished.seconds > 0


def test_tells_why_a_command_failed() -> None:
    """A failed command is an error that quotes its last words."""
    with pytest.raises(ChildError, match="status 3: gone"):
        run_measured([sys.executable, "-c", "import sys; print('gone', file=sys.stderr); exit(3)"])


def test_ends_a_server_even_when_the_benchmark_fails() -> None:
    """An exception inside does not leave the server behind."""
    wait = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); signal.pause()"
    with pytest.raises(KeyboardInterrupt), server([sys.executable, "-c", wait]) as child:
        raise KeyboardInterrupt
    assert child.returncode is not None


def test_a_step_runs_in_another_process() -> None:
    """A step's result comes back from a process of its own."""
    assert in_own_process(os.getpid) != os.getpid()


def test_a_failed_step_fails_the_benchmark() -> None:
    """What a step raises is raised here."""
    with pytest.raises(ZeroDivisionError):
        in_own_process(divmod, 1, 0)


def test_a_dead_step_fails_the_benchmark() -> None:
    """A step whose process dies is an error, not a wait without end."""
    with pytest.raises(ChildError, match="died"):
        in_own_process(signal.raise_signal, signal.SIGKILL)


def test_the_page_cache_forgets_a_file(tmp_path: Path) -> None:
    """A file that was read is resident, and no longer after it was dropped."""
    path = tmp_path / "file"
    path.write_bytes(np.random.default_rng(1).bytes(1 << 20))
    warm(path)
    assert resident_share(path) == 1
    forget(path)
    assert resident_share(path) == 0
