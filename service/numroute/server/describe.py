"""Messages about the snapshot in service: its description, its announcement, its operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numroute import wire
from numroute.model import Status
from numroute.server.limits import NUMBERS_PER_BULK_PREFERRED
from numroute.v1 import number_routing_pb2 as pb

if TYPE_CHECKING:
    from numroute.index import Snapshot
    from numroute.model import Operator
    from numroute.server.view import View


def description(view: View, *, now: float) -> pb.GetSnapshotResponse:
    """Return the answer to ``GetSnapshot``; ``now`` is in seconds since 1970-01-01 UTC."""
    metadata = view.snapshot.metadata
    return pb.GetSnapshotResponse(
        snapshot=wire.snapshot_ref_message(view.ref()),
        built_at=wire.time_message(metadata.built_at),
        age_seconds=now - metadata.as_of.timestamp(),
        format_version=metadata.format_version,
        sources=wire.source_messages(metadata.sources),
        counts=metadata.counts,
        changes=wire.changes_message(metadata.changes),
        preferred_numbers_per_call=NUMBERS_PER_BULK_PREFERRED,
        coverage=wire.coverage_messages(metadata.coverage),
    )


def announcement(view: View) -> pb.WatchSnapshotsResponse:
    """Return the ``WatchSnapshots`` message for a snapshot that answers from now on."""
    metadata = view.snapshot.metadata
    return pb.WatchSnapshotsResponse(
        snapshot=wire.snapshot_ref_message(view.ref()),
        built_at=wire.time_message(metadata.built_at),
        counts=metadata.counts,
        changes=wire.changes_message(metadata.changes),
    )


def operator_list(snapshot: Snapshot) -> pb.ListOperatorsResponse:
    """Return the operators of a snapshot's routes, without the reference to the snapshot."""
    entries: dict[Operator, pb.OperatorEntry] = {}
    networks: dict[Operator, set[tuple[str, str]]] = {}
    for route in (snapshot.routes[row] for row in range(len(snapshot.routes))):
        if not route.status.has_route:
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
