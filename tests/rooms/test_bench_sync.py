"""The parts of `make bench-sync` do what they say: the clients, the raw limit, the peers where they are installed."""

import json
import socket
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend.core.db import engine_for
from backend.core.settings import get_settings
from bench import sync_limit, sync_peers
from bench.sync import verdict
from bench.sync_load import Line, request, send
from bench.trust import People
from tests.world import World

ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst",
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3;x=y\r\nond\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfourth",
)


def _serve(listener: socket.socket, answers: list[bytes]) -> None:
    """Answer one request each, in pieces; a connection that says so is closed."""
    while answers:
        connection, _ = listener.accept()
        with connection:
            while answers and connection.recv(65536):
                answer = answers.pop(0)
                connection.sendall(answer[:20])
                connection.sendall(answer[20:])
                if b"close" in answer:
                    break


def test_a_client_reads_whole_answers_and_connects_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_serve, args=(listener, list(ANSWERS)))
        server.start()
        line = Line(listener.getsockname()[1])
        answers = [line.call(request("POST", "/x", body=b"{}")) for _ in ANSWERS]
        line.close()
        server.join()
    assert answers == [(200, b"first"), (201, b"second"), (200, b""), (200, b"fourth")]


def test_a_fault_of_one_client_ends_the_measurement() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_serve, args=(listener, [ANSWERS[0]]))
        server.start()

        def refuse(status: int, _: bytes) -> None:
            raise RuntimeError(str(status))

        with pytest.raises(RuntimeError, match="200"):
            send([listener.getsockname()[1]], [[request("GET", "/x")]], refuse)
        server.join()


def test_the_limit_writes_the_rows_that_a_push_writes(world: World) -> None:
    """As many rows of each table as a push of the same records, and a handheld pulls them all but their content."""
    handheld = world.handheld()
    (grid_id,) = handheld.grids()[:1]
    people = People()
    tables = ("document", "document_version", "mutation", "job", "audit_entry", "feed")

    def counted() -> dict[str, int]:
        with Session(engine_for("zw_worker")) as session:
            run = session.connection().execute
            return {table: run(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables}

    before = counted()
    handheld.push_rows("person", [{"newDocumentState": row} for row in people.take(3, grid_id)])
    pushed = counted()
    with Session(engine_for("zw_worker")) as session:
        author: Any = session.connection().execute(text("SELECT account_id, id FROM device")).one()
    work = sync_limit.pushes(people.take(3, grid_id), size=2, grid_id=grid_id, author=tuple(author))
    address = get_settings().worker_url().replace("+psycopg", "")
    sync_limit.push(address, [work])
    written = counted()
    assert {table: written[table] - pushed[table] for table in tables} == {
        table: pushed[table] - before[table] for table in tables
    }
    assert sync_limit.pull(address, [grid_id], limit=6, pages=1) > 0
    assert len(handheld.pull("person")) == 6


def test_the_verdict_names_what_falls_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict({"push50_vs_limit": 0.4, "conflict_vs_plain": 2.0}) == 0
    assert capsys.readouterr().out == "RESULT push50_vs_limit=0.40 conflict_vs_plain=2.00\n"
    assert verdict({"push50_vs_limit": 0.39, "conflict_vs_plain": 2.1}) == 1
    assert capsys.readouterr().out.count("short: ") == 2


@pytest.mark.skipif(not sync_peers.installed(), reason="the peers' packages are not installed (make bench-sync)")
def test_the_pouchdb_server_takes_what_it_is_sent(tmp_path: Path) -> None:
    rows = People().take(3, "440310001001001")
    with sync_peers.pouch(tmp_path) as peer:
        work = sync_peers.pouch_push(peer, rows, 0, size=2)
        send([peer.port], [work], sync_peers.pouch_took)
        with Line(peer.port) as line:
            status, body = line.call(request("GET", "/w0"))
        assert (status, json.loads(body)["doc_count"]) == (200, 3)
        with pytest.raises(RuntimeError, match="pouch"):
            send([peer.port], [[request("POST", f"/{uuid4()}/_bulk_docs", body=b"{}")]], sync_peers.pouch_took)
