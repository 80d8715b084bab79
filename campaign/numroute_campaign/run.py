"""A whole campaign run: list in, output folder out.

Blocks go through a pipeline: any thread prepares them (numbers read, routes looked up), one thread
sorts them in the list's order (duplicates, policy, counts), any thread renders their rows, and the
one thread writes them.
"""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa

from numroute.errors import InputError
from numroute.threads import in_order
from numroute_campaign.handover import Pseudonymizer, check_places, write_act
from numroute_campaign.lists import ReadOptions
from numroute_campaign.lists.files import find_files
from numroute_campaign.lists.opening import OpenList, check_kept, check_pseudonymous
from numroute_campaign.number_set import NumberSet
from numroute_campaign.output_files import OutputError, Workspace
from numroute_campaign.outputs import Columns, Outputs, OutputSettings
from numroute_campaign.policy import ByOperator, rules_that_never_match
from numroute_campaign.preparing import DefaultCountry, Prepared, prepare
from numroute_campaign.sorting import Counts, Decisions, Sorter, ported_since
from numroute_campaign.summary import Facts, summarize
from numroute_campaign.suppression import check_suppress, read_suppressed
from numroute_campaign.vocabulary import REJECTS_MAX, SEGMENTS_MAX, Phrase, Several

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numroute_campaign.lists import Block
    from numroute_campaign.lists.files import ListFile
    from numroute_campaign.outputs import Rendered
    from numroute_campaign.policy import Policy
    from numroute_campaign.prices import PriceList
    from numroute_campaign.routers import Router
    from numroute_campaign.summary import Summary


THREADS_MAX: Final = 8
FILES_NAMED_MAX: Final = 3
"""How many files an error names that may come from any of them."""

READ_PLAINLY: Final = ReadOptions()

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Progress(Protocol):
    """Receives how far a run is; ``bytes_total`` is 0 when it is not known."""

    def __call__(self, *, rows: int, bytes_done: int, bytes_total: int) -> None:
        """Show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Pseudonyms in place of numbers: the key, its file, and where the map goes (a new file)."""

    key: bytes
    key_file: Path
    map: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What to do with which lists.

    Attributes:
        lists: Files, folders, ``-`` for standard input.
        out: The output folder; must not exist or be empty.
        options: How to read the lists.
        output: Form and size of the output files.
        policy: None makes an output route per operator.
        prices: None reports no costs.
        several: What to do with cells that hold several numbers.
        suppress: Do-not-send lists, named like ``lists``.
        suppress_reading: How to read those.
        suppress_lenient: Pass over rows of those that are not understood.
        rejects_max: The share of rejected rows above which the run has failed.
        hand_over: Writes pseudonyms; None writes the numbers themselves.
        language: Of the report page.
        settings_files: The policy and the price file, each with its role, for the act.
    """

    lists: tuple[str, ...]
    out: Path
    options: ReadOptions
    output: OutputSettings
    policy: Policy | None = None
    prices: PriceList | None = None
    several: Several = Several.FIRST
    suppress: tuple[str, ...] = ()
    suppress_reading: ReadOptions = READ_PLAINLY
    suppress_lenient: bool = False
    rejects_max: float = REJECTS_MAX
    hand_over: HandOver | None = None
    language: str = "en"
    settings_files: tuple[tuple[str, Path], ...] = ()

    @property
    def reading(self) -> ReadOptions:
        """How to read the lists, with the columns that the policy's templates write."""
        templates = {} if self.policy is None else self.policy.templates
        names = [name for each in templates.values() for name in each.list_columns]
        return replace(self.options, keep=tuple(dict.fromkeys((*self.options.keep, *names))))


def run_campaign(campaign: Campaign, router: Router, progress: Progress | None = None) -> Summary:
    """Route the lists and return what was done.

    Raises:
        InputError: A list cannot be read.
        OutputError: The output cannot be written.
        SettingError: The settings contradict each other.
        ServiceError: The service did not answer.
    """
    check_suppress(campaign.suppress)
    files = find_files(campaign.lists)
    country = DefaultCountry(campaign.reading.region)
    if campaign.hand_over is not None:
        _check_hand_over(campaign.hand_over, campaign.out)
    # Everything that can be wrong with the lists is found before anything is made.
    opened: list[OpenList] = []
    try:
        opened.extend(OpenList(file, campaign.reading) for file in files)
        check_kept(opened, campaign.reading.keep, campaign.output.form)
        if campaign.hand_over is not None:
            check_pseudonymous(opened)
        with Workspace(campaign.out) as workspace:
            run = _Run(campaign, router, country, workspace, files, opened)
            run.work(progress)
            return run.end()
    except OSError as error:
        raise OutputError(
            campaign.out,
            f"the output cannot be written: {error.strerror or error}",
            hint="Make room, then run again" if error.errno in _DISK_FULL else "",
        ) from error
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
        country: DefaultCountry,
        workspace: Workspace,
        files: Sequence[ListFile],
        opened: Sequence[OpenList],
    ) -> None:
        self.campaign, self.router, self.country = campaign, router, country
        self.workspace, self.files, self.opened = workspace, files, opened
        self.started = datetime.now(UTC)
        self.file_rows = [0] * len(files)
        self.file_lines = [0] * len(files)
        rules = campaign.policy or ByOperator()
        self.decisions, self.ported_since = Decisions(router.routes, rules), ported_since(rules)
        self.outputs = Outputs(
            self.workspace,
            campaign.output,
            self.decisions,
            self.router.routes,
            Columns(
                kept=campaign.reading.keep,
                shown=tuple(dict.fromkeys(campaign.options.keep)),
                has_windows=campaign.policy is not None and campaign.policy.has_windows,
                country_code=country.country_code,
            ),
            templates={} if campaign.policy is None else campaign.policy.templates,
            pseudonymizer=None
            if campaign.hand_over is None
            else Pseudonymizer(campaign.hand_over.key),
        )
        suppressed = read_suppressed(
            campaign.suppress, campaign.suppress_reading, is_lenient=campaign.suppress_lenient
        )
        self.sorter = Sorter(self.decisions, NumberSet(), suppressed)

    def work(self, progress: Progress | None) -> None:
        total = sum(file.size for file in self.files)
        if any(file.path is None for file in self.files):
            total = 0
        threads = min(THREADS_MAX, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, thread_name_prefix="campaign") as pool:
            preparing = (
                partial(self._prepare, file, task)
                for file, opened in enumerate(self.opened)
                for task in opened.tasks()
            )
            sorting = (
                self._sort(file, prepared, total, progress)
                for file, prepared in in_order(pool, preparing, threads + 1)
            )
            for rendered in in_order(pool, sorting, threads):
                self.outputs.write(rendered)

    def _prepare(self, file: int, task: Callable[[], Block]) -> tuple[int, Prepared]:
        """Prepare a block; on any thread."""
        several, since = self.campaign.several, self.ported_since
        return file, prepare(task(), self.router, self.country, several, since)

    def _sort(
        self, file: int, prepared: Prepared, bytes_total: int, progress: Progress | None
    ) -> Callable[[], Rendered]:
        """Sort the next block; return the call that renders it, on any thread."""
        block = prepared.block
        leaving, staying = self.sorter.sort(prepared)
        self.file_rows[file] += block.records
        self.file_lines[file] += block.lines
        if progress is not None:
            done = sum(each.size for each in self.files[:file])
            done += self.opened[file].reader.bytes_done
            progress(rows=self.sorter.counts.rows, bytes_done=done, bytes_total=bytes_total)
        cells = self.outputs.route_cells()
        return partial(self.outputs.render, leaving, staying, block, cells)

    def check(self) -> None:
        """Check that every row that was read is in an output, once.

        Raises:
            InputError: There are no rows, or some are not accounted for.
        """
        for opened, lines in zip(self.opened, self.file_lines, strict=True):
            opened.check_lines(lines)
        counts = self.sorter.counts
        names = ", ".join(file.name for file in self.files[:FILES_NAMED_MAX])
        if counts.rows == counts.nobody:
            raise InputError(names, "the list has no rows", hint="Export the list again")
        rows = sum(self.file_rows)
        written = self.outputs.rows - counts.further_taken
        if rows != written:
            raise InputError(
                names,
                f"{rows:,} rows were read, but {written:,} were written or rejected",
                hint="This is a fault of numroute: report it. Nothing was written",
            )

    def end(self) -> Summary:
        self.outputs.finish()
        self.check()
        campaign = self.campaign
        policy = campaign.policy
        warnings: tuple[str, ...] = tuple(
            Phrase("{}: {}", each.file.name, warning)
            for each in self.opened
            for warning in each.warnings
        )
        text = "the column {} is written as {}, as its name is an output's"
        warnings += tuple(
            Phrase(text, repr(name), repr(written))
            for name, written in self.outputs.renamed.items()
        )
        counts = self.sorter.counts
        warnings += several_warnings(counts, campaign.several)
        if counts.odd_segments:
            rows = _counted("1 row has", "{} rows have", counts.odd_segments)
            text = "{} no whole number from 1 to {} as segments: taken as 1"
            warnings += (Phrase(text, rows, str(SEGMENTS_MAX)),)
        rejected, people = counts.rejected, counts.rows - counts.nobody
        has_failed = rejected > campaign.rejects_max * people
        if has_failed:
            warnings += (
                Phrase(
                    "{} of {} rows ({}) have no number: more than --max-rejected {}",
                    f"{rejected:,}",
                    f"{people:,}",
                    f"{rejected / people:.0%}",
                    f"{campaign.rejects_max:g}",
                ),
            )
        if policy is not None:
            warnings += rules_that_never_match(
                policy, self.router.routes if self.router.is_complete else None
            )
        begins = accumulate(self.file_rows, initial=0)
        summary = summarize(
            Facts(
                files=tuple(
                    opened.summary(rows=rows, first_row_id=begin + 1)
                    for opened, rows, begin in zip(
                        self.opened, self.file_rows, begins, strict=False
                    )
                ),
                router=self.router,
                decisions=self.decisions,
                counts=counts,
                has_failed=has_failed,
                files_of=self.outputs.files_of,
                rejects_files=tuple(self.outputs.rejects.names),
                region=self.country.region or "",
                kept=campaign.reading.keep,
                dropped=tuple(
                    dict.fromkeys(name for each in self.opened for name in each.dropped_columns())
                ),
                policy=policy,
                prices=campaign.prices,
                has_segments=campaign.reading.segments_column is not None,
                pseudonymized=campaign.hand_over is not None,
                warnings=warnings,
            )
        )
        from numroute_campaign.report import write_report  # noqa: PLC0415 - slow to import

        write_report(self.workspace.output, summary, campaign.language)
        if campaign.hand_over is not None:
            self._write_act(campaign.hand_over, summary)
            self.workspace.hand_over(self.outputs.map_name(), campaign.hand_over.map)
        self.workspace.finish()
        return summary

    def _write_act(self, hand_over: HandOver, summary: Summary) -> None:
        campaign = self.campaign
        lists = (("list", self.files), ("do-not-send list", find_files(campaign.suppress)))
        write_act(
            self.workspace.output,
            summary,
            started=self.started,
            inputs=[
                *((role, file.name, file.path) for role, files in lists for file in files),
                *((role, path.name, path) for role, path in campaign.settings_files),
            ],
            columns=self.outputs.column_names(),
            key=hand_over.key,
            map_path=hand_over.map,
            language=campaign.language,
        )


def several_warnings(counts: Counts, several: Several) -> tuple[str, ...]:
    """Return what to say of cells that hold several numbers."""
    if not counts.several:
        return ()
    what = {
        Several.FIRST: "{} several numbers: {} besides were not taken; --several all does",
        Several.ALL: "{} several numbers: {} besides were taken as further rows",
        Several.REJECT: "{} several numbers: their rows were rejected",
    }[several]
    cells = _counted("1 cell holds", "{} cells hold", counts.several)
    return (Phrase(what, cells, f"{counts.further:,}"),)


def _counted(one: str, many: str, count: int) -> Phrase:
    return Phrase(one) if count == 1 else Phrase(many, f"{count:,}")


def _check_hand_over(hand_over: HandOver, out: Path) -> None:
    """Raise when the key or the map of pseudonyms cannot lie at their paths, or must not."""
    path = hand_over.map
    if path.exists():
        raise InputError(path, "it is there already", hint="Give another --map, or move it away")
    check_places(out, path, hand_over.key_file)
    if not path.parent.is_dir():
        raise InputError(path, "its folder is not there", hint="Make it, or give another --map")
