"""The entry points of the commands, which also work when their extra is not installed."""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> None:
    """Run ``numroute`` and exit."""
    _start("numroute", "numroute.cli", extra="service")


def load() -> None:
    """Run ``numroute-load`` and exit."""
    _start("numroute-load", "numroute_loader.cli", extra="loader")


def _start(program: str, module: str, *, extra: str) -> None:
    """Run ``main`` of a module and exit; if a package is missing, say what to install."""
    if sys.version_info < (3, 11):
        _explain(program, "the commands need Python 3.11 or newer")
    try:
        run = import_module(module).main
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("numroute"):
            raise
        _explain(program, f"the commands need the extra {extra!r}: {how_to_install(extra)}")
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)  # noqa: T201 - as the commands say it
        sys.exit(130)
    run()


def missing(what: str, error: ModuleNotFoundError, *, extra: str) -> ModuleNotFoundError:
    """Return the error that says how to install what a part of the library needs."""
    if error.name is None or error.name.startswith("numroute"):
        return error
    text = f"{what} needs {error.name}: {how_to_install(extra)}"
    return ModuleNotFoundError(text, name=error.name)


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra: from where this copy was installed, if known."""
    # Slow to import, and seldom needed.
    import json  # noqa: PLC0415
    from importlib.metadata import distribution, version  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415
    from urllib.parse import unquote  # noqa: PLC0415

    origin = json.loads(distribution("numroute").read_text("direct_url.json") or "{}")
    path = unquote(origin.get("url", "").removeprefix("file://"))
    if path.startswith("/") and Path(path).exists():
        option = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f"pip install {option}'{path}[{extra}]'"
    wheel = f"numroute-{version('numroute')}-py3-none-any.whl"
    return f"pip install '.[{extra}]' in a checkout, or './{wheel}[{extra}]' beside the wheel"


def _explain(program: str, problem: str) -> None:
    """Print the version or the usage if requested, else the problem; exit."""
    if "--version" in sys.argv[1:]:
        from importlib.metadata import version  # noqa: PLC0415 - as above

        print(f"{program}, version {version('numroute')}")  # noqa: T201 - what is requested
        sys.exit()
    if {"-h", "--help"} & {*sys.argv[1:]}:
        print(f"Usage: {program} [OPTIONS] COMMAND [ARGS]...\n\n{problem}")  # noqa: T201 - likewise
        sys.exit()
    sys.exit(f"{program}: {problem}")
