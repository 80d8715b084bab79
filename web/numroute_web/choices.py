"""What the operator of the service offers for lists: policies, price lists, do-not-send lists.

::

    DIR/policies/NAME.toml
    DIR/prices/NAME.toml
    DIR/do-not-send/NAME        a list of any form
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from numroute.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from numroute_web.jobs import ListOptions

_FOLDERS: Final = {"policy": "policies", "prices": "prices", "suppress": "do-not-send"}


class ChoicesBody(msgspec.Struct, frozen=True, kw_only=True):
    """The names of policies, price lists and do-not-send lists to choose from."""

    policy: list[str]
    prices: list[str]
    suppress: list[str]


def read_choices(folder: Path | None) -> ChoicesBody:
    """Return the names of what the folder offers now."""
    return ChoicesBody(**{kind: sorted(_files(folder, kind)) for kind in _FOLDERS})


def check_choices(folder: Path | None, options: ListOptions) -> None:
    """Raise SettingError if options name a choice that the folder does not offer."""
    names = {
        "policy": [options.policy] if options.policy else [],
        "prices": [options.prices] if options.prices else [],
        "suppress": options.suppress,
    }
    for kind in _FOLDERS:
        for name in names[kind]:
            chosen_path(folder, kind, name)


def chosen_path(folder: Path | None, kind: str, name: str) -> Path:
    """Return the file of a choice. Raises SettingError if the folder does not offer it."""
    files = _files(folder, kind)
    if name not in files:
        known = ", ".join(sorted(files)) or "none"
        raise SettingError(f"{kind}: unknown name", hint=f"This service offers {known}")
    return files[name]


def _files(folder: Path | None, kind: str) -> dict[str, Path]:
    """Return the files of a kind by the names that clients use."""
    if folder is None or not (folder / _FOLDERS[kind]).is_dir():
        return {}
    return {
        path.name if kind == "suppress" else path.stem: path
        for path in (folder / _FOLDERS[kind]).iterdir()
        if path.is_file()
        and not path.name.startswith(".")
        and (kind == "suppress" or path.suffix == ".toml")
    }
