"""What a figure must be read together with: the machine, the versions, and what else was running.

Neither the host's name nor a path is among the facts, so that results can be published.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "grpcio", "protobuf", "pyarrow", "lmdb")

BUSY_LOAD = 0.5
"""Average number of other running processes from which on a machine is not quiet."""


def facts() -> dict[str, str]:
    """Return the machine's facts by name, in the order in which they are printed."""
    return {
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory_bytes('MemTotal') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: version(name) for name in PACKAGES},
    }


def memory_bytes(name: str) -> int:
    """Return a line of /proc/meminfo, e.g. ``MemAvailable``, in bytes."""
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise KeyError(name)


def load() -> float:
    """Return the system's load average over the last minute."""
    return os.getloadavg()[0]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
