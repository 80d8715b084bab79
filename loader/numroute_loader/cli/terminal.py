"""The user's name, for the history."""

from __future__ import annotations

import getpass
import os


def user_name() -> str:
    """Return the user's name; the numeric id of a user without one, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
