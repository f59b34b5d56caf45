"""Our side of `bench.sync`: the product as it is deployed, with two API processes, and what its clients send."""

import json
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec

from backend.core.settings import PROJECT_ROOT
from backend.dev import SERVER_OPTIONS
from backend.seed.accounts import demo_logins
from bench.stack import OwnStack, run_module
from bench.sync_load import CLIENTS, Line, request
from tests.world import Handheld, World, until

PROCESSES = 2
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ours:
    """The running product: its database and ports, the handhelds that push and pull, and the grid of each.

    `others` are second handhelds of the same workers, for edits that meet those of the first.
    """

    database: str
    ports: tuple[int, ...]
    pids: tuple[int, ...]
    handhelds: Sequence[Handheld]
    others: Sequence[Handheld]
    grids: Sequence[str]


class _Page(msgspec.Struct):
    checkpoint: msgspec.Raw
    documents: list[msgspec.Raw]


@contextmanager
def ours(stack: OwnStack, database: str) -> Iterator[Ours]:
    """The product over a database of its own, with the demo's accounts and a handheld for each client."""
    stack.migrate(database)
    environment = stack.environment(database, LOG_LEVEL="INFO")
    run_module("bench.seed", environment=environment)
    with ExitStack() as opened:
        running = [opened.enter_context(_api(stack, database, place, environment)) for place in range(PROCESSES)]
        client: Any = httpx.Client(base_url=f"http://127.0.0.1:{running[0][0]}", timeout=60)
        world = World(client)
        workers = [entry.login for entry in demo_logins() if entry.grid_id][:CLIENTS]
        handhelds, others = ([world.handheld(login) for login in workers] for _ in range(2))
        grids = [handheld.grids()[0] for handheld in handhelds]
        ports, pids = (tuple(values) for values in zip(*running, strict=True))
        yield Ours(database, ports, pids, handhelds, others, grids)


@contextmanager
def _api(stack: OwnStack, database: str, place: int, environment: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    log = stack.folder / f"{database}-{place}.log"
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("ab") as written:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "backend.main:app", "--fd", str(listener.fileno()), *SERVER_OPTIONS]
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdout=written, stderr=written, pass_fds=(listener.fileno(),)
        )
        try:
            until(lambda: _ready(port, process), seconds=90, what=f"the API; see {log}")
            yield port, process.pid
        finally:
            process.terminate()
            process.wait(20)


def _ready(port: int, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the API ended with {process.returncode}")
    try:
        with Line(port) as line:
            return line.call(request("GET", "/health/ready"))[0] == 200
    except OSError:
        return False


def pushes(handheld: Handheld, rows: Sequence[Row], *, size: int, bases: Sequence[Row] | None = None) -> list[bytes]:
    """Push requests of `size` rows. `bases` are the versions that the rows were edited from."""
    given = [
        {"newDocumentState": row} | ({"assumedMasterState": bases[place]} if bases else {})
        for place, row in enumerate(rows)
    ]
    return [
        request(
            "POST",
            "/sync/v1/person/push",
            headers=handheld.headers,
            body=json.dumps({"rows": given[start : start + size]}, ensure_ascii=False).encode(),
        )
        for start in range(0, len(given), size)
    ]


def took(status: int, body: bytes) -> None:
    """Every row of the push stands as it was pushed."""
    if status != 200 or body != b"[]":
        raise RuntimeError(f"ours: {status} {body[:500]!r}")


def conflicted(status: int, body: bytes) -> None:
    """The push was taken, and at least one row came back as it stands on the server."""
    if status != 200 or body == b"[]":
        raise RuntimeError(f"ours: {status} {body[:500]!r}")


def edited(row: Row) -> Row:
    """The record with another phone number, as its handheld would push it next."""
    return {**row, "phone": f"1{random.randrange(30, 99)}{random.randrange(10**8):08d}", "op": str(uuid4())}


def pull(side: Ours, place: int, *, limit: int, pages: int) -> Callable[[], None]:
    """Pull the first pages of a handheld's collection, as a device does that was enrolled anew."""
    headers = side.handhelds[place].headers

    def run() -> None:
        at = ""
        with Line(side.ports[place % len(side.ports)]) as line:
            for _ in range(pages):
                status, body = line.call(request("GET", f"/sync/v1/person/pull?limit={limit}{at}", headers=headers))
                page = msgspec.json.decode(body, type=_Page) if status == 200 else None
                if page is None or len(page.documents) != limit:
                    raise RuntimeError(f"ours: {status} {body[:300]!r}")
                at = f"&checkpoint={quote(bytes(page.checkpoint))}"

    return run
