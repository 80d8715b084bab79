"""Generating a whole registry into a folder."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import numpy as np

from numroute.errors import SettingError
from numroute_loader.generate.allocation import allocate, portable_numbers
from numroute_loader.generate.dump_file import (
    DumpFile,
    already_there,
    create_private,
    dump_name,
)
from numroute_loader.generate.fixed_plan import synthetic_fixed_plan
from numroute_loader.generate.market import load_market
from numroute_loader.generate.mobile_plan import synthetic_mobile_plan
from numroute_loader.generate.options import GeneratedRegistry, PlanEncoding, Tier
from numroute_loader.generate.plan_files import plan_file_bytes
from numroute_loader.generate.ports import Ports
from numroute_loader.generate.randomness import Purpose, Stream
from numroute_loader.generate.rows import HEADERS, ROWS_PER_PIECE, RowFormatter, with_row_count
from numroute_loader.generate.table_files import numbering_plan_bytes, operators_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from numroute_loader.generate.market import Market
    from numroute_loader.generate.options import GenerateOptions
    from numroute_loader.generate.plan import HeldRanges, PlanText

    Progress = Callable[[str, int, int], None]

RETURNED_HOME_PER_MILLE = 25
"""Rows of Port_All_Full that are back with their range holder, per row of Port_All."""

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
        dump_date=options.date,
        seed=options.seed,
    )
    with files:
        operators = files.write_dump("Operators", operators_bytes(market))
        numbering_plan = files.write_dump("Numbering_plan", numbering_plan_bytes(market, ranges))
        plan = [files.write_plan(name, digit, text) for name, digit in PLAN_FILES if text]
        rows_of = {
            tier: options.ported + (returned_home if tier is Tier.PORT_ALL_FULL else 0)
            for tier in tiers
        }
        port_all = _write_full_dumps(files, options, market, ports, rows_of, report)
    return GeneratedRegistry(
        operators=operators,
        numbering_plan=numbering_plan,
        port_all=port_all,
        plan=plan,
        ported=options.ported,
        returned_home=returned_home,
        mobile_ranges=len(ranges.first),
        mobile_numbers=int(ranges.sizes.sum()),
        fixed_ranges=len(text.first) - len(ranges.first) if text else 0,
    )


class _Files:
    """The files of one run; as a context it takes them back when the run fails."""

    def __init__(self, folder: Path, options: GenerateOptions) -> None:
        self._folder = folder
        self._options = options
        self._created: list[Path] = []

    def dump_path(self, kind: str) -> Path:
        name = dump_name(kind, self._options.date, zipped=self._options.zipped)
        return self._folder / name

    def prepare(self, tiers: Sequence[Tier]) -> None:
        """Make the folder, and refuse early what would be refused after minutes of work."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(
                f"{self._folder} cannot be made: {error.strerror}",
                hint="Choose a folder that can be written",
            ) from None
        wanted = [self.dump_path(kind) for kind in ("Operators", "Numbering_plan", *tiers)]
        if self._options.plan is None:
            wanted += [self._folder / name for name, _ in PLAN_FILES]
        for path in wanted:
            if path.exists():
                raise already_there(path)

    def open_dump(self, kind: str) -> DumpFile:
        path = self.dump_path(kind)
        dump = DumpFile(path, self._options.date)
        self._created.append(path)
        return dump

    def write_dump(self, kind: str, data: bytes) -> Path:
        with self.open_dump(kind) as dump:
            dump.write(data)
        return self.dump_path(kind)

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


def _write_full_dumps(
    files: _Files,
    options: GenerateOptions,
    market: Market,
    ports: Ports,
    rows_of: Mapping[Tier, int],
    report: Progress,
) -> list[Path]:
    """Write every full dump that was asked for in one pass over the chunks."""
    formatter = RowFormatter(market, ports.days)
    chunks = range(ports.chunk_count)
    shuffle = None if options.sorted else Stream(options.seed, Purpose.ORDER)
    if shuffle:
        chunks = shuffle.order(ports.chunk_count).tolist()
    left = dict(rows_of)
    with ExitStack() as stack:
        dumps = {tier: stack.enter_context(files.open_dump(tier)) for tier in rows_of}
        for tier, dump in dumps.items():
            dump.write(HEADERS[tier])
        for done, index in enumerate(chunks):
            report("ported numbers", done, ports.chunk_count)
            chunk = ports.draw(index)
            order = shuffle.order(len(chunk.number)) if shuffle else np.arange(len(chunk.number))
            for tier, dump in dumps.items():
                kept = order if tier is Tier.PORT_ALL_FULL else order[~chunk.home[order]]
                for start in range(0, len(kept), ROWS_PER_PIECE):
                    piece = kept[start : start + ROWS_PER_PIECE]
                    first = left[tier] == rows_of[tier]
                    rows = formatter.rows(tier, chunk, piece)
                    dump.write(with_row_count(rows, tier, rows_of[tier]) if first else rows)
                    left[tier] -= len(piece)
        report("ported numbers", ports.chunk_count, ports.chunk_count)
    return [files.dump_path(tier) for tier in rows_of]


def _silent(_stage: str, _done: int, _total: int) -> None:
    """Report nothing."""
