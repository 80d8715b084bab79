"""A synthetic registry in exactly the real file formats, for everybody without a contract.

::

    from numroute_loader.generate import GenerateOptions, generate

    generate(Path("inbox"), GenerateOptions(ported=1_000_000, seed=1))

The shapes (market shares, sizes of ranges, runs of corporate numbers, dates) imitate the real
registry; every ported number and every date is made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path

from numroute_loader.generate.dumps import Folder, FullDumps, numbering_plan_rows, operator_rows
from numroute_loader.generate.increments import Subscribers
from numroute_loader.generate.market import Market, load_market
from numroute_loader.generate.options import GeneratedRegistry, GenerateOptions, Tier
from numroute_loader.generate.plan import MobileRanges, PlanRow, read_real_plan, synthetic_plan
from numroute_loader.generate.ports import Ports, allocate, portable_sizes

Progress = Callable[[str, int, int], None]

__all__ = ["GenerateOptions", "GeneratedRegistry", "Tier", "generate"]

_RETURNED_HOME_PER_MILLE = 25
"""Rows of Port_All_Full that are back with their range holder, per row of Port_All."""


def generate(
    folder: Path, options: GenerateOptions, *, progress: Progress | None = None
) -> GeneratedRegistry:
    """Write a synthetic registry into a folder, which is made when it is missing.

    ``progress`` is called with a stage's name, the work done and the work in all.

    Raises SettingError when a file exists already, the folder cannot be written, or the plan holds
    fewer numbers, and InputError when a given plan file is not a plan. No file is left behind then.
    """
    report = progress or _silent
    files = Folder(folder, options)
    report("plan", 0, 1)
    market = load_market()
    plan_rows: list[PlanRow] = []
    if options.plan is None:
        ranges, plan_rows = synthetic_plan(market, options.seed)
    else:
        ranges, market = read_real_plan(options.plan, market)
    report("plan", 1, 1)
    registry = _Registry(files, market, ranges, options)
    with files:
        operators, numbering_plan = registry.write_tables(options.first_date)
        plan = files.write_plan(plan_rows) if plan_rows else []
        port_all = registry.write_full_dumps(options.first_date, report)
        following = list(registry.following(report)) if options.days else []
    return GeneratedRegistry(
        operators=operators,
        numbering_plan=numbering_plan,
        port_all=port_all,
        plan=plan,
        ported=options.ported,
        returned_home=registry.returned_home,
        mobile_ranges=len(ranges.first),
        mobile_numbers=int(ranges.sizes.sum()),
        fixed_ranges=len(plan_rows) - len(ranges.first) if plan_rows else 0,
        following=following,
    )


class _Registry:
    """What is written into the files of one run."""

    def __init__(
        self, files: Folder, market: Market, ranges: MobileRanges, options: GenerateOptions
    ) -> None:
        self._files, self._market, self._ranges, self._options = files, market, ranges, options
        room = int(portable_sizes(ranges, market).sum()) - options.ported
        self.returned_home = max(0, min(options.ported * _RETURNED_HOME_PER_MILLE // 1000, room))
        self._ports = Ports(
            market,
            ranges,
            allocate(options.ported + self.returned_home, ranges, market, options.seed),
            returned_home=self.returned_home,
            dump_date=options.first_date,
            seed=options.seed,
        )
        later = (options.first_date + timedelta(days=i) for i in range(options.days))
        self._dumps = FullDumps(self._ports, market, [*self._ports.days, *later])

    def write_tables(self, day: date) -> tuple[Path, Path]:
        """Write Operators and Numbering_plan of a midnight."""
        plan = numbering_plan_rows(self._market, self._ranges)
        return (
            self._files.write_daily("Operators", day, operator_rows(self._market)),
            self._files.write_daily("Numbering_plan", day, plan),
        )

    def write_full_dumps(
        self, day: date, report: Progress, subscribers: Subscribers | None = None
    ) -> list[Path]:
        """Write the full dumps of a midnight, those of the base and what changed since."""
        tiers = [tier for tier in Tier if tier in self._options.tiers]
        rows_of = dict.fromkeys(tiers, self._options.ported)
        if subscribers is not None:
            rows_of = dict.fromkeys(tiers, self._options.ported + subscribers.ported_more)
        if Tier.PORT_ALL_FULL in rows_of:
            more = subscribers.rows_more if subscribers is not None else 0
            rows_of[Tier.PORT_ALL_FULL] = self._options.ported + self.returned_home + more
        paths = [self._files.daily(tier, day) for tier in tiers]
        with ExitStack() as stack:
            files = [stack.enter_context(self._files.open(path)) for path in paths]
            overlay = subscribers.overlay() if subscribers is not None else None
            self._dumps.write(dict(zip(tiers, files, strict=True)), rows_of, report, overlay)
        return paths

    def following(self, report: Progress) -> Iterator[Path]:
        """Write what appears after the first midnight, day by day, in the order of its time."""
        options = self._options
        subscribers = Subscribers(self._market, self._ranges, self._ports, options)
        for i in range(options.days):
            report("days", i, options.days)
            day = options.first_date + timedelta(days=i)
            for window in subscribers.windows(day):
                yield self._files.write_window("Port_Increment", window.ends, window.ports)
                yield self._files.write_window("Return_Increment", window.ends, window.returns)
            if options.later_dumps:
                midnight = day + timedelta(days=1)
                yield from self.write_tables(midnight)
                yield from self.write_full_dumps(midnight, _silent, subscribers)
        report("days", options.days, options.days)


def _silent(_stage: str, _done: int, _total: int) -> None:
    """Report nothing."""
