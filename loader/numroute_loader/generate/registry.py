"""Generating a whole registry into a folder."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Self

from numroute.errors import SettingError
from numroute_loader.generate.allocation import allocate, portable_numbers
from numroute_loader.generate.dump_file import (
    DumpFile,
    already_there,
    create_private,
    dump_name,
)
from numroute_loader.generate.fixed_plan import synthetic_fixed_plan
from numroute_loader.generate.full_dumps import FullDumps
from numroute_loader.generate.increments import HEADERS as INCREMENT_HEADERS
from numroute_loader.generate.increments import WINDOWS_PER_DAY, Life
from numroute_loader.generate.market import load_market
from numroute_loader.generate.mobile_plan import synthetic_mobile_plan
from numroute_loader.generate.options import GeneratedRegistry, PlanEncoding, Tier
from numroute_loader.generate.plan_files import plan_file_bytes
from numroute_loader.generate.ports import Ports
from numroute_loader.generate.randomness import Purpose, Stream
from numroute_loader.generate.rows import RowFormatter
from numroute_loader.generate.subscribers import Candidates
from numroute_loader.generate.table_files import numbering_plan_bytes, operators_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path
    from types import TracebackType

    from numroute_loader.generate.increments import Window
    from numroute_loader.generate.market import Market
    from numroute_loader.generate.options import GenerateOptions
    from numroute_loader.generate.plan import HeldRanges, PlanText
    from numroute_loader.generate.subscribers import Subscribers

    Progress = Callable[[str, int, int], None]

RETURNED_HOME_PER_MILLE = 25
"""Rows of Port_All_Full that are back with their range holder, per row of Port_All."""

PORTED_PER_HUNDRED_CHANGES = 45
FREE_PER_HUNDRED_CHANGES = 70
CANDIDATES_MIN = 64
"""Numbers that are sampled for changes: more than there are changes of their sort."""

PLAN_FILES = (("ABC-3xx.csv", 3), ("ABC-4xx.csv", 4), ("ABC-8xx.csv", 8), ("DEF-9xx.csv", 9))


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
        SettingError: A file exists already, the folder cannot be written, or the plan cannot hold
            so many ported numbers. No file is left behind then.
        InputError: A given plan file is not a plan.
    """
    report = progress or _silent
    tiers = [tier for tier in Tier if tier in options.tiers]
    files = _Files(folder, options)
    files.prepare(tiers)

    report("plan", 0, 1)
    market, ranges, text = _plan(options)
    report("plan", 1, 1)
    portable = portable_numbers(ranges, market)
    returned_home = max(
        0, min(options.ported * RETURNED_HOME_PER_MILLE // 1000, portable - options.ported)
    )
    stream = Stream(options.seed, Purpose.ALLOCATION)
    counts = allocate(options.ported + returned_home, ranges, market, stream)
    ports = Ports(
        market,
        ranges,
        counts,
        returned_home=returned_home,
        dump_date=options.first_date,
        seed=options.seed,
    )
    days = [*ports.days, *(options.first_date + timedelta(days=i) for i in range(options.days))]
    dumps = FullDumps(ports, RowFormatter(market, days), in_order=options.sorted, seed=options.seed)
    rows_of = {
        tier: options.ported + (returned_home if tier is Tier.PORT_ALL_FULL else 0)
        for tier in tiers
    }
    candidates = _candidates(options, ranges, options.ported + returned_home)
    with files:
        day = options.first_date
        operators = files.write_dump("Operators", day, operators_bytes(market))
        plan_bytes = numbering_plan_bytes(market, ranges)
        numbering_plan = files.write_dump("Numbering_plan", day, plan_bytes)
        plan = [files.write_plan(name, digit, text) for name, digit in PLAN_FILES if text]
        dumps.write(partial(files.open_dump, day=day), rows_of, report, candidates=candidates)
        following: list[Path] = []
        if candidates is not None:
            subscribers = candidates.subscribers()
            life = Life(
                subscribers, market, ports, changes=options.changes_per_window, seed=options.seed
            )
            for i in range(options.days):
                report("days", i, options.days)
                day = options.first_date + timedelta(days=i)
                following += _windows(files, life, day)
                if options.later_dumps:
                    tables = {"Operators": operators_bytes(market), "Numbering_plan": plan_bytes}
                    following += _midnight(
                        files, dumps, day + timedelta(days=1), tables, rows_of, subscribers
                    )
            report("days", options.days, options.days)
    return GeneratedRegistry(
        operators=operators,
        numbering_plan=numbering_plan,
        port_all=[files.dump_path(tier, options.first_date) for tier in tiers],
        plan=plan,
        ported=options.ported,
        returned_home=returned_home,
        mobile_ranges=len(ranges.first),
        mobile_numbers=int(ranges.sizes.sum()),
        fixed_ranges=len(text.first) - len(ranges.first) if text else 0,
        following=following,
    )


def _candidates(options: GenerateOptions, ranges: HeldRanges, rows: int) -> Candidates | None:
    """Return who will pick the numbers that change; None where no day follows."""
    if not options.days:
        return None
    changes = options.days * WINDOWS_PER_DAY * options.changes_per_window
    return Candidates(
        ranges,
        ported=changes * PORTED_PER_HUNDRED_CHANGES // 100 + CANDIDATES_MIN,
        free=changes * FREE_PER_HUNDRED_CHANGES // 100 + CANDIDATES_MIN,
        rows=rows,
        seed=options.seed,
    )


def _windows(files: _Files, life: Life, day: date) -> Iterator[Path]:
    """Write both increments of each window of a day."""
    for window in life.day(day):
        for kind in INCREMENT_HEADERS:
            yield files.write_increment(window, kind)


def _midnight(
    files: _Files,
    dumps: FullDumps,
    day: date,
    tables: Mapping[str, bytes],
    rows_of: Mapping[Tier, int],
    subscribers: Subscribers,
) -> Iterator[Path]:
    """Write the dumps of a later midnight: the base registry and all that happened since."""
    for kind, data in tables.items():
        yield files.write_dump(kind, day, data)
    more = dict.fromkeys(Tier, subscribers.ported_more)
    more[Tier.PORT_ALL_FULL] = subscribers.rows_more
    dumps.write(
        partial(files.open_dump, day=day),
        {tier: rows + more[tier] for tier, rows in rows_of.items()},
        _silent,
        overlay=subscribers.overlay(),
    )
    yield from (files.dump_path(tier, day) for tier in rows_of)


class _Files:
    """The files of one run; as a context it takes them back when the run fails."""

    def __init__(self, folder: Path, options: GenerateOptions) -> None:
        self._folder = folder
        self._options = options
        self._created: list[Path] = []

    def dump_path(self, kind: str, day: date) -> Path:
        return self._folder / dump_name(kind, day, zipped=self._options.zipped)

    def prepare(self, tiers: Sequence[Tier]) -> None:
        """Make the folder, and refuse early what would be refused after minutes of work."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(
                f"{self._folder} cannot be made: {error.strerror}",
                hint="Choose a folder that can be written",
            ) from None
        day = self._options.first_date
        wanted = [self.dump_path(kind, day) for kind in ("Operators", "Numbering_plan", *tiers)]
        if self._options.plan is None:
            wanted += [self._folder / name for name, _ in PLAN_FILES]
        for path in wanted:
            if path.exists():
                raise already_there(path)

    def open_dump(self, kind: str, day: date) -> DumpFile:
        return self._open(self.dump_path(kind, day), day)

    def write_dump(self, kind: str, day: date, data: bytes) -> Path:
        with self.open_dump(kind, day) as dump:
            dump.write(data)
        return self.dump_path(kind, day)

    def write_increment(self, window: Window, kind: str) -> Path:
        path = self._folder / window.name(kind, zipped=self._options.zipped)
        with self._open(path, window.ends.date()) as dump:
            dump.write(window.text(kind))
        return path

    def _open(self, path: Path, day: date) -> DumpFile:
        dump = DumpFile(path, day)
        self._created.append(path)
        return dump

    def write_plan(self, name: str, digit: int, text: PlanText) -> Path:
        path = self._folder / name
        encoding = PlanEncoding(self._options.plan_encoding)
        with create_private(path) as file:
            self._created.append(path)
            file.write(plan_file_bytes(text, digit, encoding))
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        for path in self._created:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise SettingError(
                f"{self._folder} could not be written: {error.strerror or error}",
                hint="Check the space and the permissions; nothing was left behind",
            ) from None


def _plan(options: GenerateOptions) -> tuple[Market, HeldRanges, PlanText | None]:
    """Return the market, the mobile ranges, and the text of plan files that are to be written."""
    market = load_market()
    if options.plan is not None:
        # Reading plan files needs pyarrow, making them does not.
        from numroute_loader.generate.real_plan import read_real_plan  # noqa: PLC0415

        ranges, market = read_real_plan(options.plan, market)
        return market, ranges, None
    ranges, mobile = synthetic_mobile_plan(market, Stream(options.seed, Purpose.MOBILE_PLAN))
    fixed = synthetic_fixed_plan(market, Stream(options.seed, Purpose.FIXED_PLAN))
    return market, ranges, fixed.followed_by(mobile)


def _silent(_stage: str, _done: int, _total: int) -> None:
    """Report nothing."""
