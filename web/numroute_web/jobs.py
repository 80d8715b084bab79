"""The jobs that clients' lists become: their state in SQLite, their files in a folder each.

::

    DIR/                    0700
        jobs.sqlite         one row a job
        ID/input/NAME       the list as it was sent
        ID/out/             what `numroute route` writes
        ID/out.zip          the same as one file, made when it is first asked for

When a job is removed, nothing of its list remains.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import secrets
import shutil
import sqlite3
import time
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec

from numroute_web.options import ListOptions
from numroute_web.problems import Problem, ProblemError
from numroute_web.uploads import Upload

ID_BYTES: Final = 16

UNFINISHED_MAX: Final = 2_000
"""How many jobs of one client may wait or run."""

DRAFT_SECONDS: Final = 3_600.0
"""How long a list that was uploaded but not started is kept."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    state TEXT NOT NULL,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    options TEXT NOT NULL,
    callback_url TEXT NOT NULL,
    key TEXT,
    digest TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    expires REAL NOT NULL,
    rows INTEGER NOT NULL DEFAULT 0,
    share REAL NOT NULL DEFAULT 0,
    summary TEXT,
    problem TEXT,
    UNIQUE (client, key)
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, created);
CREATE TABLE IF NOT EXISTS deliveries (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    at REAL NOT NULL,
    status INTEGER,
    error TEXT NOT NULL,
    next REAL,
    PRIMARY KEY (job, attempt)
);
"""


_COLUMNS: Final = (
    "*, created AS created_at, started AS started_at, finished AS finished_at,"
    " expires AS expires_at"
)


class State(enum.Enum):
    """Where a job stands."""

    DRAFT = "draft"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether it will not change any more."""
        return self in {State.DONE, State.FAILED}


class JobBody(msgspec.Struct, frozen=True, kw_only=True):
    """A job as clients see it.

    ``share_done`` runs from 0 to 1. ``counts`` are rows through the steps, once it is done;
    ``too_many_rejected`` says that more rows had no number than `max_rejected` allows.
    """

    id: str
    state: State
    name: str
    bytes: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime
    rows: int
    share_done: float
    counts: dict[str, int] | None
    too_many_rejected: bool
    warnings: list[str]
    problem: Problem | None


class Job(JobBody, frozen=True, kw_only=True):
    """A job as its row has it."""

    client: str
    options: ListOptions
    callback_url: str
    digest: str
    summary: dict[str, Any] | None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt to report the end of a job to the client's software; without error it arrived."""

    attempt: int
    at: datetime
    status: int | None
    error: str
    next_at: datetime | None


def job_body(job: Job) -> JobBody:
    """Return a job as clients see it."""
    return msgspec.convert(job, JobBody, from_attributes=True)


class JobStore:
    """The jobs of a folder. Used on the event loop only: each statement takes a millisecond."""

    def __init__(self, folder: Path, *, retention_seconds: float) -> None:
        """Open the folder, make it if it is missing, and remove what a crash left behind.

        Jobs that were running are queued again. Raises OSError or sqlite3.Error.
        """
        self.folder = folder
        self._retention = retention_seconds
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "jobs.sqlite"
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            # Names of files and settings may be personal, too.
            "secure_delete = ON",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)
        self._db.execute("UPDATE jobs SET state = 'queued', started = NULL WHERE state = 'running'")
        known = {row["id"] for row in self._db.execute("SELECT id FROM jobs")}
        for each in folder.iterdir():
            if each.is_dir() and each.name not in known:
                shutil.rmtree(each, ignore_errors=True)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def path(self, job_id: str) -> Path:
        """Return the folder of a job."""
        return self.folder / job_id

    def new_folder(self) -> tuple[str, Path]:
        """Make the folder of a job to come; return its id and where its list goes."""
        job_id = secrets.token_urlsafe(ID_BYTES)
        inputs = self.path(job_id) / "input"
        inputs.mkdir(mode=0o700, parents=True)
        self.path(job_id).chmod(0o700)
        return job_id, inputs

    def add(
        self,
        job_id: str,
        client: str,
        upload: Upload,
        options: ListOptions,
        *,
        callback_url: str = "",
        key: str | None = None,
        is_draft: bool = False,
    ) -> Job:
        """Add a job whose list lies in its folder.

        With the key of an earlier job of the client, return that job, if it is the same.

        Raises:
            ProblemError: The earlier job was another, or the client has too many.
        """
        digest = _digest(upload, options, callback_url)
        for earlier in self._select("client = ? AND key = ?", client, key):
            if earlier.digest != digest:
                raise ProblemError(
                    "idempotency-conflict",
                    HTTPStatus.CONFLICT,
                    "another list was sent with this Idempotency-Key",
                    hint="Give each list its own key",
                )
            return earlier
        self.require_room(client)
        now = time.time()
        self._db.execute(
            "INSERT INTO jobs (id, client, state, name, bytes, options, callback_url, key, digest,"
            " created, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(job_id, client, "draft" if is_draft else "queued", upload.name, upload.size),
                *(msgspec.json.encode(options).decode(), callback_url, key, digest, now),
                now + (DRAFT_SECONDS if is_draft else self._retention),
            ),
        )
        return self.get(job_id, client)

    def require_room(self, client: str) -> None:
        """Refuse another list of a client that has too many waiting. Raises ProblemError."""
        (count,) = self._db.execute(
            "SELECT count(*) FROM jobs"
            " WHERE client = ? AND state IN ('draft', 'queued', 'running')",
            (client,),
        ).fetchone()
        if count >= UNFINISHED_MAX:
            raise ProblemError(
                "too-many-lists",
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{count:,} lists of this client wait",
                hint="Wait until some are done, or delete some",
                retry_after_seconds=60,
            )

    def get(self, job_id: str, client: str) -> Job:
        """Return a client's job; another client's does not exist. Raises ProblemError."""
        rows = self._select("id = ? AND client = ?", job_id, client)
        if not rows:
            raise ProblemError("not-found", HTTPStatus.NOT_FOUND, "there is no such list")
        return rows[0]

    def of_client(self, client: str) -> list[Job]:
        """Return a client's jobs, the newest first."""
        return self._select("client = ? ORDER BY created DESC", client)

    def start(self, job: Job, options: ListOptions) -> None:
        """Queue a draft. Raises ProblemError if it was started before."""
        done = self._db.execute(
            "UPDATE jobs SET state = 'queued', options = ?, expires = ?"
            " WHERE id = ? AND state = 'draft'",
            (msgspec.json.encode(options).decode(), time.time() + self._retention, job.id),
        )
        if not done.rowcount:
            raise ProblemError(
                "already-started", HTTPStatus.CONFLICT, "the list was started before"
            )

    def take_next(self) -> Job | None:
        """Mark the next job as running and return it: first the client with the fewest running."""
        rows = self._select(
            "state = 'queued' ORDER BY (SELECT count(*) FROM jobs AS other WHERE other.client ="
            " jobs.client AND other.state = 'running'), created LIMIT 1"
        )
        if not rows:
            return None
        self._db.execute(
            "UPDATE jobs SET state = 'running', started = ? WHERE id = ?",
            (time.time(), rows[0].id),
        )
        return rows[0]

    def progress(self, job_id: str, rows: int, share: float) -> None:
        """Record how far a running job is."""
        self._db.execute("UPDATE jobs SET rows = ?, share = ? WHERE id = ?", (rows, share, job_id))

    def finish(self, job_id: str, summary: dict[str, Any] | None, problem: Problem | None) -> None:
        """Record how a job ended; it is kept for the retention time from now on."""
        now = time.time()
        self._db.execute(
            "UPDATE jobs SET state = ?, summary = ?, problem = ?, finished = ?, expires = ?,"
            " rows = coalesce(?, rows) WHERE id = ?",
            (
                State.FAILED.value if problem else State.DONE.value,
                None if summary is None else msgspec.json.encode(summary).decode(),
                None if problem is None else msgspec.json.encode(problem).decode(),
                now,
                now + self._retention,
                None if summary is None else summary["steps"]["rows"],
                job_id,
            ),
        )

    def requeue(self, job_id: str) -> None:
        """Queue a running job again: the service stops before it is done."""
        self._db.execute(
            "UPDATE jobs SET state = 'queued', started = NULL WHERE id = ? AND state = 'running'",
            (job_id,),
        )

    def due_deliveries(self) -> list[tuple[Job, int]]:
        """Return the jobs whose end is to be reported now, with the number of the attempt."""
        jobs = self._select(
            "state IN ('done', 'failed') AND callback_url != '' AND coalesce((SELECT next FROM"
            " deliveries WHERE job = jobs.id ORDER BY attempt DESC LIMIT 1), CASE WHEN EXISTS"
            " (SELECT 1 FROM deliveries WHERE job = jobs.id) THEN 9e12 ELSE 0 END) <= ?",
            time.time(),
        )
        return [(job, len(self.deliveries(job.id)) + 1) for job in jobs]

    def deliveries(self, job_id: str) -> list[Delivery]:
        """Return the attempts to report a job's end, the first one first."""
        rows = self._db.execute(
            "SELECT *, next AS next_at FROM deliveries WHERE job = ? ORDER BY attempt", (job_id,)
        )
        return msgspec.convert([dict(row) for row in rows], list[Delivery], strict=False)

    def record_delivery(
        self, job_id: str, attempt: int, status: int | None, error: str, next_at: float | None
    ) -> None:
        """Record an attempt, unless the job was removed meanwhile."""
        with contextlib.suppress(sqlite3.IntegrityError):
            self._db.execute(
                "INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?)",
                (job_id, attempt, time.time(), status, error, next_at),
            )

    def forget(self, job_id: str) -> None:
        """Remove a job's row; the caller removes its folder or, after a crash, the next start."""
        self._db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def expired(self) -> list[Job]:
        """Return the jobs whose time is over; those that wait or run have time."""
        return self._select("state IN ('draft', 'done', 'failed') AND expires <= ?", time.time())

    def _select(self, where: str, *values: object) -> list[Job]:
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE {where}", values)  # noqa: S608
        return [_job(dict(row)) for row in rows]


def _digest(upload: Upload, options: ListOptions, callback_url: str) -> str:
    """Return what tells whether two requests are the same."""
    parts = (upload.sha256, msgspec.json.encode(options).decode(), callback_url)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _job(values: dict[str, Any]) -> Job:
    for name in ("options", "summary", "problem"):
        if values[name] is not None:
            values[name] = msgspec.json.decode(values[name])
    summary = values["summary"] or {}
    values |= {
        "share_done": 1.0 if values["state"] == "done" else round(values["share"], 4),
        "counts": summary.get("steps"),
        "too_many_rejected": summary.get("has_failed", False),
        "warnings": summary.get("warnings", []),
    }
    return msgspec.convert(values, Job, strict=False)
