"""What the commands say of files that were judged: the gate's findings and the warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from numroute.cli.console import plain, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute_loader.applying import CheckedIncrements
    from numroute_loader.build import Checked
    from numroute_loader.records import ParsedFile


def files_document(files: Sequence[ParsedFile]) -> list[dict[str, Any]]:
    """Return what ``--json`` prints of the files that were read."""
    return [plain(file.source) | {"path": str(file.source.path)} for file in files]


def verdict_document(checked: Checked | CheckedIncrements) -> dict[str, Any]:
    """Return what ``--json`` prints of the verdict; ``passed`` is null where nothing was judged."""
    return {
        "gate": [
            plain(finding) | {"outcome": finding.outcome.value} for finding in checked.findings
        ],
        "passed": checked.passed if checked.findings else None,
        "warnings": list(checked.warnings),
    }


def print_findings(checked: Checked | CheckedIncrements) -> None:
    """Print a line per check."""
    print_table(
        ("check", "", "finding"),
        [(finding.check, finding.outcome.value, finding.message) for finding in checked.findings],
    )


def print_warnings(checked: Checked | CheckedIncrements) -> None:
    """Print the warnings on standard error."""
    for warning in checked.warnings:
        click.echo(f"warning: {warning}", err=True)
