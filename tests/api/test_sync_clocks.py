"""Clocks: a device's time is a claim, kept with the skew we measured, and orders nothing (rule 13)."""

from datetime import datetime, timedelta

from sqlalchemy import text

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from tests.world import Handheld, Json, World, document, edited

TEN_YEARS = timedelta(days=3652)
LOOSELY = timedelta(minutes=2)


def push_at(handheld: Handheld, moment: datetime, changed: Json, assumed: Json | None = None) -> None:
    row = {"newDocumentState": changed, **({"assumedMasterState": assumed} if assumed else {})}
    headers = {**handheld.headers, "X-Client-Time": moment.isoformat()}
    answer = handheld.client.post("/sync/v1/person/push", json={"rows": [row]}, headers=headers)
    assert answer.status_code == 200, answer.text


def test_a_clock_ten_years_off_orders_nothing_and_is_kept_as_a_claim(world: World) -> None:
    ahead, behind = world.handheld(), world.handheld()
    first = document(ahead.grids()[0], name="合成", phone="1")
    push_at(ahead, now() + TEN_YEARS, first)
    (held,) = behind.pull("person")
    push_at(behind, now() - TEN_YEARS, edited(held, phone="2"), held)
    assert ahead.pull("person")[-1]["phone"] == "2", "the later push stands, however old its clock"
    with transaction(engine_for("zw_worker")) as session:
        query = text("SELECT client_time - created_at AS skew FROM mutation ORDER BY seq")
        ledger = session.connection().execute(query).scalars().all()
        devices = text("SELECT id, skew_ms FROM device WHERE skew_ms IS NOT NULL")
        measured = {str(row.id): timedelta(milliseconds=row.skew_ms) for row in session.connection().execute(devices)}
    for handheld, kept, due in ((ahead, ledger[0], TEN_YEARS), (behind, ledger[1], -TEN_YEARS)):
        assert abs(kept - due) < LOOSELY
        assert abs(measured[handheld.tokens["device_id"]] - due) < LOOSELY
