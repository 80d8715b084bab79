"""``numroute lookup``."""

from __future__ import annotations

import sys
from datetime import datetime  # noqa: TC003 - likewise
from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from numroute.answers import answer_texts
from numroute.cli.console import operator_text, plain, print_json, print_table
from numroute.cli.options import (
    as_of_option,
    json_option,
    optional_store_option,
    region_option,
    target_option,
)
from numroute.cli.service import connect, service_options
from numroute.errors import SettingError
from numroute.index import SnapshotStore
from numroute.model import Answer, InvalidReason, SnapshotRef, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.index import Snapshot

EXIT_NOT_ROUTED = 2

_HEADINGS = ("number", "status", "operator", "MCC-MNC", "region", "range holder")


@click.command()
@click.argument("numbers", nargs=-1, required=True)
@optional_store_option
@target_option
@region_option
@as_of_option
@service_options
@json_option
def lookup(
    numbers: tuple[str, ...],
    store: Path | None,
    target: str | None,
    region: str | None,
    as_of: datetime | None,
    as_json: bool,
) -> int:
    """Say which operator serves each NUMBER now, or served it at a time.

    Numbers may be written as people write them: "+7 916 123-45-67", or "8 (916) 123-45-67" with
    --region RU. "-" reads one number per line from standard input, empty lines passed over. Exit
    status 2 says that some
    number is unallocated or invalid.
    """
    texts = [text for number in numbers for text in _expand(number)]
    store, target = one_of(store, target)
    if target:
        with connect(target) as client:
            answers = client.lookup_text(texts, default_region=region, as_of=as_of)
    elif store:
        answers = _ask_store(texts, store, region, as_of)
    else:
        raise SettingError("there is nothing to ask", hint="Give --store DIR or --target HOST:PORT")
    if as_json:
        for answer in answers:
            print_json(answer_json(answer))
    else:
        print_table(_HEADINGS, [_row(answer) for answer in answers], unbroken=2)
        stale = next((answer.snapshot for answer in answers if answer.snapshot.stale), None)
        if stale:
            click.echo(
                f"warning: the data is as of {stale.as_of.isoformat()}: too old by the "
                "service's limit",
                err=True,
            )
    routed = all(answer.status.has_route for answer in answers)
    return 0 if routed else EXIT_NOT_ROUTED


def _expand(number: str) -> list[str]:
    if number != "-":
        return [number]
    return [line.rstrip("\r\n") for line in sys.stdin if line.strip()]


def one_of(store: Path | None, target: str | None) -> tuple[Path | None, str | None]:
    """Return the one of both that was asked for: a flag wins over the environment."""
    if store is None or target is None:
        return store, target
    context = click.get_current_context()
    by_flag = [
        context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        for name in ("store", "target")
    ]
    if by_flag[0] == by_flag[1]:
        raise SettingError(
            "both a store and a service are named", hint="Give --store or --target, not both"
        )
    return (store, None) if by_flag[0] else (None, target)


def open_as_of(store: Path, as_of: datetime | None) -> Snapshot:
    """Open the store's snapshot that was current at a time, the current one without a time."""
    opened = SnapshotStore(store)
    return opened.open() if as_of is None else opened.open_at(as_of)


def reference(snapshot: Snapshot) -> SnapshotRef:
    """Return which snapshot an answer from a store comes from."""
    metadata = snapshot.metadata
    return SnapshotRef(id=metadata.snapshot_id, as_of=metadata.as_of)


def _ask_store(
    texts: Sequence[str], store: Path, region: str | None, as_of: datetime | None
) -> list[Answer]:
    with open_as_of(store, as_of) as snapshot:
        return answer_texts(snapshot, reference(snapshot), texts, region)


def answer_json(answer: Answer) -> dict[str, Any]:
    """Return an answer with the wire contract's field names."""
    document: dict[str, Any] = plain(answer)
    if document["route"] is not None:
        del document["route"]["status"]
    if answer.invalid_reason is InvalidReason.UNSPECIFIED:
        document["invalid_reason"] = None
    return document


def _row(answer: Answer) -> tuple[str, ...]:
    status = answer.status.name
    if answer.status is Status.INVALID:
        status += f" ({answer.invalid_reason.name})"
    route = answer.route
    if route and route.overridden:
        status += " (overridden)"
    network = f"{route.mcc}-{route.mnc}" if route and route.mcc else ""
    return (
        f"+{answer.number}" if answer.number else answer.input,
        status,
        operator_text(route.operator) if route else "",
        network,
        (route.region.name or route.region.code) if route else "",
        operator_text(answer.range_holder),
    )
