"""``numroute explain``."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - likewise
from pathlib import Path  # noqa: TC003 - click resolves the annotation's type at run time
from typing import TYPE_CHECKING, Any

import click

from numroute.answers import explain_text
from numroute.cli.console import operator_text, plain, print_facts, print_json, print_table
from numroute.cli.lookup import EXIT_NOT_ROUTED, one_of, open_as_of, reference
from numroute.cli.options import (
    as_of_option,
    json_option,
    optional_store_option,
    region_option,
    target_option,
)
from numroute.cli.service import connect, service_options
from numroute.errors import SettingError
from numroute.model import InvalidReason

if TYPE_CHECKING:
    from numroute.model import Layer


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
    if target:
        with connect(target) as client:
            found = client.explain(number, region, as_of=as_of)
    elif store:
        with open_as_of(store, as_of) as snapshot:
            found = explain_text(snapshot, reference(snapshot), number, region)
    else:
        raise SettingError("there is nothing to ask", hint="Give --store DIR or --target HOST:PORT")
    invalid = found.invalid_reason is not InvalidReason.UNSPECIFIED
    if as_json:
        document: dict[str, Any] = {"input": number, **plain(found)}
        if not invalid:
            document["invalid_reason"] = None
        print_json(document)
    elif invalid:
        print_facts(
            [("input", number), ("status", "INVALID"), ("reason", found.invalid_reason.name)]
        )
    else:
        print_facts(
            [
                ("number", f"+{found.number}"),
                ("status", found.status.name),
                ("decided by", found.decided_by),
                ("snapshot", found.snapshot.id if found.snapshot else ""),
            ]
        )
        print_table(("layer", "says", "detail", "from"), [_row(layer) for layer in found.layers])
    return 0 if found.status.has_route else EXIT_NOT_ROUTED


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
