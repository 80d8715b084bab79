"""Requests generated from the description, against a running service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("schemathesis", reason="the description is fuzzed with schemathesis")

EXAMPLES = 4
"""Requests for each operation and kind of test."""


def test_no_generated_request_finds_a_fault(web, tmp_path: Path) -> None:
    """No valid or broken request gets a 5xx."""
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-c",
                "from schemathesis.cli import schemathesis; schemathesis()",
                "run",
            ),
            *(f"{web.url}/openapi.json", "--url", web.url, "--checks", "not_a_server_error"),
            *(
                "--max-examples",
                str(EXAMPLES),
                "--seed",
                "1",
                "--phases",
                "examples,coverage,fuzzing",
            ),
            *("--exclude-path-regex", "events$", "--max-failures", "5", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
