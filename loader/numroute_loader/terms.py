"""On what terms new content is taken: whose brands and limits, what must come true, what may fail.

What ``check``, ``build``, ``apply`` and ``watch`` are told alike. The files are read anew whenever
something is judged, so that ``watch`` honours what was changed in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numroute.errors import SettingError
from numroute_loader import pipeline
from numroute_loader.registries import load_limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from numroute.index import SnapshotStore
    from numroute_loader.inputs import FileProgress, InputFile
    from numroute_loader.pipeline import Checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """``brands``, ``limits`` and ``expect`` are files, None where there is none.

    ``allowed`` names checks of the gate that may fail, ``reason`` says why; it lands in the
    history. Raises SettingError when something is allowed without a reason.
    """

    brands: Path | None = None
    limits: Path | None = None
    expect: Path | None = None
    allowed: tuple[str, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        if self.allowed and not self.reason.strip():
            raise SettingError("--allow needs a reason", hint="Give it with --reason TEXT")

    def check(
        self,
        inputs: Sequence[InputFile],
        store: SnapshotStore | None,
        *,
        increments: bool | None = None,
        as_of: datetime | None = None,
        progress: FileProgress | None = None,
    ) -> Checked:
        """Read and judge files: see :func:`numroute_loader.pipeline.check`."""
        return pipeline.check(
            inputs,
            store,
            increments=increments,
            as_of=as_of,
            brands=self.brands,
            limits=load_limits(self.limits),
            expect=self.expect,
            allowed=self.allowed,
            progress=progress,
        )
