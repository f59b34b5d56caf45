"""Declarations beside records: which of them speaks, and which are checked again. People are synthetic."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.enums import DeclarationState, Kind, Role, SourceType, VerdictKind
from backend.core.ids import new_id
from backend.models import Declaration, DeclarationVersion, Job, Verdict
from backend.models.base import Json
from backend.services import counterparts, declaration_schemas, records
from backend.services.sealing import Vault
from tests.people import new_account
from tests.rooms.crosscheck_builders import ADDRESS, GRID, HOUSE_CODE, LI, ZHANG, Entries
from workflows.cases import visits
from workflows.crosscheck import declared, service, touched, what_if
from workflows.crosscheck.entries import load
from workflows.crosscheck.facts import Said, Source
from workflows.crosscheck.lookup import gather


class Declared:
    """Declarations written as the door leaves them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.account_id = new_account(session, Role.DECLARATION_CHANNEL).id

    def one(
        self, fields: Json, kind: Kind = Kind.PERSON, *, at: datetime, state: DeclarationState | None = None
    ) -> Source:
        declaration_id = new_id()
        (row,) = records.seal_rows(self.session, [(kind, declaration_id, fields)])
        content: Json = {"body": row.body, "sealed": row.sealed, "version": 1, "declared_at": at, "created_at": at}
        found: Json = {"id_index": row.indexes.id_index, "natural_key": row.indexes.natural_key}
        ours: Json = {"id": declaration_id, "kind": kind, "account_id": self.account_id, "updated_at": at}
        state = state or DeclarationState.IN_FORCE
        self.session.add(Declaration(**ours, **content, **found, state=state))
        self.session.flush()
        self.session.add(DeclarationVersion(declaration_id=declaration_id, **content))
        self.session.flush()
        return Source(SourceType.DECLARATION, declaration_id, 1)


@pytest.fixture
def said(session: Session) -> Declared:
    return Declared(session)


def words(session: Session, *sources: Source) -> list[Said]:
    entries = load(session, sources).entries
    asked = [(entry, records.indexes(entry.kind, dict(entry.fields))) for entry in entries]
    return list(declared.words(session, asked, Vault(session)))


def test_the_latest_declaration_in_force_speaks_and_the_others_do_not(session: Session, said: Declared) -> None:
    entries, moment = Entries(session), now()
    house = entries.document(Kind.HOUSE, {"house_code": HOUSE_CODE, "address": ADDRESS})
    person, stranger = (entries.document(Kind.PERSON, fields) for fields in (ZHANG, LI))
    said.one(ZHANG | {"phone": "1"}, at=moment - timedelta(days=2))
    said.one(ZHANG | {"phone": "2", "house_id": str(house.id)}, at=moment - timedelta(days=1))
    said.one(ZHANG | {"phone": "3"}, at=moment, state=DeclarationState.WITHDRAWN)
    (word,) = words(session, person, stranger)
    assert (word.entry.source, word.dataset, word.fields["phone"]) == (person, "declarations", "2")
    assert (word.fields["house_code"], word.fields["address"]) == (HOUSE_CODE, ADDRESS), "as departments write it"


def test_records_speak_about_declarations_by_number_and_by_code(session: Session, said: Declared) -> None:
    entries, moment = Entries(session), now()
    entries.document(Kind.PERSON, ZHANG | {"phone": "1"}, deleted=True)
    entries.document(Kind.PERSON, ZHANG | {"phone": "2"})
    entries.document(Kind.HOUSE, {"house_code": HOUSE_CODE, "address": ADDRESS})
    person = said.one(ZHANG, at=moment)
    house = said.one({"house_code": HOUSE_CODE, "address": "合成路1号"}, Kind.HOUSE, at=moment)
    found = {word.entry.source: word for word in words(session, person, house, said.one(LI, at=moment))}
    assert {source: word.dataset for source, word in found.items()} == {person: "entries", house: "entries"}
    assert (found[person].fields["phone"], found[house].fields["address"]) == ("2", ADDRESS)


def test_a_scope_has_records_reports_and_declarations_in_turn(session: Session, said: Declared) -> None:
    person = Entries(session).document(Kind.PERSON, ZHANG)
    told, moment = said.one(ZHANG, at=now()), now()
    said.one(LI, at=moment, state=DeclarationState.WITHDRAWN)

    def pages(**scope: Any) -> Iterator[Source]:
        after: str | None = ""
        while after is not None:
            page = touched.in_scope(session, touched.Scope.model_validate(scope), after=after)
            yield from page.sources
            after = page.after

    assert set(pages()) == {person, told}
    assert list(pages(kinds=["person"])) == [person, told]
    assert list(pages(kinds=["event", "component"])) == []
    assert list(pages(territory=GRID)) == [person], "it lies in no grid"


def verdict_on(source: Source) -> Verdict:
    return Verdict(
        source_type=source.type,
        source_id=source.id,
        source_version=source.version,
        kind=Kind.PERSON,
        rule_version=1,
        verdict=VerdictKind.SOURCES_DIFFER,
        findings=[],
        snapshots={},
        created_at=now(),
    )


def test_a_worker_is_sent_to_the_record_of_whom_a_declaration_is_about(session: Session, said: Declared) -> None:
    person = Entries(session).document(Kind.PERSON, ZHANG)
    known, unknown = (verdict_on(said.one(fields, at=now())) for fields in (ZHANG, LI))
    record = visits.record_of(session, known)
    assert record == (person.id, 1)
    assert not visits.need_not_be_asked(session, known)
    assert visits.need_not_be_asked(session, unknown), "nobody has collected him"


def test_each_request_has_its_own_counterparts_checked_again(session: Session, said: Declared) -> None:
    people = [Entries(session).document(Kind.PERSON, fields) for fields in (ZHANG, LI)]
    for fields in (ZHANG, LI):
        said.one(fields, at=now())
    requests = dict(zip(people, ("one", "two"), strict=True))
    assert service.check(session, people, requests=requests) == {}
    asked = session.exec(select(Job).where(Job.name == counterparts.JOB)).all()
    assert {job.payload["source_id"]: job.request_id for job in asked} == {
        str(source.id): request for source, request in requests.items()
    }


def test_a_what_if_sends_the_worker_where_a_look_would(session: Session, said: Declared) -> None:
    Entries(session).document(Kind.PERSON, ZHANG)
    sources = [said.one(fields, at=now()) for fields in (ZHANG | {"name": "李四"}, LI)]
    _, rules = service.active_rules(session)
    entries = load(session, sources).entries
    known = gather(session, entries, rules).known
    looked_at = {entry.source: what_if.can_be_looked_at(entry, known[entry.source]) for entry in entries}
    assert looked_at == dict(zip(sources, (True, False), strict=True))


def test_every_verdict_has_words_for_who_declared() -> None:
    told = {declaration_schemas.result_of(DeclarationState.IN_FORCE, verdict).told for verdict in VerdictKind}
    assert len(told) == len(VerdictKind) - 1, "match and accepted are told alike"
