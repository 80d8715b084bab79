"""``numroute explain``."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - likewise
from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import TYPE_CHECKING, Any

import click

from numroute import e164
from numroute.cli.console import operator_text, plain, print_facts, print_json, print_table
from numroute.cli.lookup import EXIT_NOT_ROUTED, one_of, open_as_of
from numroute.cli.options import (
    as_of_option,
    json_option,
    optional_store_option,
    region_option,
    target_option,
)
from numroute.cli.service import connect, service_options
from numroute.errors import SettingError
from numroute.index import Explanation
from numroute.index import explain as explain_number
from numroute.model import InvalidReason, Status

if TYPE_CHECKING:
    from numroute.client import Explanation as ServiceExplanation
    from numroute.client import LayerInfo
    from numroute.index import Layer


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
    """Say which layer decided for NUMBER, from which file, and what the others would say.

    With --as-of the snapshot that was current then is explained.
    """
    store, target = one_of(store, target)
    explanation: Explanation | ServiceExplanation
    if target:
        with connect(target) as client:
            found = client.explain(number, region, as_of=as_of)
        explanation, reason, snapshot_id = found, found.invalid_reason, found.snapshot.id
    elif store:
        parsed = e164.parse(number, region)
        with open_as_of(store, as_of) as snapshot:
            explanation, reason = explain_number(snapshot, parsed.number), parsed.reason
            snapshot_id = snapshot.metadata.snapshot_id
    else:
        raise SettingError("there is nothing to ask", hint="Give --store DIR or --target HOST:PORT")
    status = _status(explanation)
    invalid = reason is not InvalidReason.UNSPECIFIED
    if as_json:
        document: dict[str, Any] = {"input": number, **plain(explanation)}
        document["status"] = status.name
        document["invalid_reason"] = reason.name if invalid else None
        document["snapshot"] = {"id": snapshot_id}
        print_json(document)
    elif invalid:
        print_facts([("input", number), ("status", "INVALID"), ("reason", reason.name)])
    else:
        print_facts(
            [
                ("number", f"+{explanation.number}"),
                ("status", status.name),
                ("decided by", explanation.decided_by),
                ("snapshot", snapshot_id),
            ]
        )
        print_table(
            ("layer", "says", "detail", "from"), [_row(layer) for layer in explanation.layers]
        )
    return 0 if status in {Status.PORTED, Status.NOT_PORTED} else EXIT_NOT_ROUTED


def _status(explanation: Explanation | ServiceExplanation) -> Status:
    """Return the status: a store's explanation has it in its route, a service's beside it."""
    if isinstance(explanation, Explanation):
        return explanation.route.status
    return explanation.status


def _row(layer: Layer | LayerInfo) -> tuple[str, ...]:
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
