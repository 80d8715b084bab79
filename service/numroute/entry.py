"""Where the commands start, also where the packages that they need are not installed."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version


def main() -> None:
    """Run ``numroute`` and exit."""
    start("numroute", "numroute.cli", extra="service")


def start(program: str, module: str, *, extra: str) -> None:
    """Run ``main`` of a module and exit; name the extra to install where click is missing."""
    try:
        run = import_module(module).main
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        if "--version" in sys.argv[1:]:
            print(f"{program}, version {version('numroute')}")  # noqa: T201 - what it is asked for
            sys.exit()
        sys.exit(f"{program}: the commands need the extra {extra!r}: install numroute[{extra}]")
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)  # noqa: T201 - as the commands say it
        sys.exit(130)
    run()
