"""Clients of older forms beside current ones, through the real API (rule 11)."""

from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import text

from backend.core.db import engine_for, transaction
from sync.canonical import canonical, hash_of
from sync.projection import CURRENT
from tests.world import Handheld, Json, World, document, edited

HIDDEN_FROM_1 = {"inflow_reason": "work", "inflow_date": "2026-03-01", "of_a_newer_client": "x"}


class Older(Handheld):
    """A handheld whose app speaks an older form."""

    version = 1

    @property
    def headers(self) -> dict[str, str]:
        return {**super().headers, "X-Schema-Version": str(self.version)}


@pytest.fixture
def pair(world: World) -> tuple[Handheld, Older]:
    return pair_of(world)


def pair_of(world: World) -> tuple[Handheld, Older]:
    """A current handheld and one of version 1, of the same worker."""
    other = world.handheld()
    return world.handheld(), Older(**{name: getattr(other, name) for name in ("client", "login", "key", "tokens")})


def test_an_older_client_neither_sees_nor_loses_what_it_does_not_know(pair: tuple[Handheld, Older]) -> None:
    new, old = pair
    first = document(new.grids()[0], name="合成", phone="1", employer="某公司") | HIDDEN_FROM_1
    new.push("person", first)
    (held,) = old.pull("person")
    assert HIDDEN_FROM_1.keys().isdisjoint(held)
    assert (held["work_unit"], "employer" in held) == ("某公司", False)
    change = edited(held, phone="2", work_unit="另一公司")
    assert old.push("person", change, held) == [], "it stands as pushed"
    (now,) = [one for one in new.pull("person") if one["phone"] == "2"]
    assert {name: now[name] for name in HIDDEN_FROM_1} == HIDDEN_FROM_1
    assert now["employer"] == "另一公司"
    assert [mutation["outcome"] for mutation in old.outcomes()["mutations"]] == ["applied"]


def test_fields_of_a_newer_client_are_kept_and_counted(pair: tuple[Handheld, Older]) -> None:
    new, _ = pair
    first = document(new.grids()[0], name="合成", of_a_newer_client="x", another={"y": 1})
    new.push("person", first)
    (held,) = new.pull("person")
    assert (held["of_a_newer_client"], held["another"]) == ("x", {"y": 1})
    with transaction(engine_for("zw_worker")) as session:
        query = text("SELECT CAST(detail->>'unknown' AS integer) FROM audit_entry WHERE action = 'document_written'")
        assert session.connection().execute(query).scalar_one() == 2


def test_edits_of_both_meet_field_by_field(pair: tuple[Handheld, Older]) -> None:
    new, old = pair
    first = document(new.grids()[0], address="示例路1号", area_dm2=8950, hazards=["wires"])
    new.push("house", first)
    (held,) = old.pull("house")
    assert held["area_m2"] == 89
    new.push("house", edited(first, hazards=["wires", "gas"], area_dm2=8960), first)
    (answer,) = old.push("house", edited(held, address="示例路2号"), held)
    assert (answer["address"], answer["area_m2"], "hazards" in answer) == ("示例路2号", 89, False)
    (now,) = [one for one in new.pull("house") if one["rev"] == 3]
    assert (now["address"], now["area_dm2"], now["hazards"]) == ("示例路2号", 8960, ["wires", "gas"])
    conflicts = [found for mutation in old.outcomes()["mutations"] for found in mutation["conflicts"]]
    assert [(one["field"], one["hardness"]) for one in conflicts] == [("address", "soft")]


def test_a_hard_conflict_on_a_renamed_field_is_one(pair: tuple[Handheld, Older]) -> None:
    new, old = pair
    first = document(new.grids()[0], name="合成", employer="甲")
    new.push("person", first)
    (held,) = old.pull("person")
    new.push("person", edited(first, employer="乙"), first)
    (answer,) = old.push("person", edited(held, work_unit="丙"), held)
    assert answer["work_unit"] == "乙"
    assert old.outcomes()["mutations"][0]["outcome"] == "conflict"


def test_a_create_in_an_older_form_is_whole_and_its_repetition_after_an_update_is_one(
    pair: tuple[Handheld, Older],
) -> None:
    """The answer was lost, the app updated and its records migrated; then the same change goes out again."""
    new, old = pair
    first = document(new.grids()[0], address="示例路1号", area_m2=89)
    assert old.push("house", first) == []
    (held,) = new.pull("house")
    assert (held["area_dm2"], "area_m2" in held) == (8900, False)
    migrated = {name: value for name, value in first.items() if name != "area_m2"} | {"area_dm2": 8900}
    assert new.push("house", migrated) == []
    assert new.outcomes()["quarantined"] == []


def test_a_wrong_value_of_an_older_form_is_refused_and_kept_in_its_form(
    pair: tuple[Handheld, Older],
) -> None:
    new, old = pair
    wrong = document(new.grids()[0], address="示例路1号", area_m2="89")
    old.push("house", wrong)
    (row,) = old.outcomes()["quarantined"]
    assert (row["code"], row["places"]) == ("invalid", ["area_dm2: int_type"])
    with transaction(engine_for("zw_worker")) as session:
        kept = session.connection().execute(text("SELECT schema_version FROM quarantine")).scalar_one()
    assert kept == old.version


def test_tombstones_digest_and_receipt_are_in_the_clients_form(pair: tuple[Handheld, Older]) -> None:
    new, old = pair
    grid = new.grids()[0]
    kept, gone = (document(grid, address=name, area_dm2=8950, hazards=["gas"]) for name in ("一号", "二号"))
    new.push("house", kept)
    new.push("house", gone)
    held = {one["id"]: one for one in old.pull("house")}
    new.push("house", {**gone, "_deleted": True, "op": kept["op"]}, gone)
    (dead,) = old.pull("house")
    assert (dead["_deleted"], dead["address"]) == (True, "")
    expected = sha256(canonical(held[kept["id"]]) + b"\n").hexdigest()
    for handheld, due in ((old, True), (new, False)):
        answer = handheld.client.get("/sync/v1/house/digest", headers=handheld.headers).json()["grids"][grid]
        assert (answer["count"], answer["hash"] == expected) == (1, due)
        assert _state(handheld, "house", held[kept["id"]]) == ("applied" if due else "missing")


def _state(handheld: Handheld, kind: str, held: Json) -> str:
    item = {"kind": kind, "id": held["id"], "op": held["op"], "hash": hash_of(held)}
    answer: Any = handheld.client.post("/sync/v1/receipt", json={"records": [item]}, headers=handheld.headers)
    return str(answer.json()["records"][0]["state"])


@pytest.mark.parametrize(("version", "status"), [(0, 426), (1, 200), (2, 200), (CURRENT, 200), (CURRENT + 9, 200)])
def test_forms_from_the_oldest_on_are_served(untouched_world: World, version: int, status: int) -> None:
    handheld = untouched_world.handheld()
    headers = {**handheld.headers, "X-Schema-Version": str(version)}
    answer = untouched_world.client.get("/sync/v1/person/pull", headers=headers)
    assert answer.status_code == status
    assert status == 200 or answer.json() | {"code": "schema_too_old", "oldest": 1} == answer.json()
