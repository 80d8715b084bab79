"""The ``numroute-load`` command."""

from __future__ import annotations

import sys

import click

from numroute.console import run
from numroute_loader.cli.apply import apply
from numroute_loader.cli.build import build, check
from numroute_loader.cli.diff import diff
from numroute_loader.cli.generate import generate
from numroute_loader.cli.history import history
from numroute_loader.cli.life import pin, rollback, unpin
from numroute_loader.cli.override import override
from numroute_loader.cli.replicas import pull, push
from numroute_loader.cli.retention import prune
from numroute_loader.cli.verify import verify
from numroute_loader.cli.watch import watch


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="numroute", prog_name="numroute-load")
def numroute_load() -> None:
    """Turn registry files into published snapshots of a snapshot store.

    Exit status: 0 done, 1 error; whatever goes wrong, the snapshot that was current stays current.
    """


numroute_load.add_command(generate)
numroute_load.add_command(check)
numroute_load.add_command(build)
numroute_load.add_command(apply)
numroute_load.add_command(history)
numroute_load.add_command(diff)
numroute_load.add_command(rollback)
numroute_load.add_command(pin)
numroute_load.add_command(unpin)
numroute_load.add_command(prune)
numroute_load.add_command(override)
numroute_load.add_command(verify)
numroute_load.add_command(watch)
numroute_load.add_command(push)
numroute_load.add_command(pull)


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(numroute_load, "numroute-load"))
