"""A process that routes one list, or previews it: ``python -m numroute_web.worker``.

Standard input brings the task as one line of JSON and then stays open: its end means that the
service is gone, and the process ends too. Standard output takes one JSON object a line.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec

from numroute.errors import NumrouteError
from numroute.index import SnapshotStore
from numroute.server.memory import forbid_core_dumps
from numroute_campaign.lists.files import ReadOptions
from numroute_campaign.outputs import OutputError
from numroute_campaign.policy import BY_OPERATOR, read_policy
from numroute_campaign.prices import read_prices
from numroute_campaign.routers import SnapshotRouter
from numroute_campaign.run import Campaign, Sample, dry_run, run_campaign
from numroute_campaign.summary import page_environment
from numroute_web.options import ListOptions, chosen_path
from numroute_web.problems import Problem, ProblemError, problem_of

PROGRESS_SECONDS: Final = 0.5
"""The least time between two reports."""

MEMORY_MAX: Final = 4 << 30
"""The most private memory of a process: a list that needs more is a bomb, or must be split."""

NICENESS: Final = 5
"""Lists wait for lookups."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: with which list, from which store."""

    folder: str
    name: str
    store: str
    choices: str | None
    options: ListOptions
    is_preview: bool = False


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the process: progress, then one of the others."""

    rows: int = 0
    share: float = 0.0
    summary: dict[str, Any] | None = None
    preview: Sample | None = None
    problem: Problem | None = None
    fault: dict[str, Any] | None = None


def campaign_of(task: Task) -> Campaign:
    """Return a task as a campaign. Raises NumrouteError."""
    options = task.options
    choices = None if task.choices is None else Path(task.choices)
    price_list = None
    if options.prices is not None:
        price_list = read_prices(
            chosen_path(choices, "prices", options.prices),
            category=options.category,
            segments=options.segments,
        )
    return Campaign(
        lists=(str(Path(task.folder) / "input" / task.name),),
        out=Path(task.folder) / "out",
        options=ReadOptions(
            region=options.region,
            column=options.column,
            keep=tuple(options.keep),
            segments_column=options.segments_column,
            delimiter=options.delimiter,
            encoding=options.encoding,
            has_header=options.header,
            sheet=options.sheet,
            option="option ",
        ),
        form=options.format,
        rows_per_file=options.rows_per_file,
        policy=BY_OPERATOR
        if options.policy is None
        else read_policy(chosen_path(choices, "policy", options.policy)),
        prices=price_list,
        several=options.several,
        suppress=tuple(str(chosen_path(choices, "suppress", name)) for name in options.suppress),
        suppress_reading=ReadOptions(
            region=options.region,
            column=options.suppress_column,
            has_header=options.suppress_header,
        ),
        suppress_lenient=options.suppress_lenient,
        rejects_max=options.max_rejected,
        language=options.language,
    )


def main() -> None:
    """Do the task that standard input brings."""
    forbid_core_dumps()
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX, MEMORY_MAX))
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    threading.Thread(target=_end_with_service, daemon=True).start()
    # What anything else prints must not come between our lines.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    output.write(msgspec.json.encode(_do(task, output.write)) + b"\n")


def too_large() -> Problem:
    """Return the problem of a list that took more than a job may."""
    return problem_of(
        ProblemError(
            "list-too-large",
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "the list takes more memory or time than a job may",
            hint="Split it, or send it as CSV",
        )
    )


def _do(task: Task, write: Any) -> Message:  # noqa: ANN401 - a file's method
    try:
        campaign = campaign_of(task)
        with SnapshotStore(Path(task.store)).open() as snapshot:
            router = SnapshotRouter(snapshot)
            if task.is_preview:
                sample = dry_run(campaign, router)
                said = _said(sample.warnings, campaign.language)
                return Message(preview=replace(sample, warnings=said))
            summary = run_campaign(campaign, router, _Progress(write))
            said = _said(summary.warnings, campaign.language)
            return Message(summary=asdict(replace(summary, warnings=said)))
    except MemoryError:
        return Message(problem=too_large())
    except OutputError as error:
        return _failed(error.__cause__ or error)  # its text has paths of the service
    except NumrouteError as error:
        problem = problem_of(error)
        places = [f"{task.folder}/input/", f"{task.folder}/"]
        places += [] if task.choices is None else [f"{task.choices}/"]
        detail, hint = problem.detail, problem.hint
        for place in places:
            # Clients must not learn where the service keeps its files.
            detail, hint = detail.replace(place, ""), hint.replace(place, "")
        return Message(problem=msgspec.structs.replace(problem, detail=detail, hint=hint))
    except Exception as fault:  # noqa: BLE001 - the service logs its places
        return _failed(fault)


def _failed(fault: BaseException) -> Message:
    from numroute.logs import fault_fields  # noqa: PLC0415 - rare

    return Message(problem=problem_of(fault), fault=dict(fault_fields(fault)))


def _said(warnings: Sequence[str], language: str) -> tuple[str, ...]:
    """Return warnings in the language of the report."""
    say: Any = page_environment(language).globals["t"]
    return tuple(say(each) for each in warnings)


class _Progress:
    def __init__(self, write: Any) -> None:  # noqa: ANN401 - as above
        self._write = write
        self._next = 0.0

    def __call__(self, rows: int, bytes_done: int, bytes_total: int) -> None:
        """Report, but not each block."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PROGRESS_SECONDS
        share = min(1.0, bytes_done / bytes_total) if bytes_total else 0.0
        self._write(msgspec.json.encode(Message(rows=rows, share=share)) + b"\n")


def _end_with_service() -> None:
    """End this process when the service is gone."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
