"""``numroute explain``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import TYPE_CHECKING, Any

import click

from numroute import e164
from numroute.cli.lookup import EXIT_NOT_ROUTED
from numroute.console import operator_text, plain, print_facts, print_json, print_table
from numroute.index import SnapshotStore
from numroute.index import explain as explain_number
from numroute.model import InvalidReason, Status
from numroute.settings import json_option, region_option, store_option

if TYPE_CHECKING:
    from numroute.index import Explanation, Layer


@click.command()
@click.argument("number")
@store_option
@region_option
@json_option
def explain(number: str, store: Path, region: str | None, as_json: bool) -> int:
    """Say which layer decided for NUMBER, from which file, and what the others would say."""
    parsed = e164.parse(number, region)
    with SnapshotStore(store).open() as snapshot:
        explanation = explain_number(snapshot, parsed.number)
        snapshot_id = snapshot.metadata.snapshot_id
    invalid = parsed.reason is not InvalidReason.UNSPECIFIED
    if as_json:
        document: dict[str, Any] = {"input": number, **plain(explanation)}
        document["status"] = explanation.route.status.name
        document["invalid_reason"] = parsed.reason.name if invalid else None
        document["snapshot"] = {"id": snapshot_id}
        print_json(document)
    elif invalid:
        print_facts([("input", number), ("status", "INVALID"), ("reason", parsed.reason.name)])
    else:
        print_facts(
            [
                ("number", f"+{explanation.number}"),
                ("status", explanation.route.status.name),
                ("decided by", explanation.decided_by),
                ("snapshot", snapshot_id),
            ]
        )
        print_table(
            ("layer", "says", "detail", "from"), [_row(layer) for layer in explanation.layers]
        )
    return 0 if _routed(explanation) else EXIT_NOT_ROUTED


def _routed(explanation: Explanation) -> bool:
    return explanation.route.status in {Status.PORTED, Status.NOT_PORTED}


def _row(layer: Layer) -> tuple[str, ...]:
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
        source.name if source.sequence is None else f"{source.name} (sequence {source.sequence})"
        for source in layer.sources
    )
    says = operator_text(layer.route.operator) or "-" if layer.route else "nothing"
    return (
        layer.name + (" *" if layer.decides else ""),
        says,
        ", ".join(detail),
        sources,
    )
