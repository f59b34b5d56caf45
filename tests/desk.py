"""The desk of conflicts and quarantined rows as its users use it, over the API."""

from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from backend.core.db import engine_for
from tests.world import Handheld, Json, World, document, edited

PERSON: Json = {"name": "欧阳绝密", "phone": "13800138000", "sex": "male"}


def one(statement: str, **given: Any) -> Any:
    """A single value, as the worker's role sees it."""
    with Session(engine_for("zw_worker")) as session:
        return session.connection().execute(text(statement), given).scalar_one()


class Desk:
    """Office logins over one client, with the calls of `/reviews/v1`."""

    def __init__(self, world: World) -> None:
        self.client = world.client
        self._world = world
        self._headers: dict[str, dict[str, str]] = {}

    def headers(self, login: str = "supervisor") -> dict[str, str]:
        """Of a demo account, logged in once."""
        if login not in self._headers:
            entry = self._world.logins[login]
            answer = self.client.post("/auth/v1/login", json={"login": login, "password": entry.password})
            assert answer.status_code == 200, answer.text
            self._headers[login] = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return self._headers[login]

    def get(self, path: str, login: str = "supervisor", **query: Any) -> Any:
        answer = self.client.get(f"/reviews/v1/{path}", params=query, headers=self.headers(login))
        assert answer.status_code == 200, answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.json()

    def post(self, path: str, body: Json, *, login: str = "supervisor", version: int | None = None) -> Any:
        named = {} if version is None else {"If-Match": f'"{version}"'}
        return self.client.post(f"/reviews/v1/{path}", json=body, headers={**self.headers(login), **named})

    def conflicts(self, **query: Any) -> list[Json]:
        return list(self.get("conflicts", **query)["conflicts"])

    def resolve(
        self, conflict: Json, choice: str, *, reason: str = "checked_on_site", login: str = "supervisor", **more: Any
    ) -> Any:
        """Decide one conflict over the version it was read with."""
        body = {"decisions": [{"conflict_id": conflict["id"], "choice": choice, **more}], "reason": reason}
        path = f"documents/{conflict['document_id']}/resolve"
        return self.post(path, body, login=login, version=conflict["version"])

    def undo(self, conflict: Json, version: int, *, reason: str = "decided_wrongly") -> Any:
        return self.post(f"conflicts/{conflict['id']}/undo", {"reason": reason}, version=version)

    def rows(self, **query: Any) -> list[Json]:
        """Quarantined rows."""
        return list(self.get("quarantine", **query)["rows"])

    def decide(self, row: Json, action: str, reason: str, *, login: str = "supervisor", **more: Any) -> Any:
        """Decide one quarantined row."""
        return self.post(f"quarantine/{row['id']}/{action}", {"reason": reason, **more}, login=login)


def reviews(handheld: Handheld, since: int = 0) -> list[Json]:
    """What a handheld hears from the desk after a number."""
    answer = handheld.client.get("/sync/v1/outcomes", params={"reviewed_since": since}, headers=handheld.headers)
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert page["reviews_next"] == (page["reviews"][-1]["seq"] if page["reviews"] else since)
    return list(page["reviews"])


def say(handheld: Handheld, conflict: Json, what: str, **body: Any) -> Any:
    """The collector's answer to a resolution."""
    path = f"/sync/v1/outcomes/{conflict.get('conflict', conflict['id'])}/{what}"
    return handheld.client.post(path, json=body or None, headers=handheld.headers)


def met(one: Handheld, other: Handheld, kind: str, first: Json, theirs: Json, mine: Json) -> tuple[Json, Json]:
    """Two edits of one record that met: what the server answered to the later one, and what that handheld held."""
    pushed = {**document(one.grids()[0]), **first}
    assert one.push(kind, pushed) == []
    held = next(found for found in other.pull(kind) if found["id"] == pushed["id"])
    assert one.push(kind, edited(pushed, **theirs), pushed) == []
    (answer,) = other.push(kind, edited(held, **mine), held)
    return answer, held


def stored(handheld: Handheld, conflict: Json, kind: str = "person") -> Json:
    """The record as a handheld has it after a pull."""
    handheld.pull(kind)
    return handheld.documents[conflict["document_id"]]
