"""Cases, business records, reference data, and what needs no login."""

from typing import Any
from uuid import UUID

from tests.matrix.cells import GRID_PLACES, Ask, Call, Cell, Place
from tests.matrix.people import PASSWORD
from tests.world import DeviceKey


def _get(path: str, **query: Any) -> Call:
    return Call(lambda _: Ask("GET", path, {"params": query}))


def _act_on_job(action: str) -> Call:
    """On one that is not there: who may is told so."""
    return Call(lambda _: Ask("POST", f"/jobs/v1/jobs/{UUID(int=0)}/{action}"), passed={"not_found"})


def _case(cell: Cell) -> Ask:
    return Ask("GET", f"/cases/v1/cases/{cell.scene.places[cell.place].case_id}")


def _act(cell: Cell) -> Ask:
    """With a version the case never had: who reaches the case is told so, and nothing is changed."""
    path = f"/cases/v1/cases/{cell.scene.places[cell.place].case_id}/actions/claim"
    return Ask("POST", path, {"json": {}, "headers": {"If-Match": '"999"'}})


def _lists_case(cell: Cell, answer: Any) -> bool:
    return str(cell.scene.places[cell.place].case_id) in {case["id"] for case in answer.json()["cases"]}


def _lists_grid(cell: Cell, answer: Any) -> bool:
    return cell.scene.places[cell.place].grid_id in {grid["id"] for grid in answer.json()["grids"]}


def _import(_: Cell) -> Ask:
    headers = {"Content-Type": "text/csv"}
    return Ask("POST", "/registry/v1/datasets/houses/imports", {"content": b"x", "headers": headers})


DATASET = {"name": "x", "department_code": "nobody", "legal_basis": "x", "grade": "general"}


def _register(_: Cell) -> Ask:
    """Under a code that is taken: who may is told so, and nothing is changed."""
    body = {**DATASET, "code": "houses", "key": "x", "columns": [{"title": "x", "field": "x"}]}
    return Ask("POST", "/registry/v1/datasets", {"json": body})


def _describe(_: Cell) -> Ask:
    return Ask("PUT", "/registry/v1/datasets/houses", {"json": DATASET})


def _look_up(_: Cell) -> Ask:
    """A record that is not there: who may is told so."""
    return Ask("POST", "/registry/v1/datasets/houses/lookup", {"json": {"key": "0" * 25}})


def _snapshot(suffix: str = "") -> Call:
    return Call(lambda cell: Ask("GET", f"/registry/v1/imports/{cell.scene.snapshot_id}{suffix}"))


def _issue_code(cell: Cell) -> Ask:
    return Ask("POST", "/auth/v1/enrolment-codes", {"json": {"login": cell.scene.workers[cell.place].login}})


def _login(cell: Cell) -> Ask:
    return Ask("POST", "/auth/v1/login", {"json": {"login": "matrix-supervisor", "password": PASSWORD}})


def _enrol(_: Cell) -> Ask:
    body = {"code": "A" * 12, "device_name": "synthetic", "public_key": DeviceKey().jwk()}
    return Ask("POST", "/auth/v1/enrol", {"json": body})


def _refresh(cell: Cell) -> Ask:
    worker = next(person for person in cell.scene.people.values() if person.device_id)
    body = {"refresh_token": worker.refresh_token, "proof": worker.key.proof(worker.refresh_token)}
    return Ask("POST", "/auth/v1/refresh", {"json": body})


def _wechat(method: str, **query: str) -> Call:
    """Unsigned: the door is open to everybody, and the signature is looked at behind it."""
    return Call(
        lambda _: Ask(method, "/channels/wechat", {"params": query}), passed={"wechat_signature", "wechat_malformed"}
    )


CALLS = {
    "cases.queues": _get("/cases/v1/queues"),
    "cases.summary": _get("/cases/v1/summary"),
    "cases.list": Call(
        lambda _: Ask("GET", "/cases/v1/cases", {"params": {"limit": 200}}), places=GRID_PLACES, granted=_lists_case
    ),
    "cases.read": Call(_case, places=GRID_PLACES),
    "cases.act": Call(_act, places=GRID_PLACES, passed={"version_changed"}),
    "registry.datasets": _get("/registry/v1/datasets"),
    "registry.register": Call(_register, passed={"dataset_exists"}),
    "registry.describe": Call(_describe, passed={"dataset_definition"}),
    "registry.import": Call(_import),
    "registry.imports": _get("/registry/v1/datasets/houses/imports"),
    "registry.look_up": Call(_look_up, passed={"not_found"}),
    "registry.read_import": _snapshot(),
    "registry.rejects": _snapshot("/rejects"),
    **{
        f"reference.{name.replace('-', '_')}": _get(f"/reference/v1/{name}")
        for name in ("server", "territory", "event-classes", "standards", "queues", "departments", "calendar", "kinds")
    },
    "reference.grids": Call(
        lambda _: Ask("GET", "/reference/v1/grids"),
        places=(Place.HELD, Place.NEAR, Place.PAST, Place.FAR),
        granted=_lists_grid,
    ),
    "auth.issue_code": Call(_issue_code, places=(Place.HELD, Place.NEAR, Place.PAST, Place.FAR)),
    "auth.login": Call(_login),
    "auth.enrol": Call(_enrol, passed={"enrolment_refused"}),
    "auth.refresh": Call(_refresh),
    "wechat.check_address": _wechat("GET", echostr="1"),
    "wechat.receive": _wechat("POST"),
    "docs.schema": _get("/openapi.json"),
    "docs.assets": _get("/docs/assets/swagger-ui.css"),
    "docs.page": _get("/docs"),
    "docs.script": _get("/docs/start.js"),
    "docs.errors": _get("/docs/errors"),
    "start.page": _get("/"),
    "start.script": _get("/start.js"),
    "start.style": _get("/start.css"),
    "overview.counts": _get("/overview/v1/counts"),
    "overview.metrics": _get("/metrics"),
    "jobs.depths": _get("/jobs/v1/depths"),
    "jobs.list": _get("/jobs/v1/jobs", limit=1),
    "jobs.retry": _act_on_job("retry"),
    "jobs.cancel": _act_on_job("cancel"),
    "health.live": _get("/health/live"),
    "health.ready": _get("/health/ready"),
}
