"""``numroute route`` at work: from its options to a campaign, and the summary on the screen."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from numroute.cli.console import print_json, print_table
from numroute.cli.progress import Bars
from numroute.cli.service import connect
from numroute.index import SnapshotStore
from numroute_campaign.lists import ReadOptions
from numroute_campaign.policy import BY_OPERATOR, read_policy
from numroute_campaign.prices import read_prices
from numroute_campaign.routers import Router, ServiceRouter, SnapshotRouter
from numroute_campaign.run import Campaign, HandOver, Sample, run_campaign
from numroute_campaign.run import dry_run as explain_first_rows
from numroute_campaign.summary import Summary
from numroute_campaign.vocabulary import Several

_FILES_SHOWN: Final = 3


def route_lists(
    lists: tuple[str, ...],
    out: Path | None,
    source: Path | str,
    *,
    dry_run: bool,
    sample: int,
    as_json: bool,
    options: dict[str, Any],
) -> int:
    """Route the lists and print the summary, or explain the first rows; return the exit status."""
    if out is None:
        if not dry_run:
            raise click.UsageError("there is no output folder: give --out DIR, or --dry-run")
        out = Path("out")
    with _router(source) as router:
        campaign = _campaign(lists, out, options)
        if dry_run:
            _print_sample(explain_first_rows(campaign, router, sample), as_json=as_json)
            return 0
        begin = time.monotonic()
        with Bars() as bars:
            summary = run_campaign(
                campaign,
                router,
                lambda _, bytes_done, bytes_total: bars.update("routing", bytes_done, bytes_total),
            )
    if as_json:
        print_json(summary)
    else:
        _print(summary, out, time.monotonic() - begin)
    if not summary.steps.routed:
        click.echo("numroute: no number was routed", err=True)
    return 1 if summary.has_failed or not summary.steps.routed else 0


def _campaign(lists: tuple[str, ...], out: Path, given: dict[str, Any]) -> Campaign:
    """Return the campaign that the options describe, by their names in ``numroute route``."""
    policy, prices, category = given["policy"], given["prices"], given["category"]
    segments, segments_column = given["segments"], given["segments_column"]
    key_file, map_path = given["pseudonymize"], given["map_path"]
    if category is not None and prices is None:
        raise click.UsageError("--category is for costs: give --prices FILE as well")
    if segments is not None and (prices is None or segments_column is not None):
        raise click.UsageError(
            "--segments is for costs, and for all messages alike: give it with --prices and "
            "without --segments-column"
        )
    if map_path is not None and key_file is None:
        raise click.UsageError("--map is for pseudonyms: give --pseudonymize KEYFILE as well")
    if key_file is not None and map_path is None:
        raise click.UsageError(
            "--pseudonymize needs a place for the map of pseudonyms: give --map FILE, in a "
            "folder apart from the output and the key"
        )
    region = given["region"]
    return Campaign(
        lists=lists,
        out=out,
        options=dataclasses.replace(
            _reading("", region, given), keep=given["keep"], segments_column=segments_column
        ),
        form=given["form"],
        rows_per_file=given["rows_per_file"],
        policy=read_policy(policy) if policy else BY_OPERATOR,
        prices=read_prices(prices, category=category, segments=segments) if prices else None,
        several=Several(given["several"]),
        rejects_max=given["max_rejected"],
        suppress=given["suppress"],
        suppress_reading=_reading("suppress-", region, given),
        suppress_lenient=given["suppress_lenient"],
        hand_over=HandOver(key_file=key_file, map=map_path) if key_file else None,
        language=given["language"],
        settings_files=tuple(
            (role, path)
            for role, path in (("policy file", policy), ("price file", prices))
            if path is not None
        ),
    )


def _reading(prefix: str, region: str | None, given: dict[str, Any]) -> ReadOptions:
    """Return how lists are read, by the options that ``_read_options`` added."""
    names = prefix.replace("-", "_")
    return ReadOptions(
        region=region or None,
        column=given[f"{names}column"],
        delimiter=given[f"{names}delimiter"],
        encoding=given[f"{names}encoding"],
        has_header=given[f"{names}header"],
        sheet=given[f"{names}sheet"],
        option=f"--{prefix}",
    )


@contextlib.contextmanager
def _router(source: Path | str) -> Iterator[Router]:
    if isinstance(source, str):
        with connect(source) as client:
            yield ServiceRouter(client)
    else:
        with SnapshotStore(source).open() as snapshot:
            yield SnapshotRouter(snapshot)


def _print(summary: Summary, out: Path, seconds: float) -> None:
    steps = summary.steps
    print_table(
        ("step", "rows"),
        [
            ("read", f"{steps.rows:,}"),
            ("no number", f"{-steps.rejected:,}"),
            *([("further numbers", f"+{steps.further:,}")] if steps.further else []),
            ("duplicates", f"{-steps.duplicates:,}"),
            ("do not send", f"{-steps.suppressed:,}"),
            ("refused by the policy", f"{-steps.refused:,}"),
            ("routed", f"{steps.routed:,}"),
        ],
    )
    print_table(
        ("route", "numbers", "cost", "files"),
        [
            (each.name, f"{each.numbers:,}", each.cost, _files(each.files))
            for each in summary.routes
        ],
    )
    if summary.rejects:
        print_table(
            ("not sent", "rows", "because"),
            [
                (
                    each.reason,
                    f"{each.rows:,}",
                    f"rule {each.rule!r}" if each.rule else each.meaning,
                )
                for each in summary.rejects
            ],
        )
    cost = summary.cost
    if cost is not None:
        without = (
            f", without {cost.unpriced_numbers:,} numbers that have no price"
            if cost.unpriced_numbers
            else ""
        )
        click.echo(f"Cost: {cost.total} {cost.currency}{without}")
        click.echo(
            f"Saved: {cost.saved_duplicates} {cost.currency} by dropping duplicates, "
            f"{cost.saved_by_prefix} {cost.currency} against routing by prefix"
        )
    share = summary.ported / max(steps.routed, 1)
    click.echo(
        f"Ported: {summary.ported:,} of the routed numbers ({share:.1%}); routing by prefix would "
        f"send {summary.misrouted_by_prefix:,} to the wrong operator"
    )
    columns = ", ".join(summary.dropped_columns) or "none"
    kept = ", ".join(summary.kept_columns) or "none"
    click.echo(f"Columns that stayed here: {columns}; kept: {kept}")
    for file in summary.files:
        sheet = f", sheet {file.sheet!r}" if file.sheet else ""
        click.echo(
            f"{file.name}{sheet}: numbers from {file.phone_column!r}, {file.phone_column_why}"
        )
    for warning in summary.warnings:
        click.echo(f"warning: {warning}", err=True)
    rate = steps.rows / max(seconds, 1e-9)
    click.echo(f"{out}: {seconds:.1f} s, {rate:,.0f} rows a second", err=True)


def _files(names: tuple[str, ...]) -> str:
    if len(names) <= _FILES_SHOWN:
        return ", ".join(names)
    return f"{names[0]} to {names[-1]} ({len(names):,} files)"


def _print_sample(sample: Sample, *, as_json: bool) -> None:
    if as_json:
        for row in sample.rows:
            print_json(row)
    else:
        print_table(
            ("row", "number", "status", "operator", "region", "rule", "to"),
            [
                (
                    str(row.row_id),
                    row.number,
                    row.status,
                    row.operator,
                    row.region,
                    row.rule,
                    row.destination or row.reason,
                )
                for row in sample.rows
            ],
        )
        click.echo(f"numbers from {sample.phone_column!r}, {sample.phone_column_why}")
    for warning in sample.warnings:
        click.echo(f"warning: {warning}", err=True)
