"""The real numbering plans that the benchmarks run over, and where they lie."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from numroute.errors import SettingError

ROOT = Path(__file__).resolve().parent.parent

VARIABLE = "NUMROUTE_REFERENCE_DATA"
MOBILE = "numbering_plan/2026-04/DEF-9xx.csv"
FIXED = tuple(f"numbering_plan/2021-04/Kody_ABC-{part}kh.csv" for part in (3, 4, 8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """The mobile plan of 2026 and the files of the fixed plan of 2021."""

    mobile: Path
    fixed: tuple[Path, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return (self.mobile, *self.fixed)

    def digest(self) -> str:
        """Return a digest of what the files hold."""
        digest = hashlib.sha256()
        for path in self.paths:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def find_plans() -> Plans:
    """Return the plan files of the reference data.

    Raises:
        SettingError: They are not where ``NUMROUTE_REFERENCE_DATA``, or its default, says.
    """
    folder = Path(os.environ.get(VARIABLE, ROOT.parent / "shared" / "data"))
    plans = Plans(mobile=folder / MOBILE, fixed=tuple(folder / name for name in FIXED))
    missing = [path for path in plans.paths if not path.is_file()]
    if missing:
        raise SettingError(
            f"the reference data are not complete: {missing[0]} is missing",
            hint=f"Set {VARIABLE} to the folder that holds numbering_plan/",
        )
    return plans
