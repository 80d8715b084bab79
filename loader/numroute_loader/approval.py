"""What new content is judged by, and what may fail: the same for check, build, apply and watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The files to judge by and the checks that may fail.

    ``brands``, ``limits`` and ``expect`` are files or None; they are read for each judgement, so
    that ``watch`` follows their changes. ``allowed`` names checks of the gate that may fail;
    ``reason`` says why, and is recorded in the history. Raises SettingError when something is
    allowed without a reason.
    """

    brands: Path | None = None
    limits: Path | None = None
    expect: Path | None = None
    allowed: tuple[str, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        if self.allowed and not self.reason.strip():
            raise SettingError("--allow needs a reason", hint="Give it with --reason TEXT")
