"""Small disks and read-only views, where the tests may mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MOUNT, UNMOUNT = "/usr/bin/mount", "/usr/bin/umount"


@contextmanager
def mounted(target: Path, *words: str) -> Iterator[None]:
    """Mount something at a folder until the block ends; skip where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    target.mkdir(exist_ok=True)
    done = subprocess.run([MOUNT, *words, target], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        # Lazily: what pyarrow maps lives as long as the frames of an error that nobody needs.
        subprocess.run([UNMOUNT, "--lazy", target], check=True)
