"""``numroute lookup`` and ``numroute explain``."""

from __future__ import annotations

import sys
from datetime import datetime  # noqa: TC003 - likewise
from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from numroute.answers import answer_texts, explain_text
from numroute.cli.console import operator_text, plain, print_facts, print_json, print_table
from numroute.cli.options import (
    as_of_option,
    json_option,
    optional_store_option,
    region_option,
    target_option,
)
from numroute.cli.service import connect, service_options
from numroute.index import SnapshotStore
from numroute.model import Answer, InvalidReason, SnapshotRef, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numroute.index import Snapshot
    from numroute.model import Layer

EXIT_NOT_ROUTED = 3

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
    """Show which operator serves each NUMBER now, or served it at a given time.

    Numbers may be in any human format: "+7 916 123-45-67", or "8 (916) 123-45-67" with --region RU.
    "-" reads one number per line from standard input and skips empty lines. The exit status is 3 if
    some number is unallocated, not covered or invalid.
    """
    texts = [text for number in numbers for text in _expand(number)]
    store, target = one_of(store, target)
    if target:
        with connect(target) as client:
            answers = client.lookup_text(texts, default_region=region, as_of=as_of)
    elif store:
        answers = _ask_store(texts, store, region, as_of)
    else:
        raise nothing_to_ask()
    if as_json:
        for answer in answers:
            print_json(answer_json(answer))
    else:
        print_table(_HEADINGS, [_row(answer) for answer in answers], unbroken=2)
        stale = next((answer.snapshot for answer in answers if answer.snapshot.stale), None)
        if stale:
            click.echo(
                f"warning: the data is as of {stale.as_of.isoformat()}, older than the service's "
                "limit",
                err=True,
            )
    routed = all(answer.status.has_route for answer in answers)
    return 0 if routed else EXIT_NOT_ROUTED


@click.command()
@click.argument("number")
@optional_store_option
@target_option
@region_option
@as_of_option
@service_options
@json_option
def explain(
    number: str,
    store: Path | None,
    target: str | None,
    region: str | None,
    as_of: datetime | None,
    as_json: bool,
) -> int:
    """Show which layer decides for NUMBER, from which file, and what the other layers say."""
    store, target = one_of(store, target)
    if target:
        with connect(target) as client:
            explanation = client.explain(number, region, as_of=as_of)
    elif store:
        with _open_as_of(store, as_of) as snapshot:
            explanation = explain_text(snapshot, _reference(snapshot), number, region)
    else:
        raise nothing_to_ask()
    invalid = explanation.invalid_reason is not InvalidReason.UNSPECIFIED
    if as_json:
        document: dict[str, Any] = {"input": number, **plain(explanation)}
        if not invalid:
            document["invalid_reason"] = None
        print_json(document)
    elif invalid:
        print_facts(
            [("input", number), ("status", "INVALID"), ("reason", explanation.invalid_reason.name)]
        )
    else:
        print_facts(
            [
                ("number", f"+{explanation.number}"),
                ("status", explanation.status.name),
                ("decided by", explanation.decided_by),
                ("snapshot", explanation.snapshot.id if explanation.snapshot else ""),
            ]
        )
        print_table(
            ("layer", "says", "detail", "from"), [_layer_row(layer) for layer in explanation.layers]
        )
    return 0 if explanation.status.has_route else EXIT_NOT_ROUTED


def _expand(number: str) -> list[str]:
    if number != "-":
        return [number]
    return [line.rstrip("\r\n") for line in sys.stdin if line.strip()]


def nothing_to_ask() -> click.UsageError:
    """Return the error of a command that was given neither a store nor a service."""
    return click.UsageError("there is nothing to ask: give --store DIR or --target HOST:PORT")


def one_of(store: Path | None, target: str | None) -> tuple[Path | None, str | None]:
    """Return the store or the target, whichever was given: a flag wins over the environment."""
    if store is None or target is None:
        return store, target
    context = click.get_current_context()
    by_flag = [
        context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        for name in ("store", "target")
    ]
    if by_flag[0] == by_flag[1]:
        raise click.UsageError(
            "both a store and a service are given: give --store or --target, not both"
        )
    return (store, None) if by_flag[0] else (None, target)


def _open_as_of(store: Path, as_of: datetime | None) -> Snapshot:
    """Open the snapshot that was current at a time, or the current one."""
    opened = SnapshotStore(store)
    return opened.open() if as_of is None else opened.open_at(as_of)


def _reference(snapshot: Snapshot) -> SnapshotRef:
    """Return which snapshot an answer from a store comes from."""
    metadata = snapshot.metadata
    return SnapshotRef(id=metadata.snapshot_id, as_of=metadata.as_of)


def _ask_store(
    texts: Sequence[str], store: Path, region: str | None, as_of: datetime | None
) -> list[Answer]:
    with _open_as_of(store, as_of) as snapshot:
        return answer_texts(snapshot, _reference(snapshot), texts, region)


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


def _layer_row(layer: Layer) -> tuple[str, ...]:
    detail = []
    if layer.ported_at:
        detail.append(f"ported {layer.ported_at.isoformat()}")
    if layer.donor:
        detail.append(f"from {operator_text(layer.donor)}")
    if layer.first is not None:
        end = "end" if layer.last is None else f"+{layer.last}"
        detail.append(f"+{layer.first} to {end}")
    if layer.author:
        expires = layer.expires.isoformat() if layer.expires else "never"
        detail += [f"{layer.reason!r} by {layer.author}", f"expires {expires}"]
    sources = ", ".join(
        source.name if not source.sequence else f"{source.name} (sequence {source.sequence})"
        for source in layer.sources
    )
    says = operator_text(layer.route.operator) or "-" if layer.route else "nothing"
    return (
        layer.name + (" *" if layer.decides else ""),
        says,
        ", ".join(detail),
        sources,
    )
