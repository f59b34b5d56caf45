"""Reference data over HTTP: who sees what, and ETags that spare the second reading."""

import pytest

from backend.seed.territory import DEMO_GRIDS, grids
from tests.world import World

SHARED = ("territory", "event-classes", "standards", "queues", "calendar", "kinds")


@pytest.mark.parametrize("name", [*SHARED, "grids"])
def test_reference_data_needs_a_login(untouched_world: World, name: str) -> None:
    answer = untouched_world.client.get(f"/reference/v1/{name}")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("name", [*SHARED, "grids"])
def test_an_unchanged_answer_is_not_sent_again(untouched_world: World, name: str) -> None:
    headers = untouched_world.office("operator")
    first = untouched_world.client.get(f"/reference/v1/{name}", headers=headers)
    assert first.status_code == 200
    tag = first.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = untouched_world.client.get(f"/reference/v1/{name}", headers={**headers, "If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    other = untouched_world.client.get(f"/reference/v1/{name}", headers={**headers, "If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


def test_a_worker_gets_the_grids_he_holds_with_polygon_and_epoch(world: World) -> None:
    device = world.handheld("worker03")
    [grid] = world.client.get("/reference/v1/grids", headers=device.headers).json()["grids"]
    assert grid["id"] == DEMO_GRIDS[2]
    assert grid["epoch"] == 1
    assert grid["synthetic"] is True
    assert grid["polygon"]["type"] == "Polygon"


def test_office_roles_get_the_grids_of_their_territory_without_polygons(world: World) -> None:
    for login, prefix in (("supervisor", "4403"), ("supervisor-pingshan", "440310"), ("handler-street", "440310001")):
        entry = world.logins[login]
        token = world.client.post("/auth/v1/login", json={"login": login, "password": entry.password}).json()
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        found = world.client.get("/reference/v1/grids", headers=headers).json()["grids"]
        assert [grid["id"] for grid in found] == [grid.id for grid in grids() if grid.id.startswith(prefix)]
        assert all("polygon" not in grid for grid in found)


def test_the_code_tables_hold_what_a_case_needs(world: World) -> None:
    headers = world.office("operator")

    def read(name: str, key: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = world.client.get(f"/reference/v1/{name}", headers=headers).json()[key]
        return found

    queues = {queue["code"] for queue in read("queues", "queues")}
    assert {"12345-4403", "12345-440310", "verify-population"} <= queues
    assert "urban-management" in {unit["code"] for unit in read("departments", "departments")}
    classes = {(one["scheme"], one["code"]) for one in read("event-classes", "event_classes")}
    standards = {one["code"]: one for one in read("standards", "standards")}
    for one in standards.values():
        if one["scheme"] != "verification" and one["class_code"]:
            assert (one["scheme"], one["class_code"]) in classes
    limits = {
        "0102-missing": (2, "urgent_hours"),
        "0102-broken": (4, "work_hours"),
        "0102-rattling": (2, "work_days"),
        "0102-sunken": (5, "work_days"),
    }
    assert {code: (standards[code]["limit_amount"], standards[code]["limit_clock"]) for code in limits} == limits
    days = {day["day"]: day["is_working"] for day in read("calendar", "calendar")}
    assert (days["2026-10-01"], days["2026-10-10"], days["2026-10-12"]) == (False, True, True)
    assert not any(str(day).startswith("2027") for day in days)


def test_each_kind_comes_with_its_form(world: World) -> None:
    found = world.client.get("/reference/v1/kinds", headers=world.office("operator")).json()["kinds"]
    assert found.keys() == {"person", "house", "organisation", "component", "event", "case", "task"}
    assert [kind for kind, form in found.items() if not form["collected"]] == ["case", "task"]
    assert found["person"]["title"] == "人口"
    assert "id_number" in found["person"]["schema"]["properties"]
    assert found["house"]["stewarded"] == {"tenure": "houses"}
