"""What runs here and how it is: the start page, counts, health and metrics."""

from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge, generate_latest

from backend.api.deps import DbSession, public
from backend.core.errors import NotFound, Unavailable, all_errors
from backend.services import overview
from backend.services.key_use import check_keys

router = APIRouter(tags=["概览 overview"])

PAGES = Path(__file__).with_name("pages")
SWAGGER = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


def _swagger_folder() -> Path:
    """The copy of Swagger UI inside fastapi-offline; its own page has a script in line, so only the files are used."""
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("static")


@router.get("/", dependencies=[Depends(public("start.page"))], include_in_schema=False)
def start_page() -> FileResponse:
    return FileResponse(PAGES / "start.html")


@router.get("/start.js", dependencies=[Depends(public("start.script"))], include_in_schema=False)
def start_script() -> FileResponse:
    return FileResponse(PAGES / "start.js", media_type="text/javascript")


@router.get("/start.css", dependencies=[Depends(public("start.style"))], include_in_schema=False)
def start_style() -> FileResponse:
    return FileResponse(PAGES / "start.css", media_type="text/css")


@router.get("/docs", dependencies=[Depends(public("docs.page"))], include_in_schema=False)
def docs_page() -> FileResponse:
    """The API document for people to read and to try, without anything from other hosts: city networks are closed."""
    return FileResponse(PAGES / "docs.html")


@router.get("/docs/start.js", dependencies=[Depends(public("docs.script"))], include_in_schema=False)
def docs_script() -> FileResponse:
    return FileResponse(PAGES / "docs.js", media_type="text/javascript")


@router.get("/docs/assets/{name}", dependencies=[Depends(public("docs.assets"))], include_in_schema=False)
def docs_file(name: str) -> FileResponse:
    """A file of Swagger UI, by a name of the list only."""
    if name not in SWAGGER:
        raise NotFound
    return FileResponse(_swagger_folder() / name, media_type=SWAGGER[name])


@router.get("/docs/errors", dependencies=[Depends(public("docs.errors"))], include_in_schema=False)
def error_page() -> HTMLResponse:
    """What the `type` of a problem points to: every code with its meaning, from the classes themselves."""
    rows = "".join(
        f'<tr id="{kind.code}"><td><code>{kind.code}</code></td><td>{kind.status}</td>'
        f"<td>{escape(kind.title_zh)}</td><td>{escape(kind.title_en)}</td></tr>"
        for kind in sorted(all_errors(), key=lambda kind: kind.code)
    )
    return HTMLResponse((PAGES / "errors.html").read_text(encoding="utf-8").replace("<!-- rows -->", rows))


@router.get(
    "/overview/v1/counts",
    dependencies=[Depends(public("overview.counts"))],
    summary="Counts of everything, without personal data",
)
def counts(session: DbSession) -> dict[str, Any]:
    seen = overview.look(session)
    return {**seen.counts, "cases": seen.cases}


@router.get(
    "/health/live",
    dependencies=[Depends(public("health.live"))],
    summary="The process answers",
    response_class=PlainTextResponse,
)
def live() -> PlainTextResponse:
    return PlainTextResponse("ok")


@router.get(
    "/health/ready",
    dependencies=[Depends(public("health.ready"))],
    summary="The process can serve: the database answers and is migrated",
    response_class=PlainTextResponse,
)
def ready(session: DbSession) -> PlainTextResponse:
    if not overview.is_migrated(session):
        raise Unavailable("database is not migrated", retry_after=5)
    check_keys(session)
    return PlainTextResponse("ready")


@router.get(
    "/metrics",
    dependencies=[Depends(public("overview.metrics"))],
    summary="Prometheus metrics",
    response_class=PlainTextResponse,
)
def metrics(session: DbSession) -> Response:
    gauges = _gauges(overview.look(session))
    return Response(generate_latest(REGISTRY) + generate_latest(gauges), media_type=CONTENT_TYPE_LATEST)


def _gauges(seen: overview.Overview) -> CollectorRegistry:
    """Gauges read from the database at each scrape, the same from whichever API process is asked."""
    registry = CollectorRegistry()
    things = Gauge("zhiwang_things", "Counts by group and state", ["group", "state"], registry=registry)
    for group, states in seen.counts.items():
        for state, number in states.items():
            things.labels(group, state).set(number)
    cases = Gauge("zhiwang_cases", "Cases by queue and state", ["queue", "state"], registry=registry)
    for queue, states in seen.cases.items():
        for state, number in states.items():
            cases.labels(queue, state).set(number)
    depth = Gauge("zhiwang_jobs", "Jobs that are not done", ["name", "state"], registry=registry)
    age = Gauge("zhiwang_job_age_seconds", "Age of the oldest such job", ["name", "state"], registry=registry)
    for name, state, number, seconds in seen.jobs:
        depth.labels(name, state).set(number)
        age.labels(name, state).set(seconds)
    failed = Gauge("zhiwang_job_failures", "Attempts of jobs that failed, ever", ["name"], registry=registry)
    for name, number in seen.job_failures.items():
        failed.labels(name).set(number)
    unsealed = Gauge("zhiwang_audit_unsealed", "Audit entries that wait to be sealed", registry=registry)
    unsealed.set(seen.unsealed)
    unanchored = Gauge("zhiwang_audit_unanchored", "Sealed batches that wait to be anchored", registry=registry)
    unanchored.set(seen.unanchored)
    return registry
