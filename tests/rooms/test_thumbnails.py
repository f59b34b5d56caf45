"""A page of cases shows the first photo of each, and asks for all of them at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from sqlalchemy import event as sql_event
from sqlmodel import Session

from backend.core.clock import now
from backend.core.enums import PhotoState, Role, SourceType
from backend.core.ids import new_id
from backend.models import Derivative, Photo, PhotoLink
from backend.services.thumbnails import thumbnails
from tests.rooms.case_builders import Entries, account
from workflows.cases.considering import consider
from workflows.cases.reading import get_case, list_cases
from workflows.channels.overview import reports


@contextmanager
def counted(session: Session) -> Iterator[list[str]]:
    seen: list[str] = []
    engine = session.connection().engine

    def note(*arguments: object) -> None:
        seen.append(str(arguments[2]))

    sql_event.listen(engine, "before_cursor_execute", note)
    yield seen
    sql_event.remove(engine, "before_cursor_execute", note)


def case_with_photos(session: Session, *variants: str) -> None:
    event = Entries(session).event(class_code="0101")
    with_photos(session, SourceType.DOCUMENT, event.id, *variants)
    consider(session, verdict_id=Entries(session).verdict(event).id)


def with_photos(session: Session, source_type: SourceType, source_id: UUID, *variants: str) -> None:
    for variant in variants:
        photo_id = new_id()
        session.add(
            Photo(
                id=photo_id,
                taken_as=photo_id,
                sha256=photo_id.hex * 2,
                size=1,
                mime="image/jpeg",
                state=PhotoState.PROCESSED,
                placeholder="LEHV6nWB2yk8pyo0adR*.7kCMdnj",
                created_at=now(),
            )
        )
        session.flush()
        session.add(PhotoLink(source_type=source_type, source_id=source_id, photo_id=photo_id))
        session.add(
            Derivative(
                photo_id=photo_id,
                variant=variant,
                storage_key=f"derivatives/{photo_id}",
                mime="image/jpeg",
                width=400,
                height=300,
                size=1,
                sha256=photo_id.hex * 2,
            )
        )
        session.flush()


def test_a_page_of_cases_asks_for_its_pictures_once(session: Session) -> None:
    caller = account(session, Role.SUPERVISOR)
    costs, pictures = [], []
    for more in (1, 6):
        for _ in range(more):
            case_with_photos(session, "thumb", "thumb")
        with counted(session) as statements:
            page = list_cases(session, caller=caller)
        costs.append(len(statements))
        pictures = [case.thumbnail for case in page.cases if case.thumbnail]
    assert len(pictures) >= 7
    assert costs[0] == costs[1]


def test_the_first_photo_that_has_a_thumbnail_is_shown(session: Session) -> None:
    caller = account(session, Role.SUPERVISOR)
    case_with_photos(session, "large", "thumb", "thumb")
    case_with_photos(session)
    newest = sorted(list_cases(session, caller=caller, limit=200).cases, key=lambda case: case.number)[-2:]
    with_photo, without = (get_case(session, caller=caller, case_id=case.id) for case in newest)
    assert without.thumbnail is None
    assert with_photo.thumbnail is not None
    second = sorted(with_photo.photos)[1]
    assert with_photo.thumbnail.photo_id == second
    assert with_photo.thumbnail.href == f"/media/v1/photos/{second}/thumb"
    assert (with_photo.thumbnail.width, with_photo.thumbnail.placeholder) == (400, "LEHV6nWB2yk8pyo0adR*.7kCMdnj")


def test_a_page_of_reports_shows_their_first_photos_too(session: Session) -> None:
    caller, costs, shown = account(session, Role.SUPERVISOR), [], []
    for more in (1, 4):
        for _ in range(more):
            with_photos(session, SourceType.REPORT, Entries(session).report().id, "thumb")
        with counted(session) as statements:
            page = reports(session, caller, state=None, limit=50, before=None)
        costs.append(len(statements))
        shown = [report for report in page.reports if report.thumbnail]
    assert len(shown) >= 5
    assert costs[0] == costs[1]


def test_no_entries_cost_no_statement(session: Session) -> None:
    with counted(session) as statements:
        assert thumbnails(session, []) == {}
    assert statements == []


@pytest.fixture(autouse=True)
def without_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDIA_URL", raising=False)
