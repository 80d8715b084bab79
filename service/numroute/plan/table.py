"""The calibration file: the machine, and a table of what was measured on it, as JSON."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from numroute import files
from numroute.errors import InputError

OTHERS_SHARE_MAX = 0.05
"""Other processes that use more of the machine than this disturb a measurement."""

MEMORY_TOLERANCE = 0.1
"""A kernel update changes a little how much memory it reports."""

Positive = Annotated[float, msgspec.Meta(gt=0)]
Spread = tuple[Positive, Positive, Positive]
"""One figure over all rounds: lowest, median and highest."""

Count = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """``cores``: those that this process may use; ``disk_bytes``: of the store's file system."""

    cpu: str
    cores: Annotated[int, msgspec.Meta(ge=1)]
    memory_bytes: Count
    disk_bytes: Count

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores, {self.memory_bytes / 1e9:.1f} GB of memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStep:
    """What a call cost while a process had ``load`` of the work that it can do, from 0 to 1."""

    load: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    cpu_seconds: Spread
    p50_seconds: Spread
    p99_seconds: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """What calls of ``batch`` numbers cost one process on one core.

    ``busy_cpu_seconds``: CPU time of a call when the next one is always waiting. Disturbances only
    make it longer, so the inverse of its lowest is the core's capacity. ``steps`` ascend by load.
    ``private_bytes``: the service's anonymous memory.
    """

    batch: Annotated[int, msgspec.Meta(ge=1)]
    busy_cpu_seconds: Spread
    answer_bytes: Count
    private_bytes: Count
    steps: Annotated[tuple[LoadStep, ...], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Everything measured on one machine; ``rows`` ascend by batch, all with the same load steps.

    The snapshot had ``ported`` numbers. ``disturbed_steps``: how many steps other processes
    disturbed in every round.
    """

    # First in the file, so that another format is refused by its name or version.
    format: Literal["numroute calibration"] = "numroute calibration"
    format_version: Literal[2] = 2
    machine: Machine
    ported: Count
    rows: Annotated[tuple[BatchRow, ...], msgspec.Meta(min_length=1)]
    disturbed_steps: Count


def save(calibration: Calibration, path: Path) -> None:
    """Write the file (mode 0600), whole or not at all; raise InputError when that fails."""
    text = msgspec.json.format(msgspec.json.encode(calibration), indent=1) + b"\n"
    try:
        files.write_whole(path, text)
    except OSError as error:
        raise InputError(path, f"cannot be written: {error.strerror}") from None


def require_writable(path: Path) -> None:
    """Raise InputError, before anything is measured, when the file could not be written."""
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(path, f"cannot be written: {error.strerror}") from None


def load(path: Path) -> Calibration:
    """Read the file; raise InputError when it is missing, of another version, or damaged."""
    hint = "Measure this machine: `numroute plan --calibrate --store DIR`"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Calibration)
    except OSError as error:
        raise InputError(path, f"no calibration: {error.strerror}", hint=hint) from None
    except ValueError as error:
        text = f"not a whole calibration file of this version: {error}"
        raise InputError(path, text, hint=hint) from None


def warnings(calibration: Calibration, here: Machine) -> list[str]:
    """Return what makes the calibration less than good, or unfit for this machine."""
    texts, there = [], calibration.machine
    memory_differs = abs(there.memory_bytes / max(1, here.memory_bytes) - 1) > MEMORY_TOLERANCE
    if (there.cpu, there.cores) != (here.cpu, here.cores) or memory_differs:
        texts.append(f"the calibration is of another machine: {there}; this one: {here}")
    if calibration.disturbed_steps:
        texts.append(
            f"other processes disturbed {calibration.disturbed_steps} steps of the calibration in "
            "every round, so that their figures are too high; repeat it on a quiet machine"
        )
    if there.cores == 1:
        texts.append("the machine has one core: the measured latencies include the client's work")
    return texts


def this_machine(folder: Path) -> Machine:
    """Return the facts of this machine; the disk is that of ``folder``."""
    return Machine(
        cpu=_proc_lines("cpuinfo").get("model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=memory_bytes("MemTotal"),
        disk_bytes=shutil.disk_usage(folder).total,
    )


def memory_bytes(name: str) -> int:
    """Return a line of /proc/meminfo, e.g. ``MemAvailable``, in bytes; 0 where it is missing."""
    return int(_proc_lines("meminfo").get(name, "0").split()[0]) * 1024


class OtherWork:
    """Observes how much of the machine other processes use."""

    def __init__(self, service_cpu: Callable[[], float] = lambda: 0.0) -> None:
        """Start; ``service_cpu`` gives the CPU seconds of a child that is still running."""
        self._service_cpu = service_cpu
        self._begin, self._others = time.monotonic(), self._others_now()

    def share(self) -> float:
        """Return the share of all cores' time, so far, that was other processes'."""
        passed = (time.monotonic() - self._begin) * (os.cpu_count() or 1)
        return round(min(1.0, max(0.0, (self._others_now() - self._others) / passed)), 3)

    def _others_now(self) -> float:
        # proc(5): user, nice, system, idle, iowait, irq, softirq and steal, in ticks.
        fields = Path("/proc/stat").read_text("ascii").partition("\n")[0].split()[1:9]
        ticks = [int(text) for text in fields]
        busy = (sum(ticks[:3]) + sum(ticks[5:])) / os.sysconf("SC_CLK_TCK")
        return busy - sum(os.times()[:4]) - self._service_cpu()


def _proc_lines(name: str) -> dict[str, str]:
    """Return a file of ``name: value`` lines; of a repeated name, the last."""
    lines = (line.partition(":") for line in Path("/proc", name).read_text("utf-8").splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
