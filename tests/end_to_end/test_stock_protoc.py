"""A client made from the proto by a stock protoc, without any code of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROTO = Path(__file__).parents[2] / "protos" / "numroute" / "v1" / "number_routing.proto"

CLIENT = """
import json, sys
import grpc
import worker_pb2, worker_pb2_grpc

target, numbers = sys.argv[1], json.loads(sys.argv[2])
with grpc.insecure_channel(target) as channel:
    answer = worker_pb2_grpc.NumberRoutingStub(channel).BulkLookup(
        worker_pb2.BulkLookupRequest(
            numbers=numbers, with_range_holder=True, with_ported_at=True
        ),
        timeout=30,
    )
assert not any(name.partition(".")[0] in ("numroute", "numpy") for name in sys.modules)
rows = [
    [
        answer.routes[route].status,
        answer.routes[route].operator.code,
        answer.routes[route].mnc,
        answer.routes[route].region.name,
        time,
        answer.range_holders[holder].code,
    ]
    for route, time, holder in zip(
        answer.route_indexes, answer.ported_at, answer.range_holder_indexes, strict=True
    )
]
print(json.dumps({"snapshot": answer.snapshot.id, "rows": rows}))
"""


def test_generated_client_gets_right_answers(server, store, registry, tmp_path) -> None:
    """Code that protoc generates from the proto alone reads the columns as ordinary fields."""
    shutil.copy(PROTO, tmp_path / "worker.proto")
    generate = [sys.executable, "-m", "grpc_tools.protoc", f"-I{tmp_path}"]
    generate += [f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}", "worker.proto"]
    subprocess.run(generate, check=True, cwd=tmp_path)
    (tmp_path / "worker.py").write_text(CLIENT)
    numbers = [*list(registry.ported)[:50], *registry.starts[1:], 0, 10**15]
    done = subprocess.run(
        [sys.executable, "worker.py", server.target, json.dumps(numbers)],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    answer = json.loads(done.stdout)
    assert answer["snapshot"] == store.current_id()
    assert answer["rows"] == [
        [route.status, route.operator.code, route.mnc, route.region.name, time, holder.code]
        for route, time, holder in map(registry.answer, numbers)
    ]
