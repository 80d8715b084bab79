"""Who gave a command: what the history says of whoever changed a store."""

from __future__ import annotations

import getpass
import os


def user_name() -> str:
    """Return the user's name; the number of a user who has none, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
