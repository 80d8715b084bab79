"""``numroute completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAMS = ("numroute", "numroute-load")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a SHELL complete commands and options, of numroute-load too.

    For bash: put eval "$(numroute completion bash)" into ~/.bashrc.
    """
    generator = get_completion_class(shell)
    if generator is None:
        raise AssertionError("click knows these shells")
    group = click.get_current_context().find_root().command
    for program in PROGRAMS:
        variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
        click.echo(generator(group, {}, program, variable).source())
