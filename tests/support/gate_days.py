"""A registry over days beside a store of its first day, to be judged by the gate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from numroute.index import SnapshotStore
from numroute_loader.gate.findings import Outcome
from numroute_loader.gate.limits import Approval, GateLimits, read_limits
from numroute_loader.generate import GenerateOptions, Tier, generate
from numroute_loader.pipeline import Checked, check, publish
from numroute_loader.registries import built_in_limits

PORTED = 60_000
DAYS = 3
CHANGES_PER_WINDOW = 5
"""About a thousandth of the numbers a day, as in the real registry."""


def scaled_limits() -> GateLimits:
    """Return the built-in limits with the absolute ones scaled down from 20 million numbers."""
    return dataclasses.replace(
        read_limits(built_in_limits(), None),
        growth_numbers_min=50,
        operator_change_numbers_min=25,
        movement_numbers_min=25,
        updates_numbers_min=25,
        unchanged_numbers_min=30_000,
        port_dates_numbers_min=30_000,
    )


@dataclasses.dataclass(frozen=True)
class Days:
    """The files of some midnights, by kind, and the store of the first of them."""

    folder: Path
    store: SnapshotStore
    files: list[dict[str, Path]]

    def judge(
        self,
        dump: Path | None = None,
        *,
        day: int = 1,
        allowed: tuple[str, ...] = (),
        limits: Mapping[str, int] | None = None,
        **replaced: Path,
    ) -> Checked:
        """Judge a day's files against the store, some of them replaced."""
        files = {**self.files[day], **({"Port_All": dump} if dump else {}), **replaced}
        kinds = ("Operators", "Numbering_plan", "Port_All")
        inputs = [files[kind] for kind in kinds]
        approval = Approval(allowed=allowed, reason="a test")
        own = dataclasses.replace(scaled_limits(), **(limits or {}))
        return check(inputs, self.store, approval, limits=own)


def generated_days(folder: Path) -> Days:
    """Return generated days up to today, the first of them published."""
    moscow = datetime.now(UTC) + timedelta(hours=3)
    made = generate(
        folder / "registry",
        GenerateOptions(
            ported=PORTED,
            seed=3,
            date=moscow.date(),
            days=DAYS,
            changes_per_window=CHANGES_PER_WINDOW,
            tiers=(Tier.PORT_ALL, Tier.PORT_ALL_FULL),
        ),
    )
    paths = [*made.paths, *made.following]
    files: list[dict[str, Path]] = [{} for _ in range(DAYS + 1)]
    for kind in ("Operators", "Numbering_plan", "Port_All", "Port_All_Full"):
        of_kind = [path for path in paths if path.name.startswith(f"{kind}_2")]
        for day, path in enumerate(of_kind):
            files[day][kind] = path
    store = SnapshotStore(folder / "store", create=True)
    found = Days(folder=folder, store=store, files=files)
    checked = found.judge(day=0)
    publish(store, checked)
    return found


def failed(checked: Checked) -> set[str]:
    """Return the names of the checks that failed."""
    return {finding.check for finding in checked.findings if finding.outcome is Outcome.FAILED}
