"""Where the ``numroute`` command begins: its imports take a moment, in which Ctrl-C may come."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit."""
    try:
        from numroute.cli import main as run  # noqa: PLC0415 - the import may be interrupted
    except KeyboardInterrupt:
        sys.exit("numroute: interrupted")
    run()
