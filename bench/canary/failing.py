"""Requests that must fail, with canaries in path, query, headers and body of every route the product declares."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from bench.canary.answers import Recorder
from bench.canary.people import Identity

METHODS = ("get", "post", "put", "patch", "delete", "head")
Json = dict[str, Any]


ENDLESS = frozenset({"/sync/v1/stream"})
"""A stream that was granted does not end by itself: the last of the callers, a handheld, is not asked to open it."""


def fail_everywhere(client: Recorder, callers: Sequence[Mapping[str, str]], everyone: Sequence[Identity]) -> int:
    """Call every operation as every caller, in three writings; gives the number of calls."""
    described = client.get("/openapi.json").json()
    turn = itertools.cycle(everyone)
    calls = 0
    for path, method, operation in _operations(described):
        for headers in callers[:2] if path in ENDLESS else callers:
            for where in (quote(next(turn).text(), safe=""), next(turn).id_number):
                one = next(turn)
                client.request(
                    method.upper(),
                    _filled(path, where),
                    params=_query(operation, one),
                    headers={**_headers(one), **headers},
                    json=_body(described, operation, one),
                )
                calls += 1
            odd = next(turn)
            client.request(method.upper(), _filled(path, odd.phone), headers=dict(headers), content=odd.text().encode())
            calls += 1
    return calls


def _operations(described: Json) -> Iterator[tuple[str, str, Json]]:
    for path, operations in sorted(described["paths"].items()):
        for method in METHODS:
            if method in operations:
                yield path, method, operations[method]


def _filled(path: str, value: str) -> str:
    start, brace, rest = path.partition("{")
    return start + value + _filled(rest.partition("}")[2], value) if brace else path


def _query(operation: Json, one: Identity) -> dict[str, str]:
    declared = [parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
    return dict.fromkeys(declared, one.text()) | {"id_number": one.id_number, "phone": one.phone}


def _headers(one: Identity) -> dict[str, str]:
    """Headers are ASCII: the number as it is, the rest quoted."""
    return {
        "Authorization": f"Bearer {one.id_number}",
        "If-Match": one.id_number,
        "X-Schema-Version": one.phone,
        "X-Client-Time": one.id_number,
        "X-Request-Id": one.id_number,
        "X-Forwarded-For": one.phone,
        "User-Agent": quote(one.text()),
        "Referer": f"http://synthetic.invalid/?{quote(one.text())}",
        "Upload-Metadata": quote(one.text()),
        "Cookie": f"who={one.id_number}",
    }


def _body(described: Json, operation: Json, one: Identity) -> Json:
    """Every property the route knows, with a canary where something else belongs, and one it does not know."""
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    properties = described.get("components", {}).get("schemas", {}).get(name, schema).get("properties", {})
    return {**dict.fromkeys(properties, one.text()), one.address: one.text(), "id_number": [one.id_number]}
