"""The ``numroute-load`` command."""

from __future__ import annotations

import sys

import click

from numroute.cli.group import LazyGroup, run


@click.group(
    cls=LazyGroup,
    imports={
        "generate": "numroute_loader.cli.generate:generate",
        "check": "numroute_loader.cli.build:check",
        "build": "numroute_loader.cli.build:build",
        "apply": "numroute_loader.cli.build:apply",
        "history": "numroute_loader.cli.store:history",
        "diff": "numroute_loader.cli.diff:diff",
        "rollback": "numroute_loader.cli.store:rollback",
        "pin": "numroute_loader.cli.store:pin",
        "unpin": "numroute_loader.cli.store:unpin",
        "prune": "numroute_loader.cli.store:prune",
        "override": "numroute_loader.cli.override:override",
        "verify": "numroute_loader.cli.store:verify",
        "watch": "numroute_loader.cli.watch:watch",
        "push": "numroute_loader.cli.replicas:push",
        "pull": "numroute_loader.cli.replicas:pull",
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
