"""Lock what the image installs: deploy/requirements/{image,fast,build}.txt, with hashes.

Usage: ``python deploy/lock.py EXTRA...``; ``make lock`` names the image's extras.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "deploy" / "requirements"
PYTHON = "3.11"


def compile_lock(source: str, *words: str) -> str:
    """Return the locked requirements of a source, with hashes."""
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links", "--generate-hashes", "--upgrade",
        "--python-version", PYTHON, *words, source,
    ]  # fmt: skip
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def entries(lock: str) -> dict[str, str]:
    """Return the entries of a lock by their packages' names."""
    found = ("\n" + lock).replace("\n    ", "\0").splitlines()
    return {line.partition("==")[0]: line.replace("\0", "\n    ") + "\n" for line in found if line}


def main() -> None:
    """Lock the extras together, so that `fast` fits what the image has."""
    extras = [f"--extra={extra}" for extra in sys.argv[1:]]
    whole = compile_lock("pyproject.toml", *extras, "--extra=fast")
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        constraint = Path(folder) / "whole.txt"
        constraint.write_text(whole, "utf-8")
        image = entries(compile_lock("pyproject.toml", *extras, f"--constraint={constraint}"))
        builder = Path(folder) / "build.in"
        builder.write_text("hatchling\n", "utf-8")
        build = compile_lock(str(builder))
    fast = {name: entry for name, entry in entries(whole).items() if name not in image}
    for name, text in (
        ("image", "".join(image.values())),
        ("fast", "".join(fast.values())),
        ("build", build),
    ):
        (TARGET / f"{name}.txt").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
