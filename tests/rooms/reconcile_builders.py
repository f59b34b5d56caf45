"""A town for tests of the bulk reconciliation: its register, and what was collected of it. All people are synthetic."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core.enums import Kind, Role
from backend.models import Account, Posting, Reconciliation, ReconciliationLink
from backend.services.sessions import Caller
from tests.rooms.crosscheck_builders import GRID, NEXT_GRID, Entries, business_records
from workflows.reconcile import service

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
SURNAMES = "王李张刘陈杨黄赵吴周"
GIVEN = ("伟强", "芳芳", "丽娜", "建国", "桂英", "志明", "秀兰", "海燕", "文博", "晓东")


def id_number(birth: str, number: int) -> str:
    """The id number of somebody born on a day, with the right check character."""
    digits = f"440310{birth.replace('-', '')}{number % 1000:03}"
    total = sum(int(digit) * weight for digit, weight in zip(digits, WEIGHTS, strict=True))
    return digits + "10X98765432"[total % 11]


def person(number: int, **more: Any) -> dict[str, Any]:
    """A person of the register; a number is always the same one."""
    birth = f"19{50 + number % 50}-{1 + number % 12:02}-{1 + number % 28:02}"
    return {
        "id_type": "citizen_id",
        "id_number": id_number(birth, number),
        "name": SURNAMES[number % 10] + GIVEN[number // 10 % 10],
        "sex": "male" if number % 2 else "female",
        "birth_date": birth,
        "phone": f"138{number:08}",
        "registered_address": f"坪山街道六联社区示例路{number}号{1 + number % 9}栋{101 + number}",
        **more,
    }


def swapped(text: str, place: int = 10) -> str:
    """A typing error: two neighbours change places, or the one is another digit."""
    if text[place] != text[place + 1]:
        return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    return text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]


def steward(session: Session, territory_code: str = "4403") -> Caller:
    """A data steward; the account is one of the demo's."""
    account_id = session.exec(
        select(Posting.account_id)
        .where(Posting.role == Role.STEWARD)
        .join(Account, col(Account.id) == Posting.account_id)
    ).first()
    assert account_id is not None
    return Caller(account_id, Role.STEWARD, None, territory_code, None)


@dataclass
class Town:
    """Eight people in the register. Collected: exact, id wrong, id and phone wrong, not registered, twice, moved."""

    session: Session
    folder: Path
    documents: dict[str, UUID] = field(default_factory=dict)

    def build(self) -> "Town":
        register = [person(number) for number in range(1, 8)] + [person(8, grid_id=NEXT_GRID)]
        business_records(self.session, self.folder, "population", *register)
        entries = Entries(self.session)
        one, two, three, eight = person(1), person(2), person(3), person(8)
        wrong = swapped(two["id_number"])
        self._collect(entries, "exact", one)
        self._collect(entries, "by_phone", two | {"id_number": wrong, "name": two["name"][:2] + "娜"})
        both = {"id_number": swapped(three["id_number"]), "phone": swapped(three["phone"], 9)}
        self._collect(entries, "probable", three | both)
        self._collect(entries, "absent", person(900))
        self._collect(entries, "twice", one | {"phone": "13711112222"})
        moved = {"id_number": swapped(eight["id_number"]), "phone": swapped(eight["phone"], 9)}
        self._collect(entries, "moved", eight | moved)
        return self

    def _collect(self, entries: Entries, name: str, fields: dict[str, Any]) -> None:
        self.documents[name] = entries.document(Kind.PERSON, fields, grid_id=GRID).id


def run_to_end(session: Session, run: Reconciliation) -> int:
    """Make all steps of a run here, without jobs; gives how many there were."""
    steps = 0
    while run.state == "running":
        service.run_step(session, run_id=run.id, step=run.step)
        session.refresh(run)
        steps += 1
    return steps


def links(session: Session, run: Reconciliation) -> Sequence[ReconciliationLink]:
    query = select(ReconciliationLink).where(ReconciliationLink.run_id == run.id)
    return session.exec(
        query.order_by(col(ReconciliationLink.document_id)).execution_options(populate_existing=True)
    ).all()
