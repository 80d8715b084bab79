"""A whole campaign run: list in, output folder out.

Blocks are prepared by a few threads side by side and come back in the list's order to the thread
that knows what was seen before and writes. Every few million rows the run makes a part final: a
state from which a later run goes on, giving the same bytes as one that was never interrupted.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from numroute.campaign.decisions import Decisions
from numroute.campaign.home import Home
from numroute.campaign.lists.opening import Found, OpenList, Wanted
from numroute.campaign.lists.sources import find_files
from numroute.campaign.number_set import NumberSet
from numroute.campaign.outputs import Outputs, OutputSettings
from numroute.campaign.policy_default import ByOperator
from numroute.campaign.preparing import Prepared, prepare
from numroute.campaign.sorting import Counts, Sorter
from numroute.campaign.summarizing import Facts, ReadFile, summarize
from numroute.campaign.text_files import append_bytes, cut_back
from numroute.campaign.workspace import Workspace
from numroute.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numroute.campaign.decisions import Rules
    from numroute.campaign.lists.block import Block
    from numroute.campaign.lists.sources import ListFile
    from numroute.campaign.routers import Router
    from numroute.campaign.summary import Summary

PART_ROWS: Final = 2_000_000
"""After so many rows the work so far is made final; a resumed run repeats at most these."""

THREADS_MAX: Final = 8
_JOURNAL: Final = "numbers"


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
        rules: The policy; None makes an output route per operator.
        output: Form and size of the output files.
        resume: Go on where an interrupted run of the same campaign made its last part final.
    """

    lists: tuple[str, ...]
    out: Path
    wanted: Wanted
    rules: Rules | None = None
    output: OutputSettings
    resume: bool = False


def run_campaign(campaign: Campaign, router: Router, progress: Progress | None = None) -> Summary:
    """Route the lists and return what was done.

    Raises:
        InputError: A list cannot be read, or the output cannot be written.
        SettingError: The settings contradict each other, or there is nothing to resume.
        ServiceError: The service did not answer.
    """
    files = find_files(campaign.lists)
    home = Home(campaign.wanted.region)
    workspace = Workspace(campaign.out)
    # Everything that can be wrong with the lists is found before anything is made.
    opened = [OpenList(file, campaign.wanted) for file in files]
    try:
        with workspace:
            run = _Run(campaign, router, home, workspace, files, opened)
            run.begin()
            run.work(progress)
            return run.end()
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
        self.resumable = all(file.path is not None for file in files)
        if campaign.resume and not self.resumable:
            raise SettingError(
                "a list from standard input cannot be resumed", hint="Give it as a file"
            )
        self.file_rows = [0] * len(files)
        self.file = self.position = 0
        self.saved_rows = self.journal_bytes = 0

    def begin(self) -> None:
        state = self.workspace.open(resume=self.campaign.resume)
        self.decisions = Decisions(self.router.routes, self.campaign.rules or ByOperator())
        self.outputs = Outputs(
            self.workspace,
            self.campaign.output,
            self.decisions,
            self.router.routes,
            kept=self.campaign.wanted.keep,
            kept_types=self.opened[0].kept_types,
        )
        seen = NumberSet(self.workspace.spool)
        counts = None
        if state is not None:
            counts = self._restore(state, seen)
        self.sorter = Sorter(self.decisions, seen, None, counts)

    def _restore(self, state: dict[str, Any], seen: NumberSet) -> Counts:
        if state["fingerprint"] != self._fingerprint():
            raise SettingError(
                "the list, the options or the snapshot are not those of the interrupted run",
                hint="Run without --resume to begin anew",
            )
        self.file, self.position = state["file"], state["position"]
        self.file_rows = state["file_rows"]
        self.journal_bytes = state["journal_bytes"]
        self.decisions.restore(state["destinations"])
        journal = self.workspace.folder / _JOURNAL
        cut_back(journal, self.journal_bytes)
        for begin in range(0, self.journal_bytes // 8, PART_ROWS):
            seen.add(np.fromfile(journal, np.uint64, PART_ROWS, offset=8 * begin))
        self.outputs.restore(state["outputs"])
        counts = Counts.from_json(state["counts"])
        self.saved_rows = counts.rows
        return counts

    def work(self, progress: Progress | None) -> None:
        total = sum(file.size for file in self.files)
        if not self.resumable:
            total = 0
        for file, block, prepared in self._prepared():
            leaving, staying = self.sorter.sort(prepared)
            self.outputs.write(leaving, staying, block)
            self.file_rows[file] += block.records
            self.file, self.position = file, block.position
            if self.resumable:
                self._make_final()
            if progress is not None:
                done = sum(each.size for each in self.files[:file]) + self.opened[file].bytes_done
                progress(rows=self.sorter.counts.rows, bytes_done=done, bytes_total=total)

    def end(self) -> Summary:
        self.outputs.finish()
        summary = summarize(
            Facts(
                files=tuple(
                    ReadFile(name=each.file.name, found=each.found, rows=rows)
                    for each, rows in zip(self.opened, self.file_rows, strict=True)
                ),
                router=self.router,
                decisions=self.decisions,
                counts=self.sorter.counts,
                outputs=self.outputs,
                region=self.home.region or "",
                kept=self.campaign.wanted.keep,
            )
        )
        self.outputs.write_summary(summary)
        self.workspace.finish()
        return summary

    def _make_final(self) -> None:
        fresh = self.sorter.fresh
        append_bytes(self.workspace.folder / _JOURNAL, fresh.tobytes())
        self.journal_bytes += fresh.nbytes
        rows = self.sorter.counts.rows
        if rows - self.saved_rows < PART_ROWS:
            return
        self.saved_rows = rows
        self.workspace.save(
            {
                "fingerprint": self._fingerprint(),
                "file": self.file,
                "position": self.position,
                "file_rows": self.file_rows,
                "journal_bytes": self.journal_bytes,
                "destinations": self.decisions.destinations,
                "outputs": self.outputs.state(),
                "counts": self.sorter.counts.as_json(),
            }
        )

    def _fingerprint(self) -> dict[str, Any]:
        """What must be the same for a run to go on; as JSON gives it back."""
        return {
            "lists": [[str(file.path), file.size, file.modified_ns] for file in self.files],
            "wanted": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in asdict(self.campaign.wanted).items()
            },
            "output": asdict(self.campaign.output),
            "snapshots": list(self.router.snapshots),
        }

    def _prepared(self) -> Iterator[tuple[int, Block, Prepared]]:
        """Yield the blocks in order, each prepared by one of a few threads."""

        def work(task: Callable[[], Block]) -> Prepared:
            return prepare(task(), self.router, self.home)

        threads = min(THREADS_MAX, os.cpu_count() or 1)
        waiting: deque[tuple[int, Future[Prepared]]] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="prepare") as pool:
            try:
                for file, task in self._tasks():
                    waiting.append((file, pool.submit(work, task)))
                    if len(waiting) > threads + 1:
                        yield self._next(waiting)
                while waiting:
                    yield self._next(waiting)
            finally:
                for _, future in waiting:
                    future.cancel()

    @staticmethod
    def _next(waiting: deque[tuple[int, Future[Prepared]]]) -> tuple[int, Block, Prepared]:
        file, future = waiting.popleft()
        prepared = future.result()
        return file, prepared.block, prepared

    def _tasks(self) -> Iterator[tuple[int, Callable[[], Block]]]:
        first, position = self.file, self.position
        for file in range(first, len(self.files)):
            for task in self.opened[file].tasks(position if file == first else 0):
                yield file, task


__all__ = ["Campaign", "Found", "OutputSettings", "Wanted", "run_campaign"]
