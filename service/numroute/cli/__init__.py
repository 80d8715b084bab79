"""The ``numroute`` command."""

from __future__ import annotations

import sys

import click

from numroute.cli.explain import explain
from numroute.cli.info import info
from numroute.cli.lookup import lookup
from numroute.cli.plan import plan
from numroute.cli.rejoin import rejoin
from numroute.cli.route import route
from numroute.cli.serve import serve
from numroute.cli.token import token
from numroute.console import run


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="numroute", prog_name="numroute")
def numroute() -> None:
    """Which operator serves a phone number now.

    Build a snapshot store with numroute-load, then look numbers up in it or serve it over gRPC.
    Exit status: 0 done, 1 error, 2 when lookup met an unallocated or invalid number.
    """


numroute.add_command(serve)
numroute.add_command(lookup)
numroute.add_command(explain)
numroute.add_command(info)
numroute.add_command(plan)
numroute.add_command(token)
numroute.add_command(route)
numroute.add_command(rejoin)


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(numroute, "numroute"))
