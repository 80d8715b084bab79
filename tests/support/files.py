"""Files as the programs want them."""

from __future__ import annotations

from pathlib import Path


def private(path: Path, *lines: str) -> Path:
    """Write a new file of these lines that only its owner can read."""
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text("\n".join(lines), "utf-8")
    return path
