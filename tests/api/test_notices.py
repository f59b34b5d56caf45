"""The inbox and the push target, through the real app."""

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from backend.core.db import engine_for, transaction
from backend.core.ids import new_id
from backend.models import Account, Device
from tests.world import Handheld, World
from workflows.notify.service import Recipient, RecipientType, tell

TARGET = {"kind": "fid", "target": "cTq1synthetic0fid00000"}


def tell_worker(login: str, key: str) -> None:
    with transaction(engine_for("zw_worker")) as session:
        account = session.exec(select(Account).where(Account.login == login)).one()
        values = {"number": "20261123-000001", "state": "dispatched"}
        tell(session, Recipient(RecipientType.ACCOUNT, account.id), key=key, template="case_changed", values=values)


def inbox(api: TestClient, handheld: Handheld, **query: Any) -> Any:
    answer = api.get("/notices/v1/inbox", params=query, headers=handheld.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_worker_reads_page_by_page_and_marks_as_read(api: TestClient, world: World) -> None:
    handheld = world.handheld()
    for number in range(3):
        tell_worker(handheld.login, f"k{number}")
    first = inbox(api, handheld, limit=2)
    assert (len(first["notices"]), first["unread"]) == (2, 3)
    assert first["notices"][0]["body"] == "您上报的事项（编号 20261123-000001）已派给处置单位。"
    second = inbox(api, handheld, limit=2, before=first["next"])
    assert (len(second["notices"]), second["next"]) == (1, None)
    read = api.post(f"/notices/v1/inbox/{first['notices'][0]['id']}/read", headers=handheld.headers)
    assert read.status_code == 200
    assert read.json()["read_at"] is not None
    assert inbox(api, handheld)["unread"] == 2


def test_a_foreign_notice_is_not_found(api: TestClient, world: World) -> None:
    mine, other = world.handheld(world.workers()[0]), world.handheld(world.workers()[1])
    tell_worker(mine.login, "k")
    notice_id = inbox(api, mine)["notices"][0]["id"]
    assert inbox(api, other) == {"notices": [], "unread": 0, "next": None}
    for foreign in (notice_id, new_id()):
        answer = api.post(f"/notices/v1/inbox/{foreign}/read", headers=other.headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert inbox(api, mine)["unread"] == 1


def test_a_handheld_says_where_it_is_found(api: TestClient, world: World) -> None:
    handheld = world.handheld()
    assert api.put("/notices/v1/push-target", json=TARGET, headers=handheld.headers).status_code == 204
    with Session(engine_for("zw_api")) as session:
        targets = session.exec(select(Device.push_target, Device.push_target_kind)).all()
    assert (TARGET["target"], TARGET["kind"]) in [tuple(row) for row in targets]


def test_an_office_login_has_no_push_target(api: TestClient, world: World) -> None:
    answer = api.put("/notices/v1/push-target", json=TARGET, headers=world.office("supervisor"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "body",
    [{}, {**TARGET, "kind": "sms"}, {**TARGET, "target": "x"}, {**TARGET, "target": "a b" * 9}, {**TARGET, "x": 1}],
)
def test_a_push_target_that_is_none_is_malformed(
    untouched_api: TestClient, untouched_world: World, body: dict[str, Any]
) -> None:
    answer = untouched_api.put("/notices/v1/push-target", json=body, headers=untouched_world.handheld().headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"before": "x"}])
def test_a_page_that_cannot_be_is_malformed(
    untouched_api: TestClient, untouched_world: World, query: dict[str, Any]
) -> None:
    answer = untouched_api.get("/notices/v1/inbox", params=query, headers=untouched_world.handheld().headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


def test_the_inbox_wants_a_login(untouched_api: TestClient) -> None:
    answers = [
        untouched_api.get("/notices/v1/inbox"),
        untouched_api.post(f"/notices/v1/inbox/{UUID(int=1)}/read"),
        untouched_api.put("/notices/v1/push-target", json=TARGET),
    ]
    assert [answer.status_code for answer in answers] == [401] * 3
