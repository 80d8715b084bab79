"""The shared service, the ways to run others, and a folder in which Node programs run."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from support.services import gate, registry, run_server, server, store

__all__ = ["gate", "registry", "run_server", "server", "store"]

NODE = Path(__file__).with_name("node")


@pytest.fixture(scope="session")
def node(request) -> Path:
    """Return a folder with the Node client and what it needs, installed once."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    lock = (NODE / "package-lock.json").read_bytes()
    folder = request.config.cache.mkdir(f"node-{hashlib.sha256(lock).hexdigest()[:12]}")
    # Test processes share the folder: one installs, the others wait.
    with (folder / "lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        _install(npm, folder)
    shutil.copy(NODE / "client.js", folder)
    return folder


def _install(npm: str, folder: Path) -> None:
    if not (folder / "installed").exists():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(NODE / name, folder)
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"npm could not install @grpc/grpc-js: {done.stderr[-300:]}")
        (folder / "installed").touch()
