"""The gate's limits for the registries that are read, and a user's changes to them."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from numroute.errors import InputError
from numroute_loader.gate.limits import GateLimits, LimitsFile, limits_from

if TYPE_CHECKING:
    from pathlib import Path

_TABLE = "ru_limits.toml"


def load_limits(path: Path | None = None) -> GateLimits:
    """Return the registry's limits; those of the user's TOML file at ``path`` go before them.

    Raises InputError when the file cannot be read or a line of it is wrong; names file and line.
    """
    table = resources.files("numroute_loader").joinpath("registries", "tables", _TABLE)
    defaults = LimitsFile(path=_TABLE, text=table.read_text("utf-8"))
    if path is None:
        return limits_from(defaults)
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(
            path, f"the limits cannot be read: {error.strerror}", hint="Check the path"
        ) from None
    except UnicodeDecodeError:
        raise InputError(path, "the limits are not UTF-8", hint="Save the file as UTF-8") from None
    return limits_from(defaults, LimitsFile(path=str(path), text=text))
