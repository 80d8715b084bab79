"""The handlers of lists: sending them, following their jobs, fetching what comes out."""

from __future__ import annotations

import asyncio
import mimetypes
import shutil
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec import Parameter as ParameterSpec
from litestar.params import HeaderParameter, Parameter
from litestar.response import File, ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

from numroute.files import replacing
from numroute_campaign.run import Sample
from numroute_web.jobs import (
    Delivery,
    Job,
    JobBody,
    State,
    job_body,
)
from numroute_web.options import (
    ListOptions,
    check_choices,
    options_of,
    values_of,
)
from numroute_web.problems import ProblemError
from numroute_web.service import PROBLEMS, Service, service_of
from numroute_web.uploads import receive

HttpRequest = Request[Any, Any, Any]

FOLLOW_SECONDS: Final = 0.5
"""How often the events of a job look at its state."""

KEY_LENGTH_MAX: Final = 255
OWN_FIELDS: Final = ("name", "start", "callback_url")
"""What a request says beside the options of its list."""

REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
)
"""The report is one page with its styles inside; nothing else may run in it."""

ListId = Annotated[str, Parameter(max_length=64, description="The id of the list's job.")]
FileName = Annotated[str, Parameter(max_length=255, description="A name that `files` lists.")]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=KEY_LENGTH_MAX,
        description="A request with the same key and list is answered with the same job.",
    ),
]


class ListsBody(msgspec.Struct, frozen=True, kw_only=True):
    """The client's lists, the newest first."""

    lists: list[JobBody]


class FileBody(msgspec.Struct, frozen=True, kw_only=True):
    """A file that came out."""

    name: str
    bytes: int


class FilesBody(msgspec.Struct, frozen=True, kw_only=True):
    """The files that came out: one or more per operator or route, the rejects, the report."""

    files: list[FileBody]


class DeliveriesBody(msgspec.Struct, frozen=True, kw_only=True):
    """The attempts to tell that a list is done."""

    deliveries: list[Delivery]


@dataclass
class _Sending(Operation):
    """Describes the request whose body is a list; the framework sees only a stream."""

    def __post_init__(self) -> None:
        binary = Schema(type="string", format="binary")  # type: ignore[arg-type] # its own names
        self.request_body = RequestBody(
            required=True,
            description="CSV (also gzip or zstd), .xlsx, .xls, .ods, Parquet or Arrow.",
            content={
                "application/octet-stream": OpenAPIMediaType(schema=binary),
                "multipart/form-data": OpenAPIMediaType(
                    schema=Schema(type="object", properties={"file": binary})  # type: ignore[arg-type]
                ),
            },
        )
        names = (*OWN_FIELDS, *ListOptions.__struct_fields__)
        self.parameters = [
            *(self.parameters or []),
            *(
                ParameterSpec(name=name, param_in="query", schema=Schema(type="string"))  # type: ignore[arg-type]
                for name in names
            ),
        ]


@post(
    "/v1/lists",
    status_code=202,
    summary="Send a list",
    operation_class=_Sending,
    request_max_body_size=None,
    responses=PROBLEMS,
)
async def send_list(
    request: HttpRequest, idempotency_key: IdempotencyKey = None
) -> Response[JobBody]:
    """Take a list as the body or as the field `file` of a form, and queue it.

    Options are query parameters or fields of the form, named like those of `numroute route`. With
    `start=false` it waits for `POST /v1/lists/{id}/start`.
    """
    service = service_of(request)
    with service.admission.call("POST /v1/lists", request) as call:
        job, is_new = await take_list(service, request, call.client, idempotency_key)
        headers = {"Location": f"/v1/lists/{job.id}"}
        if not is_new:
            headers["Idempotent-Replayed"] = "true"
        return Response(job_body(job), headers=headers)


async def take_list(
    service: Service,
    request: HttpRequest,
    client: str,
    key: str | None = None,
    *,
    is_draft: bool = False,
) -> tuple[Job, bool]:
    """Receive a request's list; return its job, and whether it is a new one."""
    jobs = service.jobs
    jobs.require_room(client)
    job_id, folder = jobs.new_folder()
    try:
        upload = await receive(request, folder, service.settings.list_bytes_max)
        values = values_of((*upload.fields, *request.query_params.multi_items()))
        own = {name: values.pop(name)[-1] for name in OWN_FIELDS if name in values}
        options = options_of(values)
        check_choices(service.settings.choices, options)
        is_draft = is_draft or own.get("start") == "false"
        callback_url = own.get("callback_url", "")
        if callback_url:
            service.webhooks.check(callback_url)
        job = jobs.add(
            *(job_id, client, upload, options),
            callback_url=callback_url,
            key=key,
            is_draft=is_draft,
        )
        is_new = job.id == job_id
    except BaseException:
        shutil.rmtree(jobs.path(job_id), ignore_errors=True)
        raise
    if is_new:
        service.runner.wake()
    else:
        await asyncio.to_thread(shutil.rmtree, jobs.path(job_id))
    return job, is_new


@get("/v1/lists", summary="List the client's lists", responses=PROBLEMS)
async def all_lists(request: HttpRequest) -> ListsBody:
    """Return the client's own lists, the newest first."""
    service = service_of(request)
    with service.admission.call("GET /v1/lists", request) as call:
        return ListsBody(lists=[job_body(job) for job in service.jobs.of_client(call.client)])


@get("/v1/lists/{list_id:str}", summary="Say how far a list is", responses=PROBLEMS)
async def one_list(request: HttpRequest, list_id: ListId) -> JobBody:
    """Return the state of a list's job."""
    return job_body(own_job(request, list_id)[1])


@delete("/v1/lists/{list_id:str}", summary="Remove a list", responses=PROBLEMS)
async def remove_list(request: HttpRequest, list_id: ListId) -> None:
    """Stop the job, if it runs, and remove everything of the list."""
    service, job = own_job(request, list_id)
    await service.runner.remove(job)


@post(
    "/v1/lists/{list_id:str}/start",
    status_code=202,
    summary="Start a list that waits",
    responses=PROBLEMS,
)
async def start_list(request: HttpRequest, list_id: ListId, data: ListOptions) -> JobBody:
    """Queue a list that was sent with `start=false`."""
    service, job = own_job(request, list_id)
    check_choices(service.settings.choices, data)
    service.jobs.start(job, data)
    service.runner.wake()
    return job_body(service.jobs.get(job.id, job.client))


@get("/v1/lists/{list_id:str}/preview", summary="Preview a list that waits", responses=PROBLEMS)
async def preview(request: HttpRequest, list_id: ListId) -> Sample:
    """Say which column has the numbers, and how the first 20 rows would be routed.

    Options are query parameters, named like those of `numroute route`.
    """
    service, job = own_job(request, list_id)
    values = values_of(request.query_params.multi_items())
    return await make_preview(service, job, options_of(values) if values else job.options)


async def make_preview(service: Service, job: Job, options: ListOptions) -> Sample:
    """Return the preview of a list that waits. Raises ProblemError."""
    if job.state is not State.DRAFT:
        raise ProblemError("already-started", HTTPStatus.CONFLICT, "the list was started before")
    return await service.runner.preview(job, options)


@get("/v1/lists/{list_id:str}/events", summary="Follow a list's job", responses=PROBLEMS)
async def events(request: HttpRequest, list_id: ListId) -> ServerSentEvent:
    """Send an event with the job whenever it changes; the last one is `end`."""
    service, job = own_job(request, list_id)
    return ServerSentEvent(_follow(service, job))


async def _follow(service: Service, job: Job) -> AsyncIterator[ServerSentEventMessage]:
    before = b""
    while not service.stopping:
        try:
            job = service.jobs.get(job.id, job.client)
        except ProblemError:
            return
        event = "end" if job.state.is_final else "progress"
        data = msgspec.json.encode(job_body(job))
        if data != before:
            before = data
            yield ServerSentEventMessage(data=data.decode(), event=event, retry=1_000)
        if job.state.is_final:
            return
        await asyncio.sleep(FOLLOW_SECONDS)


@get("/v1/lists/{list_id:str}/deliveries", summary="Show the callback's log", responses=PROBLEMS)
async def deliveries(request: HttpRequest, list_id: ListId) -> DeliveriesBody:
    """Return the attempts to tell `callback_url` that the list is done."""
    service, job = own_job(request, list_id)
    return DeliveriesBody(deliveries=service.jobs.deliveries(job.id))


@get("/v1/lists/{list_id:str}/files", summary="List what came out", responses=PROBLEMS)
async def files(request: HttpRequest, list_id: ListId) -> FilesBody:
    """Return the files that the list became."""
    service, job = own_job(request, list_id)
    return FilesBody(
        files=[
            FileBody(name=path.name, bytes=path.stat().st_size) for path in outputs(service, job)
        ]
    )


@get("/v1/lists/{list_id:str}/files/{name:str}", summary="Fetch a file", responses=PROBLEMS)
async def one_file(request: HttpRequest, list_id: ListId, name: FileName) -> File:
    """Return one of the files."""
    service, job = own_job(request, list_id)
    path = next((each for each in outputs(service, job) if each.name == name), None)
    if path is None:
        raise ProblemError("not-found", HTTPStatus.NOT_FOUND, "there is no such file")
    return _file(path, name)


@get("/v1/lists/{list_id:str}/zip", summary="Fetch all files", responses=PROBLEMS)
async def zip_file(request: HttpRequest, list_id: ListId) -> File:
    """Return all files as one zip file."""
    service, job = own_job(request, list_id)
    path = service.jobs.path(job.id) / "out.zip"
    if not path.exists():
        await asyncio.to_thread(_zip, outputs(service, job), path)
    return _file(path, f"{job.name}.zip")


@get("/v1/lists/{list_id:str}/report", summary="Show the report", responses=PROBLEMS)
async def report(request: HttpRequest, list_id: ListId) -> File:
    """Return the report as a page."""
    service, job = own_job(request, list_id)
    path = next(each for each in outputs(service, job) if each.name == "report.html")
    return File(
        path,
        filename="report.html",
        content_disposition_type="inline",
        media_type="text/html",
        headers={"Content-Security-Policy": REPORT_POLICY},
    )


HANDLERS: Final = (
    *(send_list, all_lists, one_list, remove_list, start_list, preview, events),
    *(files, one_file, zip_file, report, deliveries),
)


def own_job(request: HttpRequest, list_id: str) -> tuple[Service, Job]:
    """Admit a request about a job of its client; return service and job.

    Raises:
        NumrouteError: A guard refuses the request, or the client has no such job.
    """
    service = service_of(request)
    path = f"{request.method} {request.route_handler.handler_name}"
    with service.admission.call(path, request) as call:
        return service, service.jobs.get(list_id, call.client)


def outputs(service: Service, job: Job) -> list[Path]:
    """Return the files that a job made, by name. Raises ProblemError before it is done."""
    if job.state is not State.DONE:
        raise ProblemError(
            "not-done",
            HTTPStatus.CONFLICT,
            f"the list is {job.state.value}: it has no files",
            hint="Follow its events until it is done",
        )
    return sorted(path for path in (service.jobs.path(job.id) / "out").iterdir() if path.is_file())


def _file(path: Path, name: str) -> File:
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return File(path, filename=name, media_type=media_type)


def _zip(paths: list[Path], target: Path) -> None:
    """Write files into a zip file, whole or not at all."""
    with replacing(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, path.name)
