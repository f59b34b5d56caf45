"""The line through the whole system, on running processes: a push becomes a case, and its outcome comes back."""

import base64
import io
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import httpx
import pytest
import redis
from PIL import Image

from backend.core.ids import new_id
from backend.embedded.valkey import EmbeddedValkey
from tests.live import Live
from tests.world import Handheld, World, document, until

PLACE = {"lat": 226900000, "lon": 1143400000, "datum": "wgs84"}


TO_THE_END: list[tuple[str, dict[str, str]]] = [
    ("claim", {}),
    ("dispatch", {"department_code": "urban-management", "reason": "responsible_unit"}),
    ("close", {"outcome": "resolved", "note": "合成说明", "reason": "confirmed_on_site"}),
]


@pytest.fixture
def world(live: Live) -> Iterator[World]:
    """The helpers of `tests.world` over a real connection; the two clients are used alike."""
    with httpx.Client(base_url=live.url, timeout=30) as client:
        over_http: Any = client
        yield World(over_http)


def _photo() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((640, 480), 80).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def _send_photo(handheld: Handheld, photo_id: str, content: bytes) -> None:
    """A tus upload in two pieces."""
    declared = {"photo_id": photo_id, "sha256": sha256(content).hexdigest(), "filetype": "image/jpeg"}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in declared.items())
    headers = {**handheld.headers, "Tus-Resumable": "1.0.0"}
    created = handheld.client.post(
        "/media/v1/uploads",
        headers={**headers, "Upload-Length": str(len(content)), "Upload-Metadata": metadata},
    )
    assert created.status_code == 201, created.text
    half = len(content) // 2
    for start, piece in ((0, content[:half]), (half, content[half:])):
        answer = handheld.client.patch(
            created.headers["Location"],
            content=piece,
            headers={**headers, "Upload-Offset": str(start), "Content-Type": "application/offset+octet-stream"},
        )
        assert answer.status_code == 204, answer.text


def _counts(world: World) -> Any:
    return world.client.get("/overview/v1/counts").json()


def _idle(world: World) -> bool:
    jobs = _counts(world)["jobs"]
    return not jobs.get("ready") and not jobs.get("running")


def _event(grid: str, photo_id: str, content: bytes) -> dict[str, Any]:
    entry = {
        "photo_id": photo_id,
        "sha256": sha256(content).hexdigest(),
        "size": len(content),
        "mime": "image/jpeg",
    }
    return document(
        grid,
        class_code="0101",
        description="合成描述：路面有垃圾",
        occurred_at="2026-03-02T09:30:00+08:00",
        location=PLACE,
        photos=[entry],
    )


def test_a_push_becomes_a_case_and_its_outcome_comes_back(world: World) -> None:
    handheld = world.handheld()
    content, photo_id = _photo(), str(new_id())
    event = _event(handheld.grids()[0], photo_id, content)

    assert handheld.push("event", event) == []
    _send_photo(handheld, photo_id, content)
    until(lambda: _counts(world)["photos"] == {"processed": 1}, what="photo processed")
    until(lambda: bool(_counts(world)["cases"]), what="case opened")

    desk = world.office("supervisor")
    (case,) = world.client.get("/cases/v1/cases", headers=desk).json()["cases"]
    assert case["deadline_at"] > case["opened_at"]
    for action, body in TO_THE_END:
        current = world.client.get(f"/cases/v1/cases/{case['id']}", headers=desk)
        answer = world.client.post(
            f"/cases/v1/cases/{case['id']}/actions/{action}",
            json=body,
            headers={**desk, "If-Match": current.headers["ETag"]},
        )
        assert answer.status_code == 200, answer.text
    until(lambda: _idle(world), what="jobs done")

    (outcome,) = [entry for entry in handheld.pull("case") if not entry["_deleted"]]
    assert (outcome["id"], outcome["source_id"]) == (case["id"], event["id"])
    assert outcome["state"] == "closed"
    inbox = world.client.get("/notices/v1/inbox", headers=handheld.headers).json()
    assert inbox["unread"] >= 1


def test_a_worker_killed_and_a_broker_flushed_lose_nothing(world: World, live: Live, valkey: EmbeddedValkey) -> None:
    handheld = world.handheld()
    grid = handheld.grids()[0]
    broker = redis.Redis.from_url(valkey.redis_url())
    sent = 0
    for fault in (lambda: live.kill("worker"), broker.flushall, live.start_worker):
        rows = [{"newDocumentState": document(grid, name=f"合成{number}")} for number in range(40)]
        sent += len(rows)
        handheld.push_rows("person", rows)
        fault()
    until(lambda: sum(_counts(world)["verdicts"].values()) == sent, seconds=90, what="one verdict each")
    until(lambda: _idle(world), seconds=60, what="jobs done")
    counts = _counts(world)
    assert counts["mutations"] == {"applied": sent}
    assert counts["jobs"].get("dead", 0) == 0
