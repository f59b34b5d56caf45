"""The peers of `bench.sync`, from their own packages in `bench/peers`: Kinto and a PouchDB server.

Both make each answer durable as ours does: Kinto's PostgreSQL waits for the disk, and LevelDB is told `sync`.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from backend.core.settings import PROJECT_ROOT
from backend.embedded.postgres import SUPERUSER
from bench.stack import OwnStack
from bench.sync_load import CLIENTS, Line, request
from tests.world import until

PEERS = PROJECT_ROOT / "bench" / "peers"
KINTO = PEERS / ".kinto"
KINTO_BATCH = 25
"""The most that Kinto takes at once (`batch_max_requests`)."""

Row = Mapping[str, Any]


class _Stamped(msgspec.Struct):
    last_modified: int


class _KintoPage(msgspec.Struct):
    data: list[_Stamped]


_KINTO_PAGE = msgspec.json.Decoder(_KintoPage)


class Missing(Exception):
    """A peer cannot be installed here. The text says what is missing."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running peer: its name, where it answers, and how rows become its requests."""

    name: str
    port: int
    headers: dict[str, str]
    process: subprocess.Popen[bytes]


def install() -> None:
    """Put the pinned packages of both peers into folders that Git ignores. `Missing` without node or a compiler."""
    if not (KINTO / "bin" / "uwsgi").exists():
        shutil.rmtree(KINTO, ignore_errors=True)
        print("… installing Kinto", flush=True)
        venv.create(KINTO, with_pip=True)
        pip = [str(KINTO / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _run([*pip, "-r", str(PEERS / "kinto.txt")], "Kinto needs a C compiler for uWSGI")
    if not (PEERS / "node_modules" / "express-pouchdb").exists():
        if shutil.which("npm") is None or shutil.which("node") is None:
            raise Missing("node and npm")
        print("… installing the PouchDB server", flush=True)
        _run(["npm", "ci", "--no-audit", "--no-fund", "--prefix", str(PEERS)], "npm ci")


def installed() -> bool:
    """Whether nothing is left to install."""
    there = (KINTO / "bin" / "uwsgi", PEERS / "node_modules" / "express-pouchdb")
    return all(path.exists() for path in there) and shutil.which("node") is not None


def _run(command: Sequence[str], need: str) -> None:
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Missing(f"{need}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")


@contextmanager
def kinto(stack: OwnStack, *, processes: int = 2) -> Iterator[Peer]:
    """Kinto over a database of the stack's server, under uWSGI as its own documentation has it in production."""
    stack.postgres.prepare("kinto")
    settings = stack.folder / "kinto.ini"
    # The address goes through a file that doubles percent signs.
    database = f"postgresql://{SUPERUSER}@/kinto?host={stack.postgres.socket_dir}"
    settings.write_text(_KINTO.format(database=database, limit=KINTO_BATCH))
    _run([str(KINTO / "bin" / "kinto"), "migrate", "--ini", str(settings)], "kinto migrate")
    with _listening() as listener:
        port = listener.getsockname()[1]
    options = ["--http11-socket", f"127.0.0.1:{port}", "--paste", f"config:{settings}", "--master", "--lazy-apps"]
    options += ["--processes", str(processes), "--single-interpreter", "--enable-threads", "--die-on-term"]
    options += ["--buffer-size", "65535", "--post-buffering", "65535", "--disable-logging", "--harakiri", "120"]
    token = base64.b64encode(b"writer:secret").decode()
    with _started("kinto", [str(KINTO / "bin" / "uwsgi"), *options], stack.folder) as process:
        peer = Peer("kinto", port, {"Authorization": f"Basic {token}"}, process)
        until(lambda: _answers(peer, "/v1/"), seconds=60, what=f"Kinto; see {stack.folder / 'kinto.log'}")
        put = [("/v1/buckets/b", b"{}"), *((f"/v1/buckets/b/collections/c{place}", b"{}") for place in range(CLIENTS))]
        for path, body in put:
            _must(peer, request("PUT", path, headers=peer.headers, body=body), 201)
        yield peer


def kinto_push(peer: Peer, rows: Sequence[Row], place: int) -> list[bytes]:
    """Batches of creates into the writer's own collection."""
    defaults = {"method": "PUT", "headers": {"If-None-Match": "*"}}
    items = [
        {"path": f"/buckets/b/collections/c{place}/records/{row['id']}", "body": {"data": dict(row)}} for row in rows
    ]
    return [
        request("POST", "/v1/batch", headers=peer.headers, body=_json({"defaults": defaults, "requests": part}))
        for part in _cut(items, KINTO_BATCH)
    ]


def kinto_took(status: int, body: bytes) -> None:
    """Every record of a batch was created."""
    if status != 200 or any(answer["status"] != 201 for answer in json.loads(body)["responses"]):
        raise RuntimeError(f"kinto: {status} {body[:500]!r}")


def kinto_fill(stack: OwnStack, number: int, rows: Sequence[Row]) -> None:
    """Give each collection `number` more records, by SQL, because Kinto itself would take minutes."""
    with stack.superuser("kinto") as connection:
        for place in range(CLIENTS):
            parent = f"/buckets/b/collections/c{place}"
            copies = [json.dumps({**rows[index % len(rows)], "id": str(uuid4())}) for index in range(number)]
            connection.execute(_KINTO_FILL, {"parent": parent, "copies": copies})
        connection.execute("VACUUM ANALYZE")


def kinto_pull(peer: Peer, place: int, *, limit: int, pages: int) -> Callable[[], None]:
    """Read a collection page by page, the oldest first, as `_since` and `Next-Page` have it."""

    def run() -> None:
        path = f"/v1/buckets/b/collections/c{place}/records?_sort=last_modified&_limit={limit}"
        since = ""
        with Line(peer.port) as line:
            for _ in range(pages):
                status, body = line.call(request("GET", path + since, headers=peer.headers))
                found = _KINTO_PAGE.decode(body).data if status == 200 else []
                if len(found) != limit:
                    raise RuntimeError(f"kinto: {status} {len(found)} {body[:300]!r}")
                since = f"&_since={found[-1].last_modified}"

    return run


@contextmanager
def pouch(folder: Path) -> Iterator[Peer]:
    """A PouchDB server with one database a writer."""
    data = folder / "pouch"
    data.mkdir()
    with _started("pouch", ["node", str(PEERS / "pouch.js"), str(data)], folder) as process:
        log = folder / "pouch.log"
        until(lambda: log.read_bytes().startswith(b"PORT "), seconds=60, what=f"PouchDB; see {log}")
        peer = Peer("pouch", int(log.read_text().split()[1]), {}, process)
        for place in range(CLIENTS):
            _must(peer, request("PUT", f"/w{place}", body=b"{}"), 201)
        yield peer


def pouch_push(_: Peer, rows: Sequence[Row], place: int, *, size: int) -> list[bytes]:
    """`_bulk_docs` into the writer's own database."""
    hidden = {"id", "op", "_deleted"}
    documents = [{"_id": row["id"], **{name: v for name, v in row.items() if name not in hidden}} for row in rows]
    return [request("POST", f"/w{place}/_bulk_docs", body=_json({"docs": part})) for part in _cut(documents, size)]


def pouch_took(status: int, body: bytes) -> None:
    """Every document was written."""
    if status != 201 or not all(answer.get("ok") for answer in json.loads(body)):
        raise RuntimeError(f"pouch: {status} {body[:500]!r}")


def _cut(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _answers(peer: Peer, path: str) -> bool:
    if peer.process.poll() is not None:
        raise RuntimeError(f"{peer.name} ended with {peer.process.returncode}")
    try:
        with Line(peer.port) as line:
            return line.call(request("GET", path))[0] == 200
    except OSError:
        return False


def _must(peer: Peer, message: bytes, status: int) -> None:
    with Line(peer.port) as line:
        got, body = line.call(message)
    if got != status:
        raise RuntimeError(f"{peer.name}: {got} {body[:500]!r}")


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@contextmanager
def _started(name: str, command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_KINTO = """
[app:main]
use = egg:kinto
kinto.storage_backend = kinto.core.storage.postgresql
kinto.storage_url = {database}
kinto.permission_backend = kinto.core.permission.postgresql
kinto.permission_url = {database}
kinto.cache_backend = kinto.core.cache.memory
kinto.userid_hmac_secret = benchmark
multiauth.policies = basicauth
kinto.bucket_create_principals = system.Authenticated
kinto.batch_max_requests = {limit}

[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = WARNING
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = plain
[formatter_plain]
format = %%(message)s
"""
_KINTO_FILL = """
    INSERT INTO objects (id, parent_id, resource_name, last_modified, data, deleted)
    SELECT CAST(copy AS jsonb) ->> 'id', %(parent)s, 'record',
           timestamp '2020-01-01' + number * interval '1 millisecond', CAST(copy AS jsonb) - 'id', false
    FROM unnest(CAST(%(copies)s AS text[])) WITH ORDINALITY AS made (copy, number)
"""
