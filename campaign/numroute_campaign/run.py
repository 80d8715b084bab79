"""A whole campaign run: list in, output folder out; and a dry run, which explains the first rows.

Blocks go through a pipeline: any thread prepares them (numbers read, routes looked up), one thread
sorts them in the list's order (duplicates, policy, counts), any thread renders their rows, and the
one thread writes them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final

import pyarrow as pa

from numroute.errors import InputError
from numroute.model import Route, Status, mask_number
from numroute.threads import in_order
from numroute_campaign.handover import Pseudonymizer, check_places, load_key, write_act
from numroute_campaign.lists import Block, ReadOptions
from numroute_campaign.lists.files import find_files
from numroute_campaign.lists.opening import OpenList, check_kept, check_pseudonymous
from numroute_campaign.number_set import NumberSet
from numroute_campaign.output_files import OutputError, Workspace
from numroute_campaign.outputs import MAP, Outputs, Rendered
from numroute_campaign.policy import BY_OPERATOR, Policy, rules_that_never_match
from numroute_campaign.preparing import DefaultCountry, Prepared, prepare
from numroute_campaign.prices import PriceList
from numroute_campaign.routers import Router
from numroute_campaign.sorting import Counts, Decisions, Sorter
from numroute_campaign.summary import Summary, Totals, write_report
from numroute_campaign.suppression import check_suppress, read_suppressed
from numroute_campaign.vocabulary import REJECTS_MAX, SEGMENTS_MAX, Phrase, Reject, Several

THREADS_MAX: Final = 8
SAMPLE_ROWS: Final = 20
FILES_NAMED_MAX: Final = 3
"""How many files an error names when any of them may be the cause."""

READ_PLAINLY: Final = ReadOptions()

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


Progress = Callable[[int, int, int], None]
"""Receives how many rows and bytes are done, and the bytes in all; 0 if they are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Pseudonyms in place of numbers: where the key is, and where the map goes (a new file)."""

    key_file: Path
    map: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """The lists of a run and what to do with them.

    Attributes:
        lists: Files, folders, ``-`` for standard input.
        out: The output folder; must not exist or be empty.
        options: How to read the lists.
        form: Of the output files, one of ``FORMS``.
        rows_per_file: None makes one file per route.
        prices: None reports no costs.
        several: What to do with cells that hold several numbers.
        suppress: Do-not-send lists, named like ``lists``.
        suppress_reading: How to read those.
        suppress_lenient: Ignore rows of those that are not understood.
        rejects_max: The share of rejected rows above which the run has failed.
        hand_over: Writes pseudonyms; None writes the numbers themselves.
        language: Of the report page.
        settings_files: The policy and the price file, each with its role, for the act.
    """

    lists: tuple[str, ...]
    out: Path
    options: ReadOptions
    form: str = "csv"
    rows_per_file: int | None = None
    policy: Policy = BY_OPERATOR
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
        names = (*self.options.keep, *self.policy.list_columns)
        return replace(self.options, keep=tuple(dict.fromkeys(names)))


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
        check_places(campaign.out, campaign.hand_over.map, campaign.hand_over.key_file)
    # Everything that can be wrong with the lists is found before anything is made.
    opened: list[OpenList] = []
    try:
        opened.extend(OpenList(file, campaign.reading) for file in files)
        check_kept(opened, campaign.reading.keep, campaign.form)
        if campaign.hand_over is not None:
            check_pseudonymous(opened)
        with Workspace(campaign.out) as workspace:
            run = _Run(campaign, router, country, workspace, opened)
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
        opened: Sequence[OpenList],
    ) -> None:
        self.campaign, self.router, self.country = campaign, router, country
        self.workspace, self.opened = workspace, opened
        self.files = [each.file for each in opened]
        self.started = datetime.now(UTC)
        self.file_rows = [0] * len(opened)
        self.file_lines = [0] * len(opened)
        self.decisions = Decisions(router.routes, campaign.policy)
        self.ported_since = campaign.policy.ported_since()
        hand_over = campaign.hand_over
        self.key = b"" if hand_over is None else load_key(hand_over.key_file)
        self.outputs = Outputs(
            workspace,
            campaign.form,
            campaign.rows_per_file,
            self.decisions,
            campaign.options.keep,
            country.country_code,
            Pseudonymizer(self.key) if self.key else None,
        )
        self.sorter = Sorter(self.decisions, NumberSet(), _suppressed(campaign))

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
            progress(self.sorter.counts.rows, done, bytes_total)
        self.outputs.take_decisions()
        return partial(self.outputs.render, leaving, staying, block)

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
                hint="This is a bug in numroute: report it. Nothing was written",
            )

    def end(self) -> Summary:
        self.outputs.finish()
        self.check()
        campaign, counts = self.campaign, self.sorter.counts
        totals = Totals(
            self.router,
            self.decisions,
            counts,
            campaign.prices,
            has_segments=campaign.reading.segments_column is not None,
        )
        dropped = (name for each in self.opened for name in each.dropped_columns())
        summary = Summary(
            files=tuple(
                opened.summary(rows=rows, first_row_id=begin + 1)
                for opened, rows, begin in zip(
                    self.opened, self.file_rows, accumulate(self.file_rows, initial=0), strict=False
                )
            ),
            snapshots=tuple(self.router.snapshots),
            region=self.country.region or "",
            policy=campaign.policy.name,
            pseudonymized=campaign.hand_over is not None,
            has_failed=self._has_failed,
            steps=totals.steps(),
            rejects=totals.rejects(),
            rejects_files=tuple(self.outputs.rejects.names),
            routes=totals.routes(self.outputs.files_of),
            operators=totals.operators(),
            regions=totals.regions(),
            rules=totals.rules(),
            ported=totals.ported,
            misrouted_by_prefix=totals.misrouted_by_prefix,
            cost=totals.cost,
            kept_columns=campaign.reading.keep,
            dropped_columns=tuple(dict.fromkeys(dropped)),
            warnings=(*self._warnings(), *totals.warnings()),
        )
        write_report(self.workspace.output, summary, campaign.language)
        if campaign.hand_over is not None:
            self._write_act(campaign.hand_over, summary)
            self.workspace.hand_over(f"{MAP}.csv", campaign.hand_over.map)
        self.workspace.finish()
        return summary

    @property
    def _has_failed(self) -> bool:
        counts = self.sorter.counts
        return counts.rejected > self.campaign.rejects_max * (counts.rows - counts.nobody)

    def _warnings(self) -> list[str]:
        campaign, counts = self.campaign, self.sorter.counts
        warnings: list[str] = [
            Phrase("{}: {}", each.file.name, warning)
            for each in self.opened
            for warning in each.warnings
        ]
        text = "the column {} is written as {}, as its name is an output's"
        warnings += [
            Phrase(text, repr(name), repr(written))
            for name, written in self.outputs.renamed.items()
        ]
        warnings += _several_warnings(counts, campaign.several)
        if counts.odd_segments:
            rows = _counted("1 row has", "{} rows have", counts.odd_segments)
            text = "{} no whole number from 1 to {} as segments: taken as 1"
            warnings.append(Phrase(text, rows, str(SEGMENTS_MAX)))
        if self._has_failed:
            people = counts.rows - counts.nobody
            warnings.append(
                Phrase(
                    "{} of {} rows ({}) have no number: more than --max-rejected {}",
                    f"{counts.rejected:,}",
                    f"{people:,}",
                    f"{counts.rejected / people:.0%}",
                    f"{campaign.rejects_max:g}",
                )
            )
        return [*warnings, *_never_matching(campaign.policy, self.router)]

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
            key=self.key,
            map_path=hand_over.map,
            language=campaign.language,
        )


def _suppressed(campaign: Campaign) -> NumberSet | None:
    return read_suppressed(
        campaign.suppress, campaign.suppress_reading, is_lenient=campaign.suppress_lenient
    )


def _never_matching(policy: Policy, router: Router) -> tuple[str, ...]:
    return rules_that_never_match(policy, router.routes if router.is_complete else None)


def _several_warnings(counts: Counts, several: Several) -> tuple[str, ...]:
    """Return a warning about cells that hold several numbers."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """How one row would be routed.

    Attributes:
        number: Masked; empty if the row has none.
        rule: The rule or the fallback that decided; empty if no policy did.
        destination: The output route; empty if the row would be rejected.
        reason: Why it would be rejected.
    """

    row_id: int
    status: str
    reason: str
    number: str = ""
    operator: str = ""
    region: str = ""
    rule: str = ""
    destination: str = ""
    send_from: str = ""
    send_until: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The first rows of a list, and warnings about the policy."""

    phone_column: str
    phone_column_why: str
    rows: tuple[SampleRow, ...]
    warnings: tuple[str, ...]


def dry_run(campaign: Campaign, router: Router, rows: int = SAMPLE_ROWS) -> Sample:
    """Return how the first rows of the first file would be routed; errors as ``run_campaign``."""
    policy, country = campaign.policy, DefaultCountry(campaign.reading.region)
    check_suppress(campaign.suppress)
    opened = OpenList(find_files(campaign.lists)[0], campaign.reading)
    try:
        if campaign.hand_over is not None:
            check_pseudonymous([opened])
        decisions, since = Decisions(router.routes, policy), policy.ported_since()
        sorter = Sorter(decisions, NumberSet(), _suppressed(campaign))
        found: list[SampleRow] = []
        for task in opened.tasks():
            prepared = prepare(task(), router, country, campaign.several, since)
            found += _sample_rows(sorter, prepared, decisions, router.routes)
            if len(found) >= rows:
                break
    finally:
        opened.close()
    warnings = (Phrase("{}: {}", opened.file.name, warning) for warning in opened.warnings)
    return Sample(
        phone_column=opened.summary().phone_column,
        phone_column_why=opened.why,
        rows=tuple(found[:rows]),
        warnings=(*warnings, *_never_matching(policy, router)),
    )


def _sample_rows(
    sorter: Sorter, prepared: Prepared, decisions: Decisions, routes: Sequence[Route]
) -> list[SampleRow]:
    """Return the block's rows, one by one in Python: a sample has a few thousand at most."""
    first_id = sorter.counts.rows + 1
    _, staying = sorter.sort(prepared)
    reasons = {
        row_id: Reject(reason)
        for row_id, reason in zip(staying.row_id.tolist(), staying.reason.tolist(), strict=True)
    }
    rows = {
        row_id: SampleRow(row_id=row_id, status=Status.INVALID.name, reason=reason.name)
        for row_id, reason in reasons.items()
    }
    for record, number, code in zip(
        prepared.record.tolist(), prepared.numbers.tolist(), prepared.code.tolist(), strict=True
    ):
        row_id = record + first_id
        reason, decision = reasons.get(row_id, Reject.NONE), decisions.decided[code]
        route, is_decided = routes[code // 2], reason is Reject.NONE
        rejected = reason or decision.reject
        rows[row_id] = SampleRow(
            row_id=row_id,
            number=mask_number(number),
            status=route.status.name,
            operator=route.operator.brand or route.operator.name,
            region=route.region.name or route.region.code,
            rule=decision.rule if is_decided else "",
            destination=decision.destination if is_decided else "",
            reason=rejected.name if rejected else "",
            send_from=decision.send_from,
            send_until=decision.send_until,
        )
    return [rows[row_id] for row_id in sorted(rows)]
