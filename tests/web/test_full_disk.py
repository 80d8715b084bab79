"""A disk that fills up under the service."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
from pathlib import Path
from shutil import which

from support.mounts import mounted
from support.web import Web, running


def resize(disk: Path, size: str) -> None:
    """Make a disk larger or smaller."""
    subprocess.run([str(which("mount")), "-o", f"remount,size={size}", disk], check=True)


def upload_while(web: Web, jobs: Path, disk: Path) -> tuple[int, str]:
    """Send a list in two halves between which the disk fills up; return status and problem."""
    before = set(jobs.iterdir())
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)

    def halves():
        yield b"phone\n" + b"1" * 100_000
        while set(jobs.iterdir()) == before:
            time.sleep(0.01)
        resize(disk, "400k")
        yield b"1" * 2_000_000

    with contextlib.closing(connection):
        connection.request("POST", "/v1/lists", halves(), encode_chunked=True)
        response = connection.getresponse()
        return response.status, json.loads(response.read())["type"].rpartition(":")[2]


def test_a_full_disk_is_a_problem_and_nothing_is_lost(store, tmp_path) -> None:
    """Uploads are answered 507, lookups go on, and what waited is done when there is room."""
    disk, jobs = tmp_path / "disk", tmp_path / "disk" / "jobs"
    full = (507, "storage-full")
    numbers = b"phone\n" + b"\n".join(b"+7916%07d" % i for i in range(9_000)) + b"\n"
    with (
        mounted(disk, "-t", "tmpfs", "-o", "size=300m", "none"),
        running(tmp_path, "--store", store, "--jobs", jobs) as web,
    ):
        draft = web.post("/v1/lists?start=false", numbers).json["id"]
        folders = {path.name for path in jobs.iterdir() if path.is_dir()}
        assert upload_while(web, jobs, disk) == full
        assert {path.name for path in jobs.iterdir() if path.is_dir()} == folders == {draft}
        answer = web.post("/v1/lists", b"phone\n+79161234567\n")
        assert (answer.status, answer.problem) == full
        assert web.get("/v1/lookup?number=79161234567").status == 200

        started = web.post(f"/v1/lists/{draft}/start", {})
        if started.status == 202:
            while (job := web.get(f"/v1/lists/{draft}").json)["state"] not in {"failed", "done"}:
                time.sleep(0.05)
            assert job["state"] == "failed"
            assert str(tmp_path) not in json.dumps(job)
        else:
            assert (started.status, started.problem) == full

        resize(disk, "300m")
        job = web.post("/v1/lists", numbers).json["id"]
        while (state := web.get(f"/v1/lists/{job}").json["state"]) != "done":
            assert state != "failed"
            time.sleep(0.05)
        assert web.stop() == 0
    assert "7916" not in web.log_path.read_text()
