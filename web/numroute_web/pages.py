"""The page: server-rendered, in English and Russian, for people with a list and a browser."""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from typing import Annotated, Any, Final

import msgspec
from jinja2 import Environment, PackageLoader
from litestar import Request, Response, Router, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException
from litestar.params import Body
from litestar.response import Redirect
from structlog.typing import FilteringBoundLogger

from numroute.answers import explain_text
from numroute.cli.console import operator_text
from numroute.errors import NumrouteError, UnauthenticatedError
from numroute_campaign.summary import page_environment
from numroute_campaign.vocabulary import LANGUAGES, Reject
from numroute_web.admission import require_same_origin
from numroute_web.jobs import State, job_body
from numroute_web.lists import ListId, make_preview, own_job, take_list
from numroute_web.options import check_choices, options_of, read_choices, values_of
from numroute_web.problems import Problem, problem_of
from numroute_web.service import exception_handlers, service_of

HttpRequest = Request[Any, Any, Any]
HTML: Final = "text/html"
STATIC: Final = {"style.css": "text/css", "script.js": "text/javascript"}
JOBS_SHOWN: Final = 20
STATUSES: Final = {
    "PORTED": "ported number",
    "NOT_PORTED": "not ported",
    "RANGE_ONLY": "known by its range only",
    "INVALID": "not a phone number",
}
"""Phrases for the statuses that do not reject a row."""

Fields = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]


@get("/")
async def home(request: HttpRequest) -> Response[str]:
    """Offer to send a list and to look a number up; show the client's lists."""
    service = service_of(request)
    with service.admission.call("GET /", request) as call:
        jobs = [job_body(job) for job in service.jobs.of_client(call.client)[:JOBS_SHOWN]]
        return _page(request, "home", client=call.client, jobs=jobs)


@post("/login", status_code=303)
async def login(request: HttpRequest, data: Fields) -> Response[Any]:
    """Begin a session of the token."""
    service = service_of(request)
    require_same_origin(request)
    token = data.get("token", "").strip()
    with service.admission.call("POST /login", request, authorization=f"Bearer {token}"):
        cookie = service.sessions.begin(token, is_secure=service.is_secure)
    return Redirect("/", status_code=303, cookies=[cookie])


@post("/logout", status_code=303)
async def logout(request: HttpRequest) -> Redirect:
    """End the session."""
    service = service_of(request)
    require_same_origin(request)
    cookie = service.sessions.end(request, is_secure=service.is_secure)
    return Redirect("/", status_code=303, cookies=[cookie])


@post("/lists", status_code=303, request_max_body_size=None)
async def send(request: HttpRequest) -> Redirect:
    """Take a list that waits for its choices."""
    service = service_of(request)
    with service.admission.call("POST /lists", request) as call:
        job, _ = await take_list(service, request, call.client, is_draft=True)
        return Redirect(f"/lists/{job.id}", status_code=303)


@get("/lists/{list_id:str}")
async def show(request: HttpRequest, list_id: ListId) -> Response[str]:
    """Show a list: the preview and the choices, then its progress, then what came out."""
    service, job = own_job(request, list_id)
    values = values_of(request.query_params.multi_items())
    preview, problem, options = None, job.problem, job.options
    if job.state is State.DRAFT:
        try:
            options = options_of(values) if values else options
            options = msgspec.structs.replace(options, language=language_of(request))
            preview = await make_preview(service, job, options)
        except NumrouteError as error:
            problem = problem_of(error)
    return _page(
        request,
        "list",
        client=job.client,
        job=job_body(job),
        options=options,
        preview=preview,
        problem=problem,
        summary=job.summary,
        choices=read_choices(service.settings.choices),
    )


@post("/lists/{list_id:str}/start", status_code=303)
async def start(request: HttpRequest, list_id: ListId) -> Redirect:
    """Queue a list with the choices of the form."""
    service, job = own_job(request, list_id)
    values = values_of((await request.form()).multi_items())
    values["language"] = [language_of(request)]
    options = options_of(values)
    check_choices(service.settings.choices, options)
    service.jobs.start(job, options)
    service.runner.wake()
    return Redirect(f"/lists/{job.id}", status_code=303)


@post("/lists/{list_id:str}/delete", status_code=303)
async def remove(request: HttpRequest, list_id: ListId) -> Redirect:
    """Remove a list and everything that came out."""
    service, job = own_job(request, list_id)
    await service.runner.remove(job)
    return Redirect("/", status_code=303)


@post("/lookup", status_code=200)
async def look_up(request: HttpRequest, data: Fields) -> Response[str]:
    """Look one number up, and say why; by POST, so that no number is in an address."""
    service = service_of(request)
    with service.admission.call("POST /lookup", request) as call:
        call.ask(1)
        with service.follower.current() as view:
            number, region = data.get("number", ""), data.get("region", "").strip().upper()
            found = explain_text(view.snapshot, view.ref(), number, region or None)
        return _page(request, "lookup", client=call.client, found=found, region=region)


@get("/static/{name:str}")
async def static(name: str) -> Response[bytes]:
    """Return the style or the script."""
    if name not in STATIC:
        raise HTTPException(status_code=404)
    content = importlib.resources.files("numroute_web").joinpath("static", name).read_bytes()
    return Response(content, media_type=STATIC[name], headers={"Cache-Control": "max-age=300"})


def page_router(log: FilteringBoundLogger) -> Router:
    """Return the page's handlers; their errors are pages too."""
    handlers = [home, login, logout, send, show, start, remove, look_up, static]
    return Router(
        path="/",
        route_handlers=handlers,
        exception_handlers=exception_handlers(log, _problem_page),
        include_in_schema=False,
    )


def language_of(request: HttpRequest) -> str:
    """Return the first language of the browser that there is; browsers name the preferred first."""
    accepted = request.headers.get("accept-language", "").lower().split(",")
    return next((tag for each in accepted if (tag := each.strip()[:2]) in LANGUAGES), "en")


def _problem_page(request: HttpRequest, problem: Problem, error: Exception) -> Response[str]:
    if isinstance(error, UnauthenticatedError):
        is_wrong = request.url.path == "/login"
        return _page(request, "login", status=problem.status, client="", is_wrong=is_wrong)
    return _page(request, "problem", status=problem.status, client="", problem=problem)


def _page(request: HttpRequest, name: str, *, status: int = 200, **values: object) -> Response[str]:
    service = service_of(request)
    template = _environment(language_of(request)).get_template(f"{name}.html.j2")
    region = service.settings.region or ""
    has_login = service.settings.security.has_tokens
    text = template.render({"default_country": region, "has_login": has_login, **values})
    return Response(
        text, status_code=status, media_type=HTML, headers={"Vary": "Accept-Language, Cookie"}
    )


@functools.cache
def _environment(language: str) -> Environment:
    """Return the templates in a language, with the filters of a campaign's report."""
    base = page_environment(language)
    environment = base.overlay(loader=PackageLoader("numroute_web"))
    catalogue: dict[str, Any] = {"problems": {}}
    if language != "en":
        path = importlib.resources.files("numroute_web").joinpath(
            "templates", f"page_{language}.toml"
        )
        catalogue = tomllib.loads(path.read_text("utf-8"))
    problems: dict[str, str] = catalogue.pop("problems")
    report_text = base.globals["t"]

    def translate(text: str, *values: object) -> str:
        if text in catalogue:
            return str(catalogue[text].format(*values))
        return str(report_text(text, *values))  # type: ignore[operator] # the report's function

    def say(name: str) -> str:
        """Return the phrase for a status or a reason."""
        return translate(Reject[name].meaning if name in Reject.__members__ else STATUSES[name])

    environment.filters["say"] = say

    def said(text: str) -> str:
        """Return the text of a problem in the language; one that is not known stays."""
        for template, translation in problems.items():
            pattern = "(.+)".join(map(re.escape, template.split("{}")))
            if found := re.fullmatch(pattern, text, re.DOTALL):
                return translation.format(*found.groups())
        return text

    environment.filters["said"] = said
    environment.globals = {**base.globals, "t": translate, "operator_text": operator_text}
    return environment
