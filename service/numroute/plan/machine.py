"""The facts of a machine that decide whether a calibration is its own."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

OTHERS_SHARE_MAX = 0.05
"""What an idle system uses stays below; more than this disturbs what is measured."""

MEMORY_TOLERANCE = 0.1
"""A kernel's update changes how much memory it reports by a little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a machine is.

    ``cores``: those that this process may use. ``memory_bytes``: all of the memory.
    ``disk_bytes``: the size of the file system that held the sample index.
    """

    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    disk_bytes: int

    def differences(self, other: Machine) -> list[str]:
        """Return what makes the other one another machine; a kernel or a disk does not."""
        found = []
        if self.cpu != other.cpu:
            found.append(f"CPU {self.cpu!r}, here {other.cpu!r}")
        if self.cores != other.cores:
            found.append(f"{self.cores} cores, here {other.cores}")
        if abs(self.memory_bytes - other.memory_bytes) > MEMORY_TOLERANCE * other.memory_bytes:
            found.append(
                f"{self.memory_bytes / 1e9:.1f} GB of memory, here {other.memory_bytes / 1e9:.1f}"
            )
        return found


def this_machine(folder: Path) -> Machine:
    """Return the facts of the machine that this process runs on; the disk is that of ``folder``."""
    file_system = os.statvfs(folder)
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=memory_bytes("MemTotal"),
        kernel=platform.release(),
        disk_bytes=file_system.f_frsize * file_system.f_blocks,
    )


def memory_bytes(name: str) -> int:
    """Return a line of /proc/meminfo, e.g. ``MemAvailable``, in bytes; 0 where there is none."""
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return 0


class OtherWork:
    """Watches, from its making on, how much of the machine other processes use."""

    def __init__(self) -> None:
        """Begin to watch."""
        self._begin, self._busy, self._own = time.monotonic(), busy_seconds(), _own_seconds()

    def share(self) -> float:
        """Return the share of all cores' time until now; children count once they have ended."""
        busy, own = busy_seconds() - self._busy, _own_seconds() - self._own
        cores = os.cpu_count() or 1
        return round(max(0.0, (busy - own) / (time.monotonic() - self._begin) / cores), 3)


def busy_seconds() -> float:
    """Return the CPU time that all processes of the machine and its host's others have taken.

    proc(5): the first line of /proc/stat holds user, nice, system, idle, iowait, irq, softirq and
    steal in ticks.
    """
    fields = Path("/proc/stat").read_text("ascii").partition("\n")[0].split()[1:9]
    ticks = [int(field) for field in fields]
    return (sum(ticks[:3]) + sum(ticks[5:])) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
