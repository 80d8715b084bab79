"""``numroute route`` at work: from options to a campaign, and results on the screen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from numroute.cli.console import Bars, print_json, print_table
from numroute.cli.service import Connect
from numroute.index import SnapshotStore
from numroute_campaign.lists.files import ReadOptions
from numroute_campaign.policy import BY_OPERATOR, read_policy
from numroute_campaign.prices import read_prices
from numroute_campaign.routers import Router, ServiceRouter, SnapshotRouter
from numroute_campaign.run import Campaign, HandOver, Sample, run_campaign
from numroute_campaign.run import dry_run as explain_first_rows
from numroute_campaign.summary import Summary

_FILES_SHOWN: Final = 3


def route_lists(
    lists: tuple[str, ...],
    out: Path | None,
    source: Path | Connect,
    options: dict[str, Any],
) -> int:
    """Route the lists and print the summary, or explain the first rows; return the exit status.

    ``options`` are the other options of ``numroute route``, by name.
    """
    is_dry, as_json = options["dry_run"], options["as_json"]
    if out is None and not is_dry:
        raise click.UsageError("there is no output folder: give --out DIR, or --dry-run")
    with _router(source) as router:
        campaign = _campaign(lists, out or Path("out"), options)
        if is_dry:
            sample = explain_first_rows(campaign, router, options["sample"])
            _print_sample(sample, as_json=as_json)
            return 0
        begin = time.monotonic()
        with Bars() as bars:
            summary = run_campaign(
                campaign,
                router,
                lambda _, bytes_done, bytes_total: bars.report("routing", bytes_done, bytes_total),
            )
    if as_json:
        print_json(summary)
    else:
        _print(summary)
        seconds = time.monotonic() - begin
        rate = summary.steps.rows / max(seconds, 1e-9)
        click.echo(f"{out}: {seconds:.1f} s, {rate:,.0f} rows a second", err=True)
    if not summary.steps.routed:
        click.echo("numroute: no number was routed", err=True)
    return 1 if summary.has_failed or not summary.steps.routed else 0


def _campaign(lists: tuple[str, ...], out: Path, given: dict[str, Any]) -> Campaign:
    """Return the campaign that the options describe, by their names in ``numroute route``."""
    policy, prices = given["policy"], given["prices"]
    key_file, map_path = given["pseudonymize"], given["map_path"]
    if prices is None and (given["category"] or given["segments"]):
        raise click.UsageError("--category and --segments are for costs: give --prices FILE too")
    if given["segments"] and given["segments_column"]:
        raise click.UsageError("--segments and --segments-column exclude each other")
    if (map_path is None) != (key_file is None):
        raise click.UsageError(
            "--pseudonymize KEYFILE and --map FILE belong together: the map of pseudonyms needs a "
            "folder apart from the output and the key"
        )
    settings_files = (("policy file", policy), ("price file", prices))
    return Campaign(
        lists=lists,
        out=out,
        options=_reading("", given, keep=given["keep"], segments_column=given["segments_column"]),
        form=given["form"],
        rows_per_file=given["rows_per_file"],
        policy=read_policy(policy) if policy else BY_OPERATOR,
        prices=read_prices(prices, category=given["category"], segments=given["segments"])
        if prices
        else None,
        several=given["several"],
        rejects_max=given["max_rejected"],
        suppress=given["suppress"],
        suppress_reading=_reading("suppress_", given),
        suppress_lenient=given["suppress_lenient"],
        hand_over=HandOver(key_file=key_file, map=map_path) if key_file else None,
        language=given["language"],
        settings_files=tuple((role, path) for role, path in settings_files if path),
    )


def _reading(prefix: str, given: dict[str, Any], **more: Any) -> ReadOptions:  # noqa: ANN401
    """Return how lists are read, by the options that begin with a prefix."""
    return ReadOptions(
        region=given["region"] or None,
        column=given[f"{prefix}column"],
        delimiter=given[f"{prefix}delimiter"],
        encoding=given[f"{prefix}encoding"],
        has_header=given[f"{prefix}header"],
        sheet=given[f"{prefix}sheet"],
        option="--" + prefix.replace("_", "-"),
        **more,
    )


@contextlib.contextmanager
def _router(source: Path | Connect) -> Iterator[Router]:
    if isinstance(source, Path):
        with SnapshotStore(source).open() as snapshot:
            yield SnapshotRouter(snapshot)
    else:
        with source() as client:
            yield ServiceRouter(client)


def _print(summary: Summary) -> None:
    steps, cost = summary.steps, summary.cost
    rows = {
        "read": steps.rows,
        "no number": -steps.rejected,
        "further numbers": steps.further,
        "duplicates": -steps.duplicates,
        "do not send": -steps.suppressed,
        "refused by the policy": -steps.refused,
        "routed": steps.routed,
    }
    print_table(("step", "rows"), [(name, f"{n:,}") for name, n in rows.items()])
    routes = [
        (each.name, f"{each.numbers:,}", each.cost, _files(each.files)) for each in summary.routes
    ]
    print_table(("route", "numbers", "cost", "files"), routes)
    if summary.rejects:
        rejects = [
            (each.reason, f"{each.rows:,}", f"rule {each.rule!r}" if each.rule else each.meaning)
            for each in summary.rejects
        ]
        print_table(("not sent", "rows", "because"), rejects)
    if cost is not None:
        without = f", without {cost.unpriced_numbers:,} numbers that have no price"
        click.echo(f"Cost: {cost.total} {cost.currency}{without if cost.unpriced_numbers else ''}")
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
        column, why = file.phone_column, file.phone_column_why
        click.echo(f"{file.name}{sheet}: numbers from {column!r}, {why}")
    _print_warnings(summary.warnings)


def _files(names: tuple[str, ...]) -> str:
    if len(names) <= _FILES_SHOWN:
        return ", ".join(names)
    return f"{names[0]} to {names[-1]} ({len(names):,} files)"


def _print_sample(sample: Sample, *, as_json: bool) -> None:
    if as_json:
        for row in sample.rows:
            print_json(row)
    else:
        names = ("number", "status", "operator", "region", "rule")
        rows = [
            (
                str(row.row_id),
                *(getattr(row, name) for name in names),
                row.destination or row.reason,
            )
            for row in sample.rows
        ]
        print_table(("row", *names, "to"), rows)
        click.echo(f"numbers from {sample.phone_column!r}, {sample.phone_column_why}")
    _print_warnings(sample.warnings)


def _print_warnings(warnings: Iterable[str]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
