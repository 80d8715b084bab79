"""Overrides over gRPC: rows and columns say the same, and the client sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.servers import running
from support.snapshots import AS_OF, make_content, make_routes

from numroute import Client
from numroute.index import Override, SnapshotStore, writing
from numroute.model import Operator, Status


def test_an_override_is_served_and_marked(tmp_path: Path) -> None:
    """A running service takes over published overrides; each way to ask marks their routes."""
    store = SnapshotStore(tmp_path / "store", create=True)
    content = make_content(
        {79_000_000_012: 2, 79_000_000_013: 2},
        {79_000_000_000: 3, 79_000_003_584: 0},
        make_routes(1, 1),
        times={79_000_000_012: 1_700_000_000, 79_000_000_013: 1_700_000_000},
    )
    with writing(store) as writer:
        writer.publish(content, as_of=AS_OF, sources=(), counts={})
    each = Override(
        first=79_000_000_012,
        last=79_000_000_012,
        operator=Operator(code="mX", brand="X"),
        reason="why",
        author="me",
    )
    asked = np.array([79_000_000_012, 79_000_000_013, 79_000_000_014], np.uint64)
    with running(tmp_path, store.path) as server, Client(server.target) as client:
        assert not client.lookup_text(["+79000000012"])[0].route.overridden
        with writing(store) as writer:
            writer.publish_overrides((each,))
        server.wait_for_log("snapshot in service", 2)
        (row,) = client.lookup_text(["+79000000012"])
        assert (row.status, row.route.operator.code) == (Status.PORTED, "mX")
        assert (row.route.overridden, row.ported_at) == (True, None)
        told = client.explain("+79000000012")
        assert told.decided_by == "override"
        assert [layer.name for layer in told.layers] == ["override", "ported record", "range"]
        assert (told.layers[0].reason, told.layers[0].author) == ("why", "me")
        assert told.layers[0].expires is None
        bulk = client.lookup(asked, with_ported_at=True)
        routes = [bulk.routes[index] for index in bulk.route_index.tolist()]
        assert [route.operator.code for route in routes] == ["mX", "mPORTED0", "mNOT_PORTED0"]
        assert [route.overridden for route in routes] == [True, False, False]
        assert bulk.ported_at.tolist() == [0, 1_700_000_000, 0]
