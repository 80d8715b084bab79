"""Generating a whole registry into a folder."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

from numroute_loader.generate.dumps import Folder, FullDumps, numbering_plan_rows, operator_rows
from numroute_loader.generate.increments import Subscribers
from numroute_loader.generate.market import load_market
from numroute_loader.generate.options import GeneratedRegistry, Tier
from numroute_loader.generate.plan import synthetic_plan
from numroute_loader.generate.ports import Ports, allocate, portable_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import date
    from pathlib import Path

    from numroute_loader.generate.market import Market
    from numroute_loader.generate.options import GenerateOptions
    from numroute_loader.generate.plan import MobileRanges, PlanRow
    from numroute_loader.generate.ports import PortedChunk

    Progress = Callable[[str, int, int], None]

_RETURNED_HOME_PER_MILLE = 25
"""Rows of Port_All_Full that are back with their range holder, per row of Port_All."""


def generate(
    folder: Path, options: GenerateOptions, *, progress: Progress | None = None
) -> GeneratedRegistry:
    """Write a synthetic registry.

    Args:
        folder: Where to write; it is made when it is missing. No existing file is replaced.
        options: What to write. Equal options give equal files.
        progress: Called with a stage's name, the work done and the work in all.

    Returns:
        The files and what they hold.

    Raises:
        SettingError: A file exists already, the folder cannot be written, or the plan holds
            fewer numbers. No file is left behind then.
        InputError: A given plan file is not a plan.
    """
    report = progress or _silent
    files = Folder(folder, options)
    report("plan", 0, 1)
    market, ranges, plan_rows = _plan(options)
    report("plan", 1, 1)
    registry = _Registry(files, market, ranges, options)
    with files:
        day = options.first_date
        operators, numbering_plan = registry.write_tables(day)
        plan = files.write_plan(plan_rows) if plan_rows else []
        port_all = registry.write_full_dumps(day, report)
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
        self._dumps = FullDumps(
            self._ports,
            market,
            [*self._ports.days, *later],
            in_order=options.sorted,
            seed=options.seed,
        )
        self._rows_of = {
            tier: options.ported + (self.returned_home if tier is Tier.PORT_ALL_FULL else 0)
            for tier in Tier
            if tier in options.tiers
        }

    def write_tables(self, day: date) -> tuple[Path, Path]:
        """Write Operators and Numbering_plan of a midnight."""
        return (
            self._files.write_daily("Operators", day, operator_rows(self._market)),
            self._files.write_daily(
                "Numbering_plan", day, numbering_plan_rows(self._market, self._ranges)
            ),
        )

    def write_full_dumps(
        self,
        day: date,
        report: Progress,
        more: Mapping[Tier, int] | None = None,
        overlay: PortedChunk | None = None,
    ) -> list[Path]:
        """Write the full dumps of a midnight; ``overlay`` adds ``more`` rows to the base's."""
        paths = {tier: self._files.daily(tier, day) for tier in self._rows_of}
        rows_of = {tier: rows + (more or {}).get(tier, 0) for tier, rows in self._rows_of.items()}
        with ExitStack() as stack:
            dumps = {
                tier: stack.enter_context(self._files.open(path, day))
                for tier, path in paths.items()
            }
            self._dumps.write(dumps, rows_of, report, overlay)
        return list(paths.values())

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
                more = dict.fromkeys(Tier, subscribers.ported_more)
                more[Tier.PORT_ALL_FULL] = subscribers.rows_more
                yield from self.write_full_dumps(midnight, _silent, more, subscribers.overlay())
        report("days", options.days, options.days)


def _plan(options: GenerateOptions) -> tuple[Market, MobileRanges, list[PlanRow]]:
    """Return the market, the mobile ranges, and the rows of plan files that are to be written."""
    market = load_market()
    if options.plan is not None:
        # Reading plan files needs pyarrow, making them does not.
        from numroute_loader.generate.real_plan import read_real_plan  # noqa: PLC0415

        ranges, market = read_real_plan(options.plan, market)
        return market, ranges, []
    return (market, *synthetic_plan(market, options.seed))


def _silent(_stage: str, _done: int, _total: int) -> None:
    """Report nothing."""
