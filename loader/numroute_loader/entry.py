"""Where the ``numroute-load`` command begins: it needs what only the extra ``loader`` installs."""

from __future__ import annotations

import sys

NEEDED = "pyarrow"


def main() -> None:
    """Run the command line and exit; say what to install where pyarrow is missing."""
    try:
        from numroute_loader.cli import main as run  # noqa: PLC0415 - the import is what may fail
    except ModuleNotFoundError as error:
        if error.name != NEEDED:
            raise
        sys.exit(
            f"numroute-load: {NEEDED} is not installed\n"
            "numroute-load: Install the loader with `pip install 'numroute[loader]'`"
        )
    except KeyboardInterrupt:
        sys.exit("numroute-load: interrupted")
    run()
