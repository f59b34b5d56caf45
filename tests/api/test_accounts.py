"""Accounts, postings and grids over the API: who grants what to whom, where, and from which moment."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import engine_for
from backend.core.enums import Role
from backend.core.ids import new_id
from backend.seed.territory import DEMO_GRIDS, grids
from tests.people import PASSPHRASE, Staff, code_of
from tests.world import Json, World

DISTRICT = "440310"
ELSEWHERE = "440303"
DAY = timedelta(days=1)
FREE_GRID = next(grid.id for grid in grids() if grid.id.startswith(DISTRICT) and grid.id not in DEMO_GRIDS)
FAR_GRID = next(grid.id for grid in grids() if grid.id.startswith(ELSEWHERE))


@pytest.fixture
def staff(world: World) -> Staff:
    return Staff(world)


@pytest.fixture
def admin(world: World) -> dict[str, str]:
    return world.office("system_admin")


@pytest.fixture
def security(world: World) -> dict[str, str]:
    return world.office("security_admin")


def create(staff: Staff, headers: dict[str, str], role: Role, territory: str = DISTRICT, **more: Any) -> Any:
    body = {
        "login": f"t-{new_id()}",
        "display_name": "合成人员",
        "posting": {"role": role, "territory_code": territory, **more},
    }
    return staff.client.post("/accounts/v1/accounts", json=body, headers=headers)


def post(staff: Staff, headers: dict[str, str], account_id: str, role: Role, **posting: Any) -> Any:
    body = {"role": role, "territory_code": DISTRICT, **posting}
    return staff.client.post(f"/accounts/v1/accounts/{account_id}/postings", json=body, headers=headers)


def read(staff: Staff, headers: dict[str, str], account_id: str) -> Any:
    return staff.client.get(f"/accounts/v1/accounts/{account_id}", headers=headers)


def act(staff: Staff, headers: dict[str, str], account_id: str, action: str) -> Any:
    return staff.client.post(f"/accounts/v1/accounts/{account_id}/{action}", headers=headers)


def end_posting(staff: Staff, headers: dict[str, str], account_id: str, **body: Any) -> Any:
    posting_id = read(staff, headers, account_id).json()["posting"]["id"]
    path = f"/accounts/v1/accounts/{account_id}/postings/{posting_id}/end"
    return staff.client.post(path, json=body, headers=headers)


def own_id(staff: Staff, headers: dict[str, str]) -> str:
    found: str = staff.client.get("/auth/v1/me", headers=headers).json()["account_id"]
    return found


SEPARATE = (Role.AUDITOR, Role.SECURITY_ADMIN, Role.SYSTEM_ADMIN)
THE_REST = tuple(role for role in Role if role not in SEPARATE)


def test_each_administrator_makes_accounts_of_the_roles_he_grants(
    staff: Staff, admin: dict[str, str], security: dict[str, str]
) -> None:
    for headers, granted, refused in ((admin, THE_REST, SEPARATE), (security, SEPARATE, THE_REST)):
        for role in granted:
            department = {"department_code": "urban-management"} if role is Role.HANDLER else {}
            answer = create(staff, headers, role, **department)
            assert answer.status_code == 201, answer.text
            assert (answer.json()["temporary_password"] is None) is (role is Role.GRID_WORKER)
        for role in refused:
            answer = create(staff, headers, role)
            assert code_of(answer) == (403, "grant_refused")
            assert answer.json()["because"] == "not_yours"


def test_a_login_is_taken_once_and_the_rest_of_a_body_is_looked_at(staff: Staff, admin: dict[str, str]) -> None:
    made = staff.make(Role.OPERATOR)
    body = {"login": made["login"], "display_name": "x", "posting": {"role": "operator", "territory_code": DISTRICT}}
    assert code_of(staff.client.post("/accounts/v1/accounts", json=body, headers=admin)) == (409, "login_taken")
    assert code_of(create(staff, admin, Role.OPERATOR, "440399999")) == (404, "not_found")
    assert code_of(create(staff, admin, Role.OPERATOR, "shenzhen")) == (422, "malformed")
    assert code_of(create(staff, admin, Role.HANDLER)) == (409, "posting_conflict")
    assert code_of(create(staff, admin, Role.HANDLER, department_code="nobody")) == (404, "not_found")


def test_nobody_grants_beyond_his_own_territory(staff: Staff) -> None:
    made = staff.ready(Role.SYSTEM_ADMIN, territory_code=DISTRICT)
    headers = staff.headers(made["login"], PASSPHRASE)
    assert create(staff, headers, Role.SUPERVISOR, DISTRICT).status_code == 201
    for wider in ("", "4403", ELSEWHERE):
        assert code_of(create(staff, headers, Role.SUPERVISOR, wider)) == (404, "not_found")
    foreign = staff.make(Role.OPERATOR, territory_code=ELSEWHERE)["account_id"]
    assert code_of(read(staff, headers, foreign)) == (404, "not_found")
    assert code_of(act(staff, headers, foreign, "deactivate")) == (404, "not_found")
    assert code_of(post(staff, headers, foreign, Role.OPERATOR)) == (404, "not_found")


def test_nobody_changes_his_own_account(staff: Staff, admin: dict[str, str], security: dict[str, str]) -> None:
    for headers, role in ((admin, Role.OPERATOR), (security, Role.AUDITOR), (security, Role.SECURITY_ADMIN)):
        mine = own_id(staff, headers)
        posting_id = read(staff, headers, mine).json()["posting"]["id"]
        calls = [
            post(staff, headers, mine, role),
            staff.client.post(f"/accounts/v1/accounts/{mine}/postings/{posting_id}/end", json={}, headers=headers),
            *(act(staff, headers, mine, action) for action in ("reset-password", "reset-totp", "deactivate")),
        ]
        for answer in calls:
            assert code_of(answer) == (403, "grant_refused")
            assert answer.json()["because"] == "own_account"


def test_no_administrator_turns_the_others_people_into_his_own(
    staff: Staff, admin: dict[str, str], security: dict[str, str]
) -> None:
    """Neither by posting them anew nor by taking over their password or second factor."""
    auditor, operator = staff.make(Role.AUDITOR)["account_id"], staff.make(Role.OPERATOR)["account_id"]
    for headers, account_id, role in ((admin, auditor, Role.OPERATOR), (security, operator, Role.AUDITOR)):
        assert code_of(post(staff, headers, account_id, role)) == (403, "grant_refused")
        assert code_of(end_posting(staff, headers, account_id)) == (403, "grant_refused")
        for action in ("reset-password", "reset-totp", "activate"):
            assert code_of(act(staff, headers, account_id, action)) == (403, "grant_refused"), action
    assert code_of(act(staff, admin, auditor, "deactivate")) == (403, "grant_refused")


def test_an_auditor_never_becomes_an_administrator_not_even_after_leaving(
    staff: Staff, admin: dict[str, str], security: dict[str, str]
) -> None:
    person = staff.make(Role.AUDITOR)["account_id"]
    assert end_posting(staff, security, person).status_code == 200
    for role in (Role.SECURITY_ADMIN, Role.SYSTEM_ADMIN):
        refused = post(staff, security, person, role)
        assert code_of(refused) == (409, "posting_conflict")
        assert refused.json()["because"] == "separate_people"
    assert post(staff, security, person, Role.AUDITOR).status_code == 201


def test_what_an_account_may_do_follows_the_posting_in_force(staff: Staff, admin: dict[str, str]) -> None:
    person = staff.ready(Role.SUPERVISOR)
    headers = staff.headers(person["login"], PASSPHRASE)
    queues = "/cases/v1/queues"
    assert staff.client.get(queues, headers=headers).status_code == 200
    assert post(staff, admin, person["account_id"], Role.STEWARD).status_code == 201
    assert code_of(staff.client.get(queues, headers=headers)) == (403, "forbidden"), "from the next request on"
    assert staff.client.get("/auth/v1/me", headers=headers).json()["role"] == "data_steward"
    assert end_posting(staff, admin, person["account_id"]).status_code == 200
    assert code_of(staff.client.get("/auth/v1/me", headers=headers)) == (401, "unauthenticated")
    assert code_of(staff.log_in(person["login"], PASSPHRASE)) == (401, "login_refused")


def test_a_posting_to_come_changes_nothing_yet_and_history_is_kept(staff: Staff, admin: dict[str, str]) -> None:
    person = staff.ready(Role.SUPERVISOR)
    starts_at = (now() + DAY).isoformat()
    assert post(staff, admin, person["account_id"], Role.OPERATOR, starts_at=starts_at).status_code == 201
    shown = read(staff, admin, person["account_id"]).json()
    assert shown["posting"]["role"] == "supervisor"
    assert [(one["role"], one["ends_at"] is None) for one in shown["postings"]] == [
        ("operator", True),
        ("supervisor", False),
    ]
    headers = staff.headers(person["login"], PASSPHRASE)
    assert staff.client.get("/auth/v1/me", headers=headers).json()["role"] == "supervisor"


def test_a_worker_who_becomes_an_operator_leaves_the_handheld_behind(
    staff: Staff, world: World, admin: dict[str, str]
) -> None:
    handheld = world.handheld()
    assert world.client.get("/sync/v1/outcomes", headers=handheld.headers).status_code == 200
    assert post(staff, admin, handheld.tokens["account_id"], Role.OPERATOR).status_code == 201
    assert code_of(world.client.get("/auth/v1/me", headers=handheld.headers)) == (401, "unauthenticated")
    token = handheld.tokens["refresh_token"]
    body = {"refresh_token": token, "proof": handheld.key.proof(token)}
    assert code_of(world.client.post("/auth/v1/refresh", json=body)) == (401, "unauthenticated")


def test_a_locked_account_is_out_at_its_next_request_and_let_in_by_who_grants_its_role(
    staff: Staff, admin: dict[str, str], security: dict[str, str]
) -> None:
    person = staff.ready(Role.OPERATOR)
    headers = staff.headers(person["login"], PASSPHRASE)
    assert act(staff, security, person["account_id"], "deactivate").status_code == 204
    assert code_of(staff.client.get("/auth/v1/me", headers=headers)) == (401, "unauthenticated")
    assert code_of(staff.log_in(person["login"], PASSPHRASE)) == (401, "login_refused")
    assert read(staff, admin, person["account_id"]).json()["active"] is False
    assert act(staff, admin, person["account_id"], "activate").status_code == 204
    assert staff.log_in(person["login"], PASSPHRASE).status_code == 200
    assert code_of(staff.client.get("/auth/v1/me", headers=headers)) == (401, "unauthenticated"), "the old login ended"


def test_a_reset_password_is_temporary_and_ends_the_sessions(staff: Staff, admin: dict[str, str]) -> None:
    person = staff.ready(Role.OPERATOR)
    headers = staff.headers(person["login"], PASSPHRASE)
    given = act(staff, admin, person["account_id"], "reset-password").json()["temporary_password"]
    assert code_of(staff.client.get("/auth/v1/me", headers=headers)) == (401, "unauthenticated")
    assert code_of(staff.log_in(person["login"], PASSPHRASE)) == (401, "login_refused")
    assert staff.log_in(person["login"], given).json()["pending"] == "password_change"
    worker = staff.make(Role.GRID_WORKER)["account_id"]
    refused = act(staff, admin, worker, "reset-password")
    assert (code_of(refused), refused.json()["because"]) == ((403, "grant_refused"), "no_password")


def test_accounts_are_listed_by_page_part_and_role(staff: Staff, admin: dict[str, str]) -> None:
    def listed(headers: dict[str, str], **query: Any) -> Json:
        answer = staff.client.get("/accounts/v1/accounts", params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        page: Json = answer.json()
        return page

    every = [one["login"] for one in listed(admin, limit=200)["accounts"]]
    assert every == sorted(every)
    assert set(staff.world.logins) <= set(every)
    first = listed(admin, limit=5)
    second = listed(admin, limit=5, after=first["next"])
    assert [one["login"] for page in (first, second) for one in page["accounts"]] == every[:10]
    assert {one["login"] for one in listed(admin, text="SUPERVISOR")["accounts"]} == {
        "supervisor",
        "supervisor-pingshan",
    }
    assert {one["login"] for one in listed(admin, role="auditor")["accounts"]} == {"auditor"}
    assert listed(admin, text="%")["accounts"] == []
    seen = listed(staff.world.office("supervisor"), limit=200)["accounts"]
    assert {one["posting"]["role"] for one in seen} == {"grid_worker"}, "supervisors see their workers"
    assert "password_hash" not in str(seen)


def give(staff: Staff, headers: dict[str, str], account_id: str, grid_id: str, **dates: Any) -> Any:
    body = {"grid_id": grid_id, **dates}
    return staff.client.post(f"/accounts/v1/accounts/{account_id}/memberships", json=body, headers=headers)


def test_a_grid_is_given_and_taken_with_a_growing_epoch(staff: Staff, world: World) -> None:
    supervisor = world.office("supervisor")
    worker = staff.make(Role.GRID_WORKER)["account_id"]
    epochs = []
    for _ in range(3):
        opened = give(staff, supervisor, worker, FREE_GRID)
        assert opened.status_code == 201, opened.text
        epochs.append(opened.json()["epoch"])
        assert code_of(give(staff, supervisor, worker, FREE_GRID)) == (409, "membership_conflict")
        path = f"/accounts/v1/memberships/{opened.json()['id']}/end"
        assert staff.client.post(path, json={}, headers=supervisor).status_code == 200
        again = staff.client.post(path, json={}, headers=supervisor)
        assert (code_of(again), again.json()["because"]) == ((409, "membership_conflict"), "not_running")
    other = staff.make(Role.GRID_WORKER)["account_id"]
    epochs.append(give(staff, supervisor, other, FREE_GRID).json()["epoch"])
    assert epochs == [1, 2, 3, 4], "of the grid, whoever holds it"
    listed = staff.client.get(
        "/accounts/v1/memberships", params={"grid_id": FREE_GRID, "past": "true"}, headers=supervisor
    )
    assert [one["epoch"] for one in listed.json()["memberships"]] == [4, 3, 2, 1]
    running = staff.client.get("/accounts/v1/memberships", params={"grid_id": FREE_GRID}, headers=supervisor)
    assert [one["epoch"] for one in running.json()["memberships"]] == [4]


def test_a_grid_taken_is_out_of_a_handhelds_reach_at_its_next_request(world: World, staff: Staff) -> None:
    handheld, supervisor = world.handheld(), world.office("supervisor")
    held = handheld.grids()
    listed = staff.client.get(
        "/accounts/v1/memberships", params={"account_id": handheld.tokens["account_id"]}, headers=supervisor
    ).json()["memberships"]
    assert [one["grid_id"] for one in listed] == held
    for one in listed:
        path = f"/accounts/v1/memberships/{one['id']}/end"
        assert staff.client.post(path, json={}, headers=supervisor).status_code == 200
    assert handheld.grids() == []
    assert give(staff, supervisor, handheld.tokens["account_id"], FREE_GRID).status_code == 201
    assert handheld.grids() == [FREE_GRID]


@pytest.mark.parametrize(
    ("dates", "because"),
    [
        ({"starts_at": -1}, "in_the_past"),
        ({"starts_at": 2, "ends_at": 1}, "in_the_past"),
        ({"starts_at": 9}, "outside_posting"),
    ],
)
def test_dates_of_a_membership_lie_ahead_and_inside_the_posting(
    staff: Staff, world: World, dates: dict[str, int], because: str
) -> None:
    worker = staff.make(Role.GRID_WORKER, ends_at=(now() + 5 * DAY).isoformat())["account_id"]
    told = {name: (now() + days * DAY).isoformat() for name, days in dates.items()}
    refused = give(staff, world.office("supervisor"), worker, FREE_GRID, **told)
    assert code_of(refused) == (409, "membership_conflict")
    assert refused.json()["because"] == because


def test_a_membership_ends_with_the_posting_at_the_latest(staff: Staff, world: World) -> None:
    ends_at = now() + 5 * DAY
    worker = staff.make(Role.GRID_WORKER, ends_at=ends_at.isoformat())["account_id"]
    given = give(staff, world.office("supervisor"), worker, FREE_GRID)
    assert given.json()["ends_at"] == ends_at.isoformat().replace("+00:00", "Z")


def test_grids_and_workers_of_other_districts_are_not_found(staff: Staff, world: World, admin: dict[str, str]) -> None:
    local = staff.headers(world.logins["supervisor-pingshan"].login, world.logins["supervisor-pingshan"].password)
    here = staff.make(Role.GRID_WORKER)["account_id"]
    there = staff.make(Role.GRID_WORKER, territory_code=ELSEWHERE)["account_id"]
    assert code_of(give(staff, local, there, FREE_GRID)) == (404, "not_found")
    assert code_of(give(staff, local, here, FAR_GRID)) == (404, "not_found")
    assert code_of(give(staff, admin, here, FAR_GRID)) == (409, "membership_conflict"), "outside the worker's posting"
    assert code_of(give(staff, admin, here, "440310999999999")) == (404, "not_found")
    office = staff.make(Role.OPERATOR)["account_id"]
    assert code_of(give(staff, admin, office, FREE_GRID)) == (404, "not_found"), "no worker"
    far = give(staff, admin, there, FAR_GRID).json()["id"]
    ending = staff.client.post(f"/accounts/v1/memberships/{far}/end", json={}, headers=local)
    assert code_of(ending) == (404, "not_found")


def test_every_change_of_people_leaves_its_audit_entry(staff: Staff, world: World, admin: dict[str, str]) -> None:
    worker = staff.make(Role.GRID_WORKER)["account_id"]
    given = give(staff, world.office("supervisor"), worker, FREE_GRID).json()["id"]
    staff.client.post(f"/accounts/v1/memberships/{given}/end", json={}, headers=admin)
    end_posting(staff, admin, worker)
    act(staff, admin, worker, "deactivate")
    act(staff, admin, worker, "activate")
    query = text(
        "SELECT action, count(*) AS number FROM audit_entry WHERE object_id IN (:worker, :given) GROUP BY action"
    )
    with Session(engine_for("zw_worker")) as session:
        found = session.connection().execute(query, {"worker": worker, "given": given})
        assert {row.action: row.number for row in found} == {
            "account_created": 1,
            "posting_granted": 1,
            "membership_opened": 1,
            "membership_ended": 1,
            "posting_ended": 1,
            "account_locked": 1,
            "account_unlocked": 1,
        }


def test_an_administrator_of_a_district_gives_no_department_that_works_beyond_it(staff: Staff) -> None:
    """A handler sees what was sent to his department wherever it lies."""
    local = staff.ready(Role.SYSTEM_ADMIN, territory_code="440310001")
    headers = staff.headers(local["login"], PASSPHRASE)
    street = {"territory_code": "440310001", "department_code": "street-440310001"}
    bureau = {"territory_code": "440310001", "department_code": "urban-management"}

    def make(posting: dict[str, str]) -> Any:
        body = {
            "login": f"t-{new_id()}",
            "display_name": "合成人员",
            "posting": {"role": "department_handler", **posting},
        }
        return staff.client.post("/accounts/v1/accounts", json=body, headers=headers)

    assert make(street).status_code == 201
    assert code_of(make(bureau)) == (404, "not_found")
