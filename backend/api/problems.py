"""Every refusal as RFC 9457 problem+json with a stable code, in one place."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from backend.core.errors import (
    BadRequest,
    Forbidden,
    Malformed,
    NotFound,
    NotJson,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    ZhiwangError,
)
from backend.core.logging import get_logger

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5

log = get_logger(__name__)


class MethodNotAllowed(ZhiwangError):
    code = "method_not_allowed"
    status = 405
    title_zh = "不支持此操作方式"
    title_en = "This method is not allowed here"


_BY_STATUS: dict[int, type[ZhiwangError]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
    429: TooManyRequests,
}


def render(error: ZhiwangError, *, status: int | None = None, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer to a refusal. `detail` and extra values never carry what the caller typed."""
    body: dict[str, Any] = {
        "type": f"/docs/errors#{error.code}",
        "title": error.title_zh,
        "title_en": error.title_en,
        "status": status or error.status,
        "code": error.code,
        **({"detail": error.detail} if error.detail else {}),
        **error.extra,
    }
    headers = dict(headers or {})
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == Unauthenticated.status:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status_code=status or error.status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Answer every error of the app, ours and the framework's, in this one shape. Faults: `middleware.Faults`."""
    app.add_exception_handler(ZhiwangError, _refusal)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(PoolTimeout, _database)


def _refusal(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ZhiwangError)
    return render(error)


def _malformed(_: Request, error: Exception) -> JSONResponse:
    """Places and kinds of the faults only: the values may be personal, so they are not sent back."""
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return render(NotJson())
    places = [{"at": _place(fault), "fault": fault["type"]} for fault in faults]
    return render(Malformed(errors=places[:50]))


def _place(fault: dict[str, Any]) -> str:
    """Where a fault is. The name of a field that nobody declared is the caller's own text and may be personal too."""
    path = [*fault["loc"][:-1], "*"] if fault["type"] == "extra_forbidden" else fault["loc"]
    return ".".join(map(str, path))


def _framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, Malformed if error.status_code < 500 else ZhiwangError)
    headers = dict(error.headers or {})
    if kind is MethodNotAllowed:
        headers["Allow"] = ", ".join(_methods(request.app, request.scope["path"]))
    return render(kind(), status=error.status_code, headers=headers)


def _methods(app: FastAPI, path: str) -> list[str]:
    """All methods of a path. The framework names those of the first of its routes only."""
    methods: set[str] = set()
    for context in iter_route_contexts(app.routes):
        if context.path and compile_path(context.path)[0].match(path):
            methods |= context.methods or set()
    return sorted(methods)


def _database(_: Request, error: Exception) -> JSONResponse:
    """The database is away or too busy: nothing was accepted, the caller keeps its data and comes again.

    A value the database cannot hold is the caller's fault: it slipped through the checks of its route.
    """
    log.error("database fault", exc_info=error)
    if isinstance(error, DataError):
        return render(Malformed())
    if isinstance(error, DBAPIError) and not isinstance(error, OperationalError) and not error.connection_invalidated:
        return render(ZhiwangError())
    return render(Unavailable(retry_after=RETRY_AFTER_S))
