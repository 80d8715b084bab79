"""Lists over HTTP: a job beside ``numroute route``, and the service's memory during an upload."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.lists.planted import make_list, write_list
from benchmarks.lists.routing import check, planted_ranges
from benchmarks.material import Material
from benchmarks.processes import BIN, run
from benchmarks.report import Figure, beside, rounds
from benchmarks.web.serving import connected, web_service
from numroute.plan.load import Service

ROWS_MAX = 1_000_000
UPLOAD_BYTES = 100 << 20
PIECE = 1 << 16
WAIT_SECONDS = 0.05
SEED = 7


def lists(material: Material, seconds: float) -> Sequence[Figure]:
    """Send a list in which everything is planted, wait for its end, and check what came out."""
    rows = min(ROWS_MAX, len(material.truth.ported))
    planted = make_list(rows, planted_ranges(material.truth.ported), SEED)
    with tempfile.TemporaryDirectory(dir=material.work) as folder:
        path, out = Path(folder) / "list.csv", Path(folder) / "out"
        write_list(planted, path)
        content = path.read_bytes()
        times: dict[str, list[float]] = {"`numroute route`": [], "a job, upload included": []}
        command, job = times.values()
        with web_service(material, Path(folder) / "fresh") as service:
            growth = _upload_growth(service) / 1e6
        with web_service(material, Path(folder) / "jobs") as service:
            for _ in rounds(seconds):
                shutil.rmtree(out, ignore_errors=True)
                words = ("--region", "RU", "--out", out, "--store", material.store)
                command.append(run(BIN / "numroute", "route", path, *words).seconds)
                begin = time.perf_counter()
                job_id = _finished(service, content)
                job.append(time.perf_counter() - begin)
                _unpack(service, job_id, out)
                check(material, planted, out)
    return [
        *beside(f"A list of {rows:,} rows, CSV to CSV", times, unit="s"),
        Figure(
            section=f"An upload of {UPLOAD_BYTES / 1e6:.0f} MB",
            name="more memory of the service at its peak, pages of the index included",
            unit="MB",
            values=[growth],
        ),
    ]


def _finished(service: Service, content: bytes) -> str:
    """Send a list, wait until it is done, and return its id."""
    with connected(service) as connection:
        connection.request("POST", "/v1/lists?region=RU&name=list.csv", content)
        job_id = str(_json(connection)["id"])
        while True:
            connection.request("GET", f"/v1/lists/{job_id}")
            state = _json(connection)["state"]
            if state == "done":
                return job_id
            assert state in {"queued", "running"}, state
            time.sleep(WAIT_SECONDS)


def _json(connection: http.client.HTTPConnection) -> dict[str, object]:
    found: dict[str, object] = json.loads(connection.getresponse().read())
    return found


def _unpack(service: Service, job_id: str, out: Path) -> None:
    """Fetch what came out into a folder, and remove the job."""
    shutil.rmtree(out)
    with connected(service) as connection:
        connection.request("GET", f"/v1/lists/{job_id}/zip")
        zipfile.ZipFile(io.BytesIO(connection.getresponse().read())).extractall(out)
        connection.request("DELETE", f"/v1/lists/{job_id}")
        connection.getresponse().read()


def _upload_growth(service: Service) -> int:
    """Return by how much the peak of the service's memory grows while it takes a large list."""
    Path(f"/proc/{service.pid}/clear_refs").write_text("5", "ascii")
    before = _resident(service, "VmRSS")

    def pieces() -> Iterator[bytes]:
        for _ in range(UPLOAD_BYTES // PIECE):
            yield b"+79161234567\n" * (PIECE // 13)

    with connected(service) as connection:
        connection.request("POST", "/v1/lists?start=false", pieces(), encode_chunked=True)
        assert connection.getresponse().status == http.client.ACCEPTED
    return _resident(service, "VmHWM") - before


def _resident(service: Service, name: str) -> int:
    status = Path(f"/proc/{service.pid}/status").read_text("ascii")
    line = next(line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
