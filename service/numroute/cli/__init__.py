"""The ``numroute`` command."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

from numroute.cli.group import LazyGroup, run


@click.group(
    cls=LazyGroup,
    modules={
        "numroute.cli.serve": "serve",
        "numroute.cli.lookup": "lookup explain",
        "numroute.cli.info": "info",
        "numroute.cli.plan": "plan",
        "numroute.cli.token": "token",
        "numroute_campaign.cli": "route rejoin check-handover",
        "numroute_web.cli": "web",
        "numroute.cli": "completion",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="numroute", prog_name="numroute")
def numroute() -> None:
    """Which operator serves a phone number now.

    Build a snapshot store with numroute-load, then look numbers up in it or serve it over gRPC.
    Exit status: 0 done, 1 failed, 2 usage, 3 a number is unallocated, not covered or invalid,
    130 Ctrl-C.
    """


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a SHELL's completion script for numroute and numroute-load.

    For bash: put eval "$(numroute completion bash)" into ~/.bashrc.
    """
    generator = get_completion_class(shell)
    if generator is None:
        raise AssertionError("click knows these shells")
    group = click.get_current_context().find_root().command
    for program in ("numroute", "numroute-load"):
        variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
        click.echo(generator(group, {}, program, variable).source())


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(numroute, "numroute"))
