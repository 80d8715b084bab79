"""A whole campaign run: list in, output folder out.

Blocks go through a pipeline: any thread prepares them (numbers read, routes looked up), one thread
sorts them in the list's order (duplicates, policy, counts), any thread renders their rows, and the
one thread writes them.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa

from numroute.errors import InputError, SettingError
from numroute_campaign.decisions import ByOperator, Decisions
from numroute_campaign.home import Home
from numroute_campaign.kept_columns import check_kept, check_pseudonymous
from numroute_campaign.lists.opening import OpenList, Wanted
from numroute_campaign.lists.segments import SEGMENTS_MAX
from numroute_campaign.lists.sources import find_files
from numroute_campaign.number_set import NumberSet
from numroute_campaign.outputs import Columns, Outputs, OutputSettings
from numroute_campaign.policy import rules_that_never_match
from numroute_campaign.preparing import Prepared, prepare
from numroute_campaign.pseudonyms import Pseudonymizer
from numroute_campaign.report import write_report
from numroute_campaign.sorting import Sorter
from numroute_campaign.summary import Facts, ReadFile, summarize
from numroute_campaign.suppression import check_suppress, read_suppressed
from numroute_campaign.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numroute_campaign.lists.block import Block
    from numroute_campaign.lists.sources import ListFile
    from numroute_campaign.outputs import Rendered
    from numroute_campaign.policy import Policy
    from numroute_campaign.prices import PriceList
    from numroute_campaign.routers import Router
    from numroute_campaign.summary import Summary

THREADS_MAX: Final = 8
FILES_NAMED_MAX: Final = 3
"""So many files an error names that may come from any of them."""

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Progress(Protocol):
    """Is told how far a run is; ``bytes_total`` is 0 when it is not known."""

    def __call__(self, *, rows: int, bytes_done: int, bytes_total: int) -> None:
        """Show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What to do with which lists.

    Attributes:
        lists: Files, folders, ``-`` for standard input.
        out: The output folder; must not exist or be empty.
        wanted: How to read the lists.
        output: Form and size of the output files.
        policy: None makes an output route per operator.
        prices: None reports no costs.
        suppress: Do-not-send lists, named like ``lists``.
        key: The key of pseudonyms; None lets the numbers themselves leave.
        map: Where the map of pseudonyms goes; must not exist.
        language: Of the report page.
    """

    lists: tuple[str, ...]
    out: Path
    wanted: Wanted
    output: OutputSettings
    policy: Policy | None = None
    prices: PriceList | None = None
    suppress: tuple[str, ...] = ()
    key: bytes | None = None
    map: Path | None = None
    language: str = "en"

    @property
    def reading(self) -> Wanted:
        """How to read the lists, with the columns that the policy's templates write."""
        templates = {} if self.policy is None else self.policy.templates
        names = [name for each in templates.values() for name in each.list_columns]
        return replace(self.wanted, keep=tuple(dict.fromkeys((*self.wanted.keep, *names))))


def run_campaign(campaign: Campaign, router: Router, progress: Progress | None = None) -> Summary:
    """Route the lists and return what was done.

    Raises:
        InputError: A list cannot be read, or the output cannot be written.
        SettingError: The settings contradict each other, or the interrupted run was another one.
        ServiceError: The service did not answer.
    """
    check_suppress(campaign.suppress)
    files = find_files(campaign.lists)
    home = Home(campaign.wanted.region)
    if campaign.map is not None:
        _check_map(campaign.map, campaign)
    # Everything that can be wrong with the lists is found before anything is made.
    opened: list[OpenList] = []
    try:
        opened.extend(OpenList(file, campaign.reading) for file in files)
        check_kept(opened, campaign.reading.keep, campaign.output.form)
        if campaign.key is not None:
            check_pseudonymous(opened)
        with Workspace(campaign.out) as workspace:
            run = _Run(campaign, router, home, workspace, files, opened)
            run.work(progress)
            return run.end()
    except OSError as error:
        raise InputError(
            campaign.out,
            f"the output cannot be written: {error.strerror or error}",
            hint="Make room, then run again" if error.errno in _DISK_FULL else "",
        ) from None
    except pa.ArrowException as error:
        # Its own message may quote cells, and cells hold people's numbers.
        raise InputError(
            ", ".join(file.name for file in files[:FILES_NAMED_MAX]),
            f"a value cannot be handled (pyarrow: {type(error).__name__})",
            hint="Leave kept columns out one by one to find it, or give the list as CSV",
        ) from None
    finally:
        for each in opened:
            each.close()


class _Run:
    def __init__(
        self,
        campaign: Campaign,
        router: Router,
        home: Home,
        workspace: Workspace,
        files: Sequence[ListFile],
        opened: Sequence[OpenList],
    ) -> None:
        self.campaign, self.router, self.home = campaign, router, home
        self.workspace, self.files, self.opened = workspace, files, opened
        self.file_rows = [0] * len(files)
        self.decisions = Decisions(self.router.routes, campaign.policy or ByOperator())
        self.outputs = Outputs(
            self.workspace,
            campaign.output,
            self.decisions,
            self.router.routes,
            Columns(
                kept=campaign.reading.keep,
                shown=campaign.wanted.keep,
                has_windows=campaign.policy is not None and campaign.policy.has_windows,
                country_code=home.country_code,
            ),
            templates={} if campaign.policy is None else campaign.policy.templates,
            pseudonymizer=None if campaign.key is None else Pseudonymizer(campaign.key),
        )
        self.suppressed = (
            read_suppressed(campaign.suppress, campaign.wanted.region, self.workspace.spool)
            if campaign.suppress
            else None
        )
        self.sorter = Sorter(self.decisions, NumberSet(self.workspace.spool), self.suppressed)

    def work(self, progress: Progress | None) -> None:
        total = sum(file.size for file in self.files)
        if any(file.path is None for file in self.files):
            total = 0
        threads = min(THREADS_MAX, os.cpu_count() or 1)
        rendering: deque[Future[Rendered]] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="campaign") as pool:
            try:
                for file, prepared in self._prepared(pool, threads + 1):
                    block = prepared.block
                    leaving, staying = self.sorter.sort(prepared)
                    cells = self.outputs.route_cells()
                    rendering.append(
                        pool.submit(self.outputs.render, leaving, staying, block, cells)
                    )
                    while len(rendering) > threads:
                        self.outputs.write(rendering.popleft().result())
                    self.file_rows[file] += block.records
                    if progress is not None:
                        done = sum(each.size for each in self.files[:file])
                        done += self.opened[file].bytes_done
                        progress(rows=self.sorter.counts.rows, bytes_done=done, bytes_total=total)
                while rendering:
                    self.outputs.write(rendering.popleft().result())
            finally:
                for future in rendering:
                    future.cancel()

    def end(self) -> Summary:
        self.outputs.finish()
        campaign = self.campaign
        policy = campaign.policy
        warnings = tuple(
            f"{each.file.name}: {warning}"
            for each in self.opened
            for warning in each.found.warnings
        )
        odd = self.sorter.counts.odd_segments
        if odd:
            rows = "row has" if odd == 1 else "rows have"
            warnings += (
                f"{odd:,} {rows} no whole number from 1 to {SEGMENTS_MAX} as segments: taken as 1",
            )
        if policy is not None:
            warnings += rules_that_never_match(
                policy, self.router.routes if self.router.is_complete else None
            )
        summary = summarize(
            Facts(
                files=tuple(
                    ReadFile(name=each.file.name, found=each.found, rows=rows)
                    for each, rows in zip(self.opened, self.file_rows, strict=True)
                ),
                router=self.router,
                decisions=self.decisions,
                counts=self.sorter.counts,
                files_of=self.outputs.files_of,
                rejects_files=tuple(self.outputs.rejects.names),
                region=self.home.region or "",
                kept=campaign.reading.keep,
                policy=policy,
                prices=campaign.prices,
                has_segments=campaign.wanted.segments_column is not None,
                pseudonymized=campaign.key is not None,
                warnings=warnings,
            )
        )
        write_report(self.workspace.output, summary, campaign.language)
        if campaign.key is not None and campaign.map is not None:
            self.workspace.hand_over(self.outputs.map_name(), campaign.map)
        self.workspace.finish()
        return summary

    def _prepared(self, pool: ThreadPoolExecutor, ahead: int) -> Iterator[tuple[int, Prepared]]:
        """Yield the blocks in order, each prepared by one of the threads."""

        def work(task: Callable[[], Block]) -> Prepared:
            return prepare(task(), self.router, self.home)

        waiting: deque[tuple[int, Future[Prepared]]] = deque()
        try:
            for file, task in self._tasks():
                waiting.append((file, pool.submit(work, task)))
                if len(waiting) > ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()

    def _tasks(self) -> Iterator[tuple[int, Callable[[], Block]]]:
        for file, opened in enumerate(self.opened):
            for task in opened.tasks():
                yield file, task


def _check_map(path: Path, campaign: Campaign) -> None:
    """Raise when the map of pseudonyms cannot go to a path, or must not."""
    out = campaign.out
    if path.exists():
        raise InputError(path, "it is there already", hint="Give another --map, or move it away")
    if out.resolve() in path.resolve().parents:
        raise SettingError(
            f"{path}: the map of pseudonyms would lie in the output folder, which leaves",
            hint="Give a --map outside of --out",
        )
    if path.absolute().parent != out.absolute().parent and not path.parent.is_dir():
        raise InputError(path, "its folder is not there", hint="Make it, or give another --map")
