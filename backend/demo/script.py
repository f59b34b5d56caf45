"""What happens on the demo day, and what must become of it. Nothing here talks to anybody.

Two workers share each grid (the one hands it over to the other), so two handhelds hold the same people and houses and
edit them while both are offline.
"""

from dataclasses import dataclass, field
from itertools import islice
from random import Random

from backend.core.enums import Kind, Outcome, QuarantineCode
from backend.demo import records
from backend.demo.client import Json
from backend.demo.handheld import Handheld
from backend.demo.ledger import Contest
from backend.demo.records import Register

HOUSES, ORGANISATIONS, COMPONENTS, EVENTS = 3, 2, 2, 2
"""How much a worker enters in a morning, besides the people of the houses."""

UNKNOWN_GRID = "440399999999999"
PUSH_ORDER = (Kind.HOUSE, Kind.PERSON, Kind.ORGANISATION, Kind.COMPONENT, Kind.EVENT)


@dataclass
class Morning:
    """Ids of what a worker entered, by what will be done with them."""

    houses: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


def morning(handheld: Handheld, register: Register, photos: list[bytes], random: Random, *, number: int) -> Morning:
    """Enter houses with the people in them, firms, components and events. `number` sets the workers apart."""
    entered = Morning()
    odd_houses = records.usual_differences(Kind.HOUSE, start=number)
    odd_people = records.usual_differences(Kind.PERSON, start=number)
    odd_components = records.usual_differences(Kind.COMPONENT, start=number)
    for house, odd in zip(register.take(register.houses, HOUSES), odd_houses, strict=False):
        people = register.people.get(house["house_code"], [])
        seen = handheld.create(Kind.HOUSE, odd(records.house_seen(house, people), random))
        entered.houses.append(seen["id"])
        for person, odd_person in zip(people, islice(odd_people, len(people)), strict=True):
            met = odd_person(records.person_seen(person, seen["id"]), random)
            entered.people.append(handheld.create(Kind.PERSON, met)["id"])
    if entered.people:
        # The last one moved: on record in the last house, met in the first.
        handheld.replicas[Kind.PERSON].edit(entered.people[-1], house_id=entered.houses[0])
    for organisation in register.take(register.organisations, ORGANISATIONS):
        handheld.create(Kind.ORGANISATION, records.organisation_seen(organisation))
    for component, odd in zip(register.take(register.components, COMPONENTS), odd_components, strict=False):
        handheld.create(Kind.COMPONENT, odd(records.component_seen(component), random))
    for _ in range(EVENTS):
        photo = handheld.photograph(random.choice(photos))
        event = records.event_seen(handheld.grid_id, random, [photo])
        entered.events.append(handheld.create(Kind.EVENT, event)["id"])
    return entered


@dataclass
class Offline:
    """One handheld without a network: edits, and what must become of each."""

    handheld: Handheld

    def edit(self, kind: Kind, document_id: str, expected: Outcome | Contest, **fields: object) -> None:
        """Change fields of a record, also to what they are."""
        document = self.handheld.replicas[kind].edit(document_id, **fields)
        self.handheld.ledger.expect(document, expected)

    def delete(self, kind: Kind, document_id: str, expected: Outcome | Contest) -> None:
        """Delete a record that was entered by mistake."""
        self.handheld.ledger.expect(self.handheld.replicas[kind].delete(document_id), expected)

    def create(self, kind: Kind, fields: Json, expected: QuarantineCode, **options: str) -> Json:
        """Enter something that the server will not take."""
        document = self.handheld.create(kind, fields, **options)
        self.handheld.ledger.expect(document, expected)
        return document

    def member_added(self, house_id: str, name: str, expected: Contest) -> None:
        """One more tenant of a house."""
        tenants = self.handheld.replicas[Kind.HOUSE].documents[house_id].get("tenants", [])
        tenant = records.member({"name": name, "id_type": None, "id_number": None, "phone": None})
        self.edit(Kind.HOUSE, house_id, expected, tenants=[*tenants, tenant])


def edit_together(first: Handheld, second: Handheld, of_first: Morning, of_second: Morning) -> None:
    """Both workers of a grid edit the same people and houses. Who comes back first makes no difference to the sums."""
    a, b = Offline(first), Offline(second)
    people, houses = of_first.people, of_first.houses
    grid = first.grid_id
    if len(people) >= 4 and len(houses) >= 2:
        _same_people(a, b, people, grid)
        _same_houses(a, b, houses, grid)
    if len(of_second.people) >= 2:
        b.edit(Kind.PERSON, of_second.people[0], Outcome.APPLIED, education="bachelor")
        # Saved without a change: a new op, the same content.
        a.edit(Kind.PERSON, of_second.people[-1], Outcome.UNCHANGED)
    for kind, ids in ((Kind.PERSON, people), (Kind.EVENT, of_first.events)):
        _enter_again(second, kind, ids[:1])


def _enter_again(handheld: Handheld, kind: Kind, ids: list[str]) -> None:
    """The same human, or the same event, under an id of its own: both stay, and the check says `duplicate`."""
    for document in (handheld.replicas[kind].documents[document_id] for document_id in ids):
        fields = {name: value for name, value in document.items() if name not in ("id", "rev", "op", "_deleted")}
        handheld.create(kind, {**fields, "photos": []})


def _same_people(a: Offline, b: Offline, people: list[str], grid: str) -> None:
    merged = Contest.of(f"{grid} 不同字段 different fields", Outcome.APPLIED, Outcome.MERGED)
    a.edit(Kind.PERSON, people[0], merged, phone="13800000001")
    b.edit(Kind.PERSON, people[0], merged, education="bachelor")
    conflict = Contest.of(f"{grid} 同一字段 the same field", Outcome.APPLIED, Outcome.CONFLICT)
    a.edit(Kind.PERSON, people[1], conflict, employer="合成单位甲")
    b.edit(Kind.PERSON, people[1], conflict, employer="合成单位乙", education="master")
    alike = Contest.of(f"{grid} 相同修改 the same edit", Outcome.APPLIED, Outcome.UNCHANGED)
    for worker in (a, b):
        worker.edit(Kind.PERSON, people[2], alike, remark="已现场核实")
    deleted = Contest.of(f"{grid} 删除与修改 a delete and an edit", Outcome.APPLIED, Outcome.CONFLICT)
    a.delete(Kind.PERSON, people[3], deleted)
    b.edit(Kind.PERSON, people[3], deleted, remark="本人在场，信息属实")
    if len(people) > 4:
        a.delete(Kind.PERSON, people[4], Outcome.APPLIED)


def _same_houses(a: Offline, b: Offline, houses: list[str], grid: str) -> None:
    members = Contest.of(f"{grid} 各添住户 one tenant each", Outcome.APPLIED, Outcome.MERGED)
    a.member_added(houses[0], "合成甲", members)
    b.member_added(houses[0], "合成乙", members)
    use = Contest.of(f"{grid} 房屋用途 the use of a house", Outcome.APPLIED, Outcome.CONFLICT)
    a.edit(Kind.HOUSE, houses[1], use, use="storage", remark="堆放杂物")
    b.edit(Kind.HOUSE, houses[1], use, use="workshop", hazards=["blocked_exit"])


def make_mistakes(handheld: Handheld, entered: Morning, *, foreign_grid: str) -> list[tuple[Kind, Json]]:
    """Rows that the server keeps for review; gives those that go out beside the ordinary push."""
    worker, person = Offline(handheld), {"name": "合成访客", "grid_id": handheld.grid_id}
    worker.create(Kind.PERSON, {**person, "grid_id": foreign_grid}, QuarantineCode.OUT_OF_SCOPE)
    worker.create(Kind.PERSON, {**person, "grid_id": UNKNOWN_GRID}, QuarantineCode.UNKNOWN_GRID)
    worker.create(Kind.PERSON, {**person, "name": 42}, QuarantineCode.INVALID)
    worker.create(Kind.PERSON, {**person, "remark": "乱\0码"}, QuarantineCode.UNREADABLE)
    if not entered.houses:
        return []
    house_id = entered.houses[-1]
    worker.create(Kind.PERSON, person, QuarantineCode.ID_TAKEN, document_id=house_id)
    return [(Kind.HOUSE, _under_a_used_op(handheld, house_id))]


def _under_a_used_op(handheld: Handheld, house_id: str) -> Json:
    """A client that forgets to make a new `op`: other content under the one that is known."""
    sent = next(entry for entry in handheld.ledger.sent if entry.id == house_id)
    document = {**handheld.replicas[Kind.HOUSE].documents[house_id], "op": sent.op, "remark": "另一内容"}
    handheld.ledger.expect(document, QuarantineCode.OP_REUSED)
    return {"newDocumentState": document}


def change_use(handheld: Handheld, house_id: str, use: str) -> str:
    """Say what a house of one's own is used for, and give what was said before. Both are edits of their own.

    Taken back after a push whose answer was lost, the row names the version before the first edit and equals it.
    Compared with that version nothing would seem to be edited; the server must compare with what it was last sent.
    """
    before = str(handheld.replicas[Kind.HOUSE].documents[house_id]["use"])
    Offline(handheld).edit(Kind.HOUSE, house_id, Outcome.APPLIED, use=use)
    return before


def edit_own_house(handheld: Handheld, house_id: str, *, remark: str) -> None:
    """An edit that nobody else makes. A second one, over a version that the first replaced, is applied as well."""
    Offline(handheld).edit(Kind.HOUSE, house_id, Outcome.APPLIED, remark=remark)
