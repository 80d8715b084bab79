"""What the service says of its snapshot: its state, its operators, why it answers as it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute import e164, wire
from numroute.index import explain
from numroute.index.explain import OVERRIDE
from numroute.model import InvalidReason, Status
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numroute.index import Layer, Metadata, Snapshot, Source
    from numroute.model import Operator
    from numroute.server.served import ServedSnapshot

_LAYER_NAMES = {name: value for value, name in wire.LAYER_NAMES.items()}
_WITH_ROUTE = frozenset({Status.PORTED, Status.NOT_PORTED})


def description(served: ServedSnapshot, *, now: float) -> pb.GetSnapshotResponse:
    """Return what ``GetSnapshot`` says; ``now`` is in seconds since 1970-01-01 UTC."""
    metadata = served.snapshot.metadata
    return pb.GetSnapshotResponse(
        snapshot=wire.snapshot_ref_message(served.ref()),
        built_at=wire.time_message(metadata.built_at),
        age_seconds=now - metadata.as_of.timestamp(),
        format_version=metadata.format_version,
        sources=_source_messages(metadata.sources),
        counts=metadata.counts,
        changes=_changes_message(metadata),
    )


def announcement(served: ServedSnapshot) -> pb.WatchSnapshotsResponse:
    """Return what ``WatchSnapshots`` says of a snapshot that answers from now on."""
    metadata = served.snapshot.metadata
    return pb.WatchSnapshotsResponse(
        snapshot=wire.snapshot_ref_message(served.ref()),
        built_at=wire.time_message(metadata.built_at),
        counts=metadata.counts,
        changes=_changes_message(metadata),
    )


def explanation(
    served: ServedSnapshot, text: str, default_region: str | None
) -> pb.ExplainResponse:
    """Return why a text in any human format is answered as it is.

    Raises:
        SettingError: ``default_region`` is no region.
    """
    parsed = e164.parse(text, default_region)
    found = explain(served.snapshot, parsed.number)
    return pb.ExplainResponse(
        input=text,
        number=parsed.number,
        status=pb.Status.Name(found.route.status),
        invalid_reason=pb.InvalidReason.Name(parsed.reason or InvalidReason.UNSPECIFIED),
        decided_by=_LAYER_NAMES[found.decided_by],
        route=wire.route_message(found.route, with_status=False)
        if found.route.status in _WITH_ROUTE
        else None,
        layers=[_layer_message(layer) for layer in found.layers],
        snapshot=wire.snapshot_ref_message(served.ref()),
    )


def operator_list(snapshot: Snapshot) -> pb.ListOperatorsResponse:
    """Return the operators of a snapshot's routes, without the reference to the snapshot."""
    entries: dict[Operator, pb.OperatorEntry] = {}
    networks: dict[Operator, set[tuple[str, str]]] = {}
    for route in (snapshot.routes[row] for row in range(len(snapshot.routes))):
        if route.status not in _WITH_ROUTE:
            continue
        entry = entries.get(route.operator)
        if entry is None:
            message = wire.operator_message(route.operator)
            entry = entries[route.operator] = pb.OperatorEntry(operator=message)
            networks[route.operator] = set()
        if route.mcc:
            networks[route.operator].add((route.mcc, route.mnc))
        if route.status is Status.PORTED:
            entry.serves_ported_numbers = True
        else:
            entry.holds_ranges = True
    for operator, entry in entries.items():
        entry.networks.extend(
            pb.Network(mcc=mcc, mnc=mnc) for mcc, mnc in sorted(networks[operator])
        )
    order = sorted(entries, key=lambda each: (each.code, each.brand, each.name, each.tax_number))
    return pb.ListOperatorsResponse(operators=[entries[operator] for operator in order])


def _layer_message(layer: Layer) -> pb.Layer:
    return pb.Layer(
        name=_LAYER_NAMES[layer.name],
        decides=layer.decides,
        route=None if layer.route is None else wire.route_message(layer.route, with_status=True),
        sources=_source_messages(layer.sources),
        first=layer.first or 0,
        last=layer.last or 0,
        ported_at=None if layer.ported_at is None else wire.time_message(layer.ported_at),
        donor=None if layer.donor is None else wire.operator_message(layer.donor),
        override=_override_message(layer) if layer.name == OVERRIDE else None,
    )


def _override_message(layer: Layer) -> pb.Override:
    return pb.Override(
        reason=layer.reason,
        author=layer.author,
        expires_at=None if layer.expires is None else wire.time_message(layer.expires),
    )


def _changes_message(metadata: Metadata) -> pb.SnapshotChanges | None:
    changes = metadata.changes
    if changes is None:
        return None
    return pb.SnapshotChanges(
        against=changes.against,
        ported=changes.ported,
        returned=changes.returned,
        moved=changes.moved,
        updated=changes.updated,
    )


def _source_messages(sources: Iterable[Source]) -> list[pb.Source]:
    return [
        pb.Source(
            name=source.name,
            registry=source.registry,
            kind=source.kind,
            sequence=source.sequence or 0,
            rows=source.rows,
            sha256=source.sha256,
        )
        for source in sources
    ]
