"""The command line as a whole: commands are imported when they run, errors are one line each."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from numroute.entry import how_to_install
from numroute.errors import NumrouteError

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130

# Which extra installs what the commands of a package need.
_EXTRAS = {
    "numroute": "service",
    "numroute_loader": "loader",
    "numroute_campaign": "campaign",
    "numroute_web": "web",
}


class LazyGroup(click.Group):
    """Import a command when it is used, so that help and version work without its extra."""

    def __init__(self, *, imports: Mapping[str, str], **attributes: Any) -> None:  # noqa: ANN401 - click's own
        """Take ``imports``: for each command name the ``module:attribute`` that defines it."""
        super().__init__(**attributes)
        self._imports = imports

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the command names in the order in which they were declared."""
        return list(self._imports)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command; if a package is missing, one that says what to install."""
        if cmd_name not in self._imports:
            return None
        module, _, attribute = self._imports[cmd_name].partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            return _missing(cmd_name, self._needs(cmd_name, error))
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own
        """Run the command; a package that is missing only now becomes an error, too."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            name = str(ctx.invoked_subcommand)
            raise click.ClickException(f"{name} {self._needs(name, error)}") from None

    def _needs(self, command: str, error: ModuleNotFoundError) -> str:
        if error.name is None or error.name.startswith("numroute"):
            raise error
        extra = _EXTRAS[self._imports[command].partition(":")[0].partition(".")[0]]
        return f"needs {error.name}: {how_to_install(extra)}"


def _missing(command: str, text: str) -> click.Command:
    @click.command(
        command, help=text, context_settings={"ignore_unknown_options": True}, add_help_option=False
    )
    @click.argument("words", nargs=-1)
    def fail(words: tuple[str, ...]) -> None:  # noqa: ARG001 - any words end the same way
        raise click.ClickException(f"{command} {text}")

    return fail


def run(command: click.Command, program: str) -> int:
    """Run a command line and return the exit status; an error becomes a message, not a trace."""
    # gRPC would log to standard error beside us, and say less; set the variable to see it.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a Cyrillic name shows question marks instead of failing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        status = command.main(prog_name=program, standalone_mode=False)
        sys.stdout.flush()
    except NumrouteError as error:
        _complain(program, error.message, error.hint)
        return EXIT_ERROR
    except (click.exceptions.Abort, KeyboardInterrupt):
        _complain(program, "interrupted", "")
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has closed it, as `head` does.
        sys.stderr.close()
        return EXIT_ERROR
    except OSError as error:
        _complain(program, f"{error.strerror}: {error.filename or 'standard output'}", "")
        # The rest of the buffer would fail again when the interpreter exits.
        sys.stdout = None
        return EXIT_ERROR
    return status if isinstance(status, int) else 0


def _complain(program: str, message: str, hint: str) -> None:
    click.echo(f"{program}: {message}", err=True)
    if hint:
        click.echo(f"{program}: {hint}", err=True)
