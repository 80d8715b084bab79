"""Where ``numroute-load`` starts."""

from __future__ import annotations

from numroute.entry import start


def main() -> None:
    """Run ``numroute-load`` and exit."""
    start("numroute-load", "numroute_loader.cli", extra="loader")
