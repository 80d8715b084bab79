"""The command line as a whole: commands are imported when they run, errors are one line each."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import click

from numroute.entry import how_to_install
from numroute.errors import NumrouteError

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130

_SENTENCE_MAX = 200
"""The longest sentence about a command; click would cut it at the width of a line."""

VARIABLES = frozenset(
    "NUMROUTE_" + name
    for name in """
    BRANDS CA CALIBRATION CERT DRAIN EXPECT INBOX INSECURE INTERVAL KEEP_DAILY KEEP_LAST KEEP_WITHIN
    KEY LIMITS LISTEN MAX_AGE METRICS PULL_INTERVAL PUSH REFLECTION REGION SETTLE SFTP
    SFTP_KEY_FILE SFTP_KNOWN_HOSTS SFTP_PASSPHRASE SFTP_PASSWORD SFTP_PASSWORD_FILE
    SFTP_TIMEOUT STATE STORE TARGET TLS TLS_CERT TLS_CLIENT_CA TLS_KEY TOKENS TOKEN_FILE
    TOKEN_LINES WEB_CALLBACK_HOSTS WEB_CALLBACK_SECRET WEB_CHOICES WEB_JOBS WEB_LISTEN WEB_LIST_SIZE
    WEB_LIST_WORKERS WEB_RETENTION WORKERS WORKER_MEMORY
    """.split()  # noqa: SIM905 - a list of strings would take fifty lines
)
"""The settings of all commands: one environment file may serve several."""

_NOT_SETTINGS = re.compile(
    r"NUMROUTE_(REFERENCE_DATA|TEST_.*|(.*_)?(SERVICE_(HOST|PORT).*|PORT(_\d+_.*)?))"
)
"""Our tests' variables, and those Kubernetes sets for a Service named numroute."""


class Daemon(click.Command):
    """A command that runs until it is stopped; in a pipe its errors are log lines."""


class Group(click.Group):
    """A group whose help shows the whole first sentence of each command's help."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and what they do."""
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                command.short_help = command.get_short_help_str(_SENTENCE_MAX)
        super().format_commands(ctx, formatter)


class LazyGroup(Group):
    """Import a command when it is used, so that help and version work without its extra."""

    def __init__(self, *, modules: Mapping[str, str], **attributes: Any) -> None:  # noqa: ANN401 - click's own
        """Take ``modules``: for each module the names of its commands, separated by spaces."""
        self._modules = {
            name: module for module, names in modules.items() for name in names.split()
        }
        # Only the names matter here: click suggests the nearest of them.
        super().__init__(commands=dict.fromkeys(self._modules, click.Command(None)), **attributes)
        self.logs_errors = False

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the command names in the order in which they were declared."""
        return list(self._modules)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command, and warn of variables that no command reads."""
        name, command, rest = super().resolve_command(ctx, args)
        self.logs_errors = isinstance(command, Daemon) and not sys.stderr.isatty()
        _warn_of_unknown_variables(as_log=self.logs_errors)
        return name, command, rest

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command; if a package is missing, one that says what to install."""
        if cmd_name not in self._modules:
            return None
        try:
            module = importlib.import_module(self._modules[cmd_name])
        except ModuleNotFoundError as error:
            return _Missing(cmd_name, help=self._needs(cmd_name, error), add_help_option=False)
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
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
        # numroute_loader comes with the extra loader, numroute's own commands with service.
        package = self._modules[command].partition(".")[0]
        extra = package.removeprefix("numroute").removeprefix("_") or "service"
        return f"needs {error.name}: {how_to_install(extra)}"


class _Missing(click.Command):
    """A command without its extra: whatever it is asked, it says what to install."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:  # noqa: ARG002 - click's
        raise click.ClickException(f"{self.name} {self.help}")


def _warn_of_unknown_variables(*, as_log: bool) -> None:
    for name in sorted(os.environ):
        if not name.startswith("NUMROUTE_") or name in VARIABLES or _NOT_SETTINGS.fullmatch(name):
            continue
        # A client's token is in a file; the nearest in spelling is the service's setting.
        near = ["NUMROUTE_TOKEN_FILE"] if name == "NUMROUTE_TOKEN" else VARIABLES
        nearest = "".join(difflib.get_close_matches(name, near, 1))
        if as_log:
            from numroute.logs import make_logger  # noqa: PLC0415 - structlog is slow to load

            log = make_logger()
            log.warning("unknown variable", variable=name, nearest=nearest)
        else:
            hint = f": did you mean {nearest}?" if nearest else ""
            click.echo(f"warning: the variable {name} is no setting{hint}", err=True)


def _open_streams() -> None:
    """Open the standard streams that whoever started the program has closed: nothing is in them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - open until the end


def run(group: LazyGroup, program: str) -> int:
    """Run a command line and return the exit status; an error becomes a message, not a trace."""
    # gRPC would log to standard error beside us, and say less; set the variable to see it.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a Cyrillic name shows question marks instead of failing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    group.logs_errors = False
    try:
        status = group.main(prog_name=program, standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo(f"{program}: interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has closed it, as `head` does.
        sys.stderr.close()
        return EXIT_ERROR
    except click.ClickException as error:
        if group.logs_errors:
            _fail(group, program, reason=error.format_message())
        else:
            error.show()
        return error.exit_code
    except NumrouteError as error:
        fields = {"error": type(error).__name__, "remedy": error.hint}
        return _fail(group, program, reason=error.message, **fields)
    except OSError as error:
        _fail(group, program, reason=f"{error.strerror}: {error.filename or 'standard output'}")
        # The rest of the buffer would fail again when the interpreter exits.
        sys.stdout = None
        return EXIT_ERROR
    return status if isinstance(status, int) else 0


def _fail(group: LazyGroup, program: str, **fields: str) -> int:
    """Report what ended a command, as a log line or for people."""
    if group.logs_errors:
        from numroute.logs import make_logger  # noqa: PLC0415 - structlog is slow to load

        log = make_logger()
        log.error("command failed", **fields)
    else:
        for text in filter(None, (fields["reason"], fields.get("remedy"))):
            click.echo(f"{program}: {text}", err=True)
    return EXIT_ERROR
