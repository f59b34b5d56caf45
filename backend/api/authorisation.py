"""Every route names exactly one operation of the table, and every operation has its route: the app starts only so."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from backend.services.permissions import permissions

FRAMEWORK_PREFIX = "docs."
"""Operations of pages that the framework serves without any dependency of ours; their paths stand in the table."""


class RouteNotInTable(Exception):
    """A route without a row in `permissions.csv`, a row without a route, or a route that asks for none or for two."""


@dataclass(frozen=True, slots=True)
class Offered:
    """One route with the operations it names."""

    method: str
    path: str
    operations: tuple[str, ...]


def offered(app: FastAPI) -> Iterator[Offered]:
    """The routes of an app, with methods that differ taken apart; `HEAD` beside `GET` is one route."""
    for context in iter_route_contexts(app.routes):
        methods = sorted(context.methods or [""])
        named = tuple(_operations(getattr(context, "dependant", None)))
        for method in methods:
            if not (method == "HEAD" and "GET" in methods):
                yield Offered(method, context.path or "", named)


def check(app: FastAPI) -> None:
    """`RouteNotInTable` where app and table do not say the same."""
    table = permissions()
    framework = {(row.method, row.path): row.operation for row in table.values() if _is_framework(row.operation)}
    found: list[tuple[str, str, str]] = []
    for route in offered(app):
        names = route.operations or tuple(filter(None, [framework.get((route.method, route.path))]))
        if len(names) != 1:
            raise RouteNotInTable(f"{route.method} {route.path} names {len(names)} operations")
        found.append((names[0], route.method, route.path))
    rows = [(row.operation, row.method, row.path) for row in table.values()]
    if odd := sorted(set(found).symmetric_difference(rows)):
        raise RouteNotInTable(f"in the app or in permissions.csv only: {odd}")


def _is_framework(operation: str) -> bool:
    return operation.startswith(FRAMEWORK_PREFIX)


def _operations(dependant: Dependant | None) -> Iterator[str]:
    """The operations that the dependencies of a route name, however deep."""
    if dependant is None:
        return
    operation: Any = getattr(dependant.call, "operation", None)
    if isinstance(operation, str):
        yield operation
    for inner in dependant.dependencies:
        yield from _operations(inner)
