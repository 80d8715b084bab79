"""A synthetic registry in exactly the real file formats, for everybody without a contract.

::

    from numroute_loader.generate import GenerateOptions, generate

    generate(Path("inbox"), GenerateOptions(ported=1_000_000, seed=1))

The shapes (market shares, sizes of ranges, runs of corporate numbers, dates) imitate the real
registry; every ported number and every date is made up.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time
from pathlib import Path

from numroute_loader.generate.dumps import WINDOW, Folder, Midnights
from numroute_loader.generate.increments import WINDOWS_PER_DAY, Subscribers
from numroute_loader.generate.options import GeneratedRegistry, GenerateOptions, Tier
from numroute_loader.generate.plan import PlanRow, load_market, read_real_plan, synthetic_plan
from numroute_loader.generate.ports import Ports, portable_sizes

__all__ = ["GenerateOptions", "GeneratedRegistry", "Tier", "generate"]

_RETURNED_HOME_PER_MILLE = 25
"""Rows of Port_All_Full that are back with their range holder, per row of Port_All."""


def generate(
    folder: Path,
    options: GenerateOptions,
    *,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> GeneratedRegistry:
    """Write a synthetic registry into a folder, which is made when it is missing.

    ``progress`` is called with a stage's name, the work done and the work in all.

    Raises SettingError when a file exists already, the folder cannot be written, or the plan holds
    fewer numbers, and InputError when a given plan file is not a plan. No file is left behind then.
    """
    files = Folder(folder, options)
    progress("plan", 0, 1)
    market = load_market()
    plan_rows: list[PlanRow] = []
    if not options.plan:
        ranges, plan_rows = synthetic_plan(market, options.seed)
    else:
        ranges, market = read_real_plan(options.plan, market)
    progress("plan", 1, 1)
    room = int(portable_sizes(ranges, market).sum()) - options.ported
    ports = Ports(
        market,
        ranges,
        ported=options.ported,
        returned_home=max(0, min(options.ported * _RETURNED_HOME_PER_MILLE // 1000, room)),
        dump_date=options.first_date,
        seed=options.seed,
    )
    subscribers = Subscribers(market, ranges, ports, options)
    midnights = Midnights(files, market, ranges, ports, options.tiers)
    at = datetime.combine(options.first_date, time())
    with files:
        if plan_rows:
            files.write_plan(plan_rows)
        plan = files.created.copy()
        midnights.write(at, subscribers.changed(), progress)
        operators, numbering_plan, *port_all = files.created[len(plan) :]
        first = len(files.created)
        for day in range(options.days):
            progress("days", day, options.days)
            for _ in range(WINDOWS_PER_DAY):
                at += WINDOW
                for kind, rows in subscribers.window(at).items():
                    files.write(kind, at, rows)
            if options.later_dumps:
                midnights.write(at, subscribers.changed())
            progress("days", day + 1, options.days)
    return GeneratedRegistry(
        operators=operators,
        numbering_plan=numbering_plan,
        port_all=port_all,
        plan=plan,
        ported=options.ported,
        returned_home=ports.returned_home,
        mobile_ranges=len(ranges.first),
        mobile_numbers=int(ranges.sizes.sum()),
        fixed_ranges=len(plan_rows) - len(ranges.first) if plan_rows else 0,
        following=files.created[first:],
    )
