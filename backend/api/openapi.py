"""The API document says what every operation may answer: success as the route says, refusals from the error classes.

An operation's refusals are the general ones that its shape makes possible (a login, a body, parameters), and those of
the modules it calls, followed through their globals. So a new error is in the document without being listed again, and
`make test-api-fuzz` finds an answer that is not in it.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from backend.api.fields import REQUIRED
from backend.api.middleware import BodyStalled
from backend.api.problems import MEDIA_TYPE
from backend.core.errors import (
    BadRequest,
    Forbidden,
    Malformed,
    NotFound,
    NotJson,
    PreconditionFailed,
    PreconditionRequired,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    ZhiwangError,
)
from backend.services.permissions import permissions

Json = dict[str, Any]

OURS = ("backend.api.", "backend.services.", "sync.", "media.", "workflows.")
NOT_FOLLOWED = ("backend.api.deps", "backend.api.problems", "backend.services.permissions", "backend.services.audit")
DEEP = 4
"""From a route through its service to where the objects it touches raise."""

PROBLEM: Json = {
    "title": "Problem",
    "description": "RFC 9457. Programs decide by `code` (docs/errors.md), people read `title`.",
    "type": "object",
    "required": ["type", "title", "title_en", "status", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "title_en": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
}
REQUEST_ID: Json = {
    "description": "Names the request in the logs",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-fA-F-]{32,36}$"},
}
RETRY_AFTER: Json = {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}}


def install(app: FastAPI) -> None:
    """Complete the document of an app once, when it is first asked for."""
    framework = app.openapi

    def openapi() -> Json:
        if app.openapi_schema is None:
            _complete(framework(), app)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: Json, app: FastAPI) -> None:
    endpoints = {
        (method.lower(), context.path_format): context.endpoint
        for context in iter_route_contexts(app.routes)
        if hasattr(context, "path_format")
        for method in context.methods or ()
    }
    public = {(row.method.lower(), row.path) for row in permissions().values() if row.public}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            refusals = set(_general(operation, path=path, public=(method, path) in public))
            refusals |= _of_modules(endpoints[method, path])
            _document(operation, refusals)
            _require(operation)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


def _general(operation: Json, *, path: str, public: bool) -> Iterator[type[ZhiwangError]]:
    """What the edge and the framework answer, whatever the route does."""
    yield from (ZhiwangError, Unavailable, TooManyRequests, BadRequest)
    parameters = operation.get("parameters", [])
    if not public:
        yield from (Unauthenticated, Forbidden)
    if "{" in path:
        yield NotFound
    if parameters:
        yield Malformed
    if any(parameter["name"].lower() == "if-match" for parameter in parameters):
        yield from (PreconditionRequired, PreconditionFailed)
    # Any call may come with a body, wanted or not.
    yield from (TooLarge, BodyStalled)
    if "requestBody" in operation:
        yield from (NotJson, Malformed)


def _of_modules(endpoint: Callable[..., Any] | None) -> set[type[ZhiwangError]]:
    """The errors that stand in the globals of the endpoint's module and of the modules these lead to."""
    seen: set[str] = set()
    waiting = [getattr(endpoint, "__module__", "")]
    found: set[type[ZhiwangError]] = set()
    for _ in range(DEEP):
        names = {name for name in waiting if name.startswith(OURS) and not name.startswith(NOT_FOLLOWED)} - seen
        seen |= names
        waiting = []
        for name in names:
            values = list(vars(sys.modules[name]).values())
            found |= {value for value in values if _is_error(value)}
            waiting += _led_to(values)
    return {error for error in found if error.status != ZhiwangError.status}


def _led_to(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, ModuleType):
            yield value.__name__
        elif isinstance(value, FunctionType):
            yield value.__module__


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, ZhiwangError)


def _require(operation: Json) -> None:
    """Say what a parameter must be, where the code takes less so that it can refuse it in its own words."""
    for parameter in operation.get("parameters", []):
        schema = parameter.get("schema", {})
        if any(choice.get("type") == "null" for choice in schema.get("anyOf", [])):
            # A parameter cannot be null, only missing.
            choices = [choice for choice in schema.pop("anyOf") if choice.get("type") != "null"]
            schema.update(choices[0] if len(choices) == 1 else {"anyOf": choices})
        if schema.pop(REQUIRED, False):
            parameter["required"] = True
            schema.pop("default", None)


def _document(operation: Json, refusals: set[type[ZhiwangError]]) -> None:
    by_status: dict[int, set[type[ZhiwangError]]] = defaultdict(set)
    for error in refusals:
        by_status[error.status].add(error)
    responses = operation["responses"]
    responses.pop("422", None)
    for status, errors in sorted(by_status.items()):
        responses[str(status)] = _refusal(status, sorted(errors, key=lambda error: error.code))
    for response in responses.values():
        response.setdefault("headers", {}).setdefault("X-Request-Id", REQUEST_ID)


def _refusal(status: int, errors: list[type[ZhiwangError]]) -> Json:
    codes = [error.code for error in errors]
    response: Json = {
        "description": "; ".join(f"`{error.code}` {error.title_zh} {error.title_en}" for error in errors),
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "allOf": [{"$ref": "#/components/schemas/Problem"}],
                    "type": "object",
                    "properties": {"code": {"enum": codes}, "status": {"const": status}},
                }
            }
        },
    }
    if status in {TooManyRequests.status, Unavailable.status}:
        response["headers"] = {"Retry-After": RETRY_AFTER}
    return response
