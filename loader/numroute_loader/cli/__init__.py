"""The ``numroute-load`` command."""

from __future__ import annotations

import sys

import click

from numroute.cli.group import LazyGroup, run


@click.group(
    cls=LazyGroup,
    modules={
        "numroute_loader.cli.generate": "generate",
        "numroute_loader.cli.build": "check build apply",
        "numroute_loader.cli.store": "history diff rollback pin unpin prune override verify",
        "numroute_loader.cli.feeds": "watch push pull",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="numroute", prog_name="numroute-load")
def numroute_load() -> None:
    """Turn registry files into published snapshots of a snapshot store.

    Exit status: 0 done, 1 failed, 2 usage, 130 Ctrl-C. After a failure the current snapshot stays
    current.
    """


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(numroute_load, "numroute-load"))
