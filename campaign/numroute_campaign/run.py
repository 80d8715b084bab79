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
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from numroute.errors import InputError, SettingError
from numroute.model import Status, mask_number
from numroute.threads import in_order
from numroute_campaign.handover import check_places, load_key, write_act
from numroute_campaign.lists import Block, ListReader
from numroute_campaign.lists.files import STDIN, ReadOptions, find_files
from numroute_campaign.lists.opening import check_kept, check_pseudonymous, open_list
from numroute_campaign.outputs import MAP, OutputError, Outputs, Rendered, Workspace
from numroute_campaign.policy import BY_OPERATOR, Policy, rules_that_never_match
from numroute_campaign.preparing import Prepared, prepare, read_suppressed
from numroute_campaign.prices import PriceList
from numroute_campaign.routers import DefaultCountry, Router, SnapshotRouter
from numroute_campaign.sorting import BY_POLICY, REJECTED, Decisions, Sorter
from numroute_campaign.summary import Summary, report_html, summarise, write_pages
from numroute_campaign.vocabulary import (
    FORMS,
    LANGUAGES,
    REJECTS_MAX,
    SEGMENTS_MAX,
    SEVERAL,
    Phrase,
    Reject,
)

THREADS_MAX: Final = 8
SAMPLE_ROWS: Final = 20

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
    """The lists of a run and what to do with them; see the options of ``numroute route``.

    Attributes:
        lists: Files, folders, ``-`` for standard input.
        rejects_max: The share of rejected rows above which the run has failed.
        settings_files: The policy and the price file, each with its role, for the act.
    """

    lists: tuple[str, ...]
    out: Path
    options: ReadOptions
    form: str = "csv"
    rows_per_file: int | None = None
    policy: Policy = BY_OPERATOR
    prices: PriceList | None = None
    several: str = "first"
    suppress: tuple[str, ...] = ()
    suppress_reading: ReadOptions = field(default_factory=ReadOptions)
    suppress_lenient: bool = False
    rejects_max: float = REJECTS_MAX
    hand_over: HandOver | None = None
    language: str = "en"
    settings_files: tuple[tuple[str, Path], ...] = ()

    def __post_init__(self) -> None:
        """Raise SettingError for an unknown word, or a do-not-send list from standard input."""
        words = (("several", SEVERAL), ("form", FORMS), ("language", LANGUAGES))
        for name, known in words:
            if getattr(self, name) not in known:
                raise SettingError(f"{name}: unknown word", hint=f"Give one of {', '.join(known)}")
        if STDIN in self.suppress:
            raise SettingError(
                "a do-not-send list cannot come from standard input", hint="Give it as a file"
            )

    @property
    def reading(self) -> ReadOptions:
        """How to read the lists, with the columns that the policy's templates write."""
        names = (*self.options.keep, *self.policy.list_columns)
        return replace(self.options, keep=tuple(dict.fromkeys(names)))


def run_campaign(campaign: Campaign, router: Router, progress: Progress | None = None) -> Summary:
    """Route the lists and return what was done. Raises NumrouteError."""
    files = find_files(campaign.lists)
    if campaign.hand_over is not None:
        check_places(campaign.out, campaign.hand_over.map, campaign.hand_over.key_file)
    try:
        with ExitStack() as stack:
            # Everything that can be wrong with the lists is found before anything is made.
            opened = [
                stack.enter_context(closing(open_list(file, campaign.reading))) for file in files
            ]
            check_kept(opened, campaign.reading.keep, campaign.form)
            if campaign.hand_over is not None:
                check_pseudonymous(opened)
            run = _Run(campaign, router, opened)
            return run.run(stack.enter_context(Workspace(campaign.out)), progress)
    except OSError as error:
        raise OutputError(
            campaign.out,
            f"the output cannot be written: {error.strerror or error}",
            hint="Make room, then run again" if error.errno in _DISK_FULL else "",
        ) from error
    except pa.ArrowException as error:
        # Its own message may quote cells, and cells hold people's numbers.
        raise InputError(
            files[0].name if len(files) == 1 else "the lists",
            f"a value cannot be handled (pyarrow: {type(error).__name__})",
            hint="Leave kept columns out one by one to find it, or give the list as CSV",
        ) from None


class _Run:
    def __init__(self, campaign: Campaign, router: Router, opened: Sequence[ListReader]) -> None:
        self.campaign, self.router, self.opened = campaign, router, opened
        self.country = DefaultCountry(campaign.options.region)
        self.decisions = Decisions(router.routes, campaign.policy)
        self.ported_since = campaign.policy.ported_since()
        suppressed = read_suppressed(
            campaign.suppress, campaign.suppress_reading, is_lenient=campaign.suppress_lenient
        )
        segments = 1 if campaign.prices is None else campaign.prices.segments
        self.sorter = Sorter(self.decisions, suppressed, segments)
        self.rows = [0] * len(opened)
        self.lines = [0] * len(opened)

    def run(self, workspace: Workspace, progress: Progress | None) -> Summary:
        """Write the output folder."""
        started, campaign, hand_over = datetime.now(UTC), self.campaign, self.campaign.hand_over
        key = b"" if hand_over is None else load_key(hand_over.key_file)
        outputs = Outputs(
            workspace,
            campaign.form,
            campaign.rows_per_file,
            self.decisions,
            campaign.options.keep,
            self.country,
            key,
        )
        threads = min(THREADS_MAX, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, thread_name_prefix="campaign") as pool:
            preparing = (
                partial(self.prepare, task, file)
                for file, opened in enumerate(self.opened)
                for task in opened.tasks()
            )
            sorting = (
                self._sort(file, prepared, outputs, progress)
                for prepared, file in in_order(pool, preparing, threads + 1)
            )
            for rendered in in_order(pool, sorting, threads):
                outputs.write(rendered)
        outputs.finish()
        self._check(outputs)
        summary = self._summary(outputs)
        page = report_html(summary, campaign.language)
        write_pages(workspace.output, asdict(summary), page, names=("summary.json", "report.html"))
        if hand_over is not None:
            inputs = [("list", each.file.path) for each in self.opened]
            inputs += [("do-not-send list", each.path) for each in find_files(campaign.suppress)]
            write_act(
                workspace.output,
                summary,
                started=started,
                inputs=[*inputs, *campaign.settings_files],
                columns=outputs.column_names(),
                key=key,
                map_path=hand_over.map,
                language=campaign.language,
            )
            workspace.hand_over(f"{MAP}.csv", hand_over.map)
        workspace.finish()
        return summary

    def prepare(self, task: Callable[[], Block], file: int = 0) -> tuple[Prepared, int]:
        """Prepare a block of a file; on any thread."""
        several, since = self.campaign.several, self.ported_since
        return prepare(task(), self.router, self.country, several, since), file

    def _sort(
        self, file: int, prepared: Prepared, outputs: Outputs, progress: Progress | None
    ) -> Callable[[], Rendered]:
        """Sort the next block; return the call that renders it, on any thread."""
        rows = self.sorter.sort(prepared)
        self.rows[file] += prepared.block.records
        self.lines[file] += prepared.block.lines
        if progress is not None:
            files = [each.file for each in self.opened]
            done = sum(each.size for each in files[:file]) + self.opened[file].bytes_done
            is_known = all(each.path is not None for each in files)
            total = sum(each.size for each in files) if is_known else 0
            progress(self.sorter.counts.rows, done, total)
        outputs.take_decisions()
        return partial(outputs.render, rows)

    def _check(self, outputs: Outputs) -> None:
        """Raise InputError unless every row that was read is in an output, once."""
        for opened, lines in zip(self.opened, self.lines, strict=True):
            opened.check_lines(lines)
        counts = self.sorter.counts
        names = self.opened[0].file.name if len(self.opened) == 1 else "the lists"
        if not counts.people:
            raise InputError(names, "the list has no rows", hint="Export the list again")
        rows, written = sum(self.rows), outputs.rows - counts.further_taken
        if rows != written:
            raise InputError(
                names,
                f"{rows:,} rows were read, but {written:,} were written or rejected",
                hint="This is a bug in numroute: report it. Nothing was written",
            )

    def _summary(self, outputs: Outputs) -> Summary:
        campaign, counts = self.campaign, self.sorter.counts
        dropped = (name for each in self.opened for name in each.dropped_columns())
        first_ids = accumulate(self.rows, initial=1)
        return summarise(
            self.router,
            self.decisions,
            counts,
            campaign.prices,
            outputs.files_of,
            files=tuple(
                opened.summary(rows=rows, first_row_id=first_id)
                for opened, rows, first_id in zip(self.opened, self.rows, first_ids, strict=False)
            ),
            snapshots=tuple(self.router.snapshots),
            region=self.country.region or "",
            policy=campaign.policy.name,
            pseudonymized=campaign.hand_over is not None,
            has_failed=counts.rejected > campaign.rejects_max * counts.people,
            rejects_files=outputs.files_of(REJECTED),
            kept_columns=campaign.reading.keep,
            dropped_columns=tuple(dict.fromkeys(dropped)),
            warnings=tuple(self.warnings()),
        )

    def warnings(self) -> list[str]:
        """Return what the user should know."""
        campaign, counts = self.campaign, self.sorter.counts
        warnings: list[str] = [
            Phrase("{}: {}", each.file.name, warning)
            for each in self.opened
            for warning in each.warnings
        ]
        if counts.several:
            text = SEVERAL[campaign.several]
            warnings.append(Phrase(text, f"{counts.several:,}", f"{counts.further:,}"))
        if counts.odd_segments:
            text = "rows without a whole number of segments from 1 to {}, taken as 1: {}"
            warnings.append(Phrase(text, str(SEGMENTS_MAX), f"{counts.odd_segments:,}"))
        if counts.rejected > campaign.rejects_max * counts.people:
            warnings.append(
                Phrase(
                    "{} of {} rows ({}) have no number: more than --max-rejected {}",
                    f"{counts.rejected:,}",
                    f"{counts.people:,}",
                    f"{counts.rejected / counts.people:.0%}",
                    f"{campaign.rejects_max:g}",
                )
            )
        text = "{}: rule {} can never match: earlier rules take its numbers, or there are none"
        routes = self.router.routes if isinstance(self.router, SnapshotRouter) else None
        never = rules_that_never_match(campaign.policy, routes)
        warnings += [Phrase(text, campaign.policy.name, repr(name)) for name in never]
        return warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """How one row would be routed: masked number, rule that decided, where to or why not."""

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
    """The first rows of a list, and warnings."""

    phone_column: str
    phone_column_why: str
    rows: tuple[SampleRow, ...]
    warnings: tuple[str, ...]


def dry_run(campaign: Campaign, router: Router, rows: int = SAMPLE_ROWS) -> Sample:
    """Return how the first rows of the first file would be routed; errors as ``run_campaign``."""
    with closing(open_list(find_files(campaign.lists)[0], campaign.reading)) as opened:
        if campaign.hand_over is not None:
            check_pseudonymous([opened])
        run = _Run(campaign, router, [opened])
        found: list[SampleRow] = []
        for task in opened.tasks():
            prepared, _ = run.prepare(task)
            found += _explained(run, prepared, rows - len(found))
            if len(found) >= rows:
                break
    return Sample(
        phone_column=opened.summary().phone_column,
        phone_column_why=opened.why,
        rows=tuple(found),
        warnings=tuple(run.warnings()),
    )


def _explained(run: _Run, prepared: Prepared, rows_max: int) -> list[SampleRow]:
    """Return the block's first rows, one by one in Python: a sample has a few thousand at most."""
    first_id = run.sorter.counts.rows + 1
    done = run.sorter.sort(prepared)
    rejected = slice(np.searchsorted(done.rejected, first_id + rows_max))
    kinds = dict(zip(done.rejected[rejected].tolist(), done.kind[rejected].tolist(), strict=True))
    valid = slice(np.searchsorted(prepared.record, rows_max))
    rows = {
        row_id: SampleRow(row_id=row_id, status=Status.INVALID.name, reason=Reject(kind).name)
        for row_id, kind in kinds.items()
        if kind < BY_POLICY
    }
    columns = (prepared.record, prepared.numbers, prepared.code)
    for record, number, code in zip(*(each[valid].tolist() for each in columns), strict=True):
        row_id = record + first_id
        texts = run.decisions.texts[code]
        kind = kinds.get(row_id, BY_POLICY)
        is_decided = kind >= BY_POLICY
        rows[row_id] = SampleRow(
            row_id=row_id,
            number=mask_number(number),
            status=texts["status"],
            operator=texts["operator"],
            region=texts["region"],
            rule=texts["rule"] if is_decided else "",
            destination=texts["route"] if is_decided else "",
            reason=texts["reject"] if is_decided else Reject(kind).name,
            send_from=texts["send_from_utc"],
            send_until=texts["send_until_utc"],
        )
    return [rows[row_id] for row_id in sorted(rows)]
