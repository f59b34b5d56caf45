"""Failed logins: counted by address, shared by all processes, and never to the harm of an owner."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import engine_for
from backend.core.errors import TooManyRequests
from backend.services import login_limits
from backend.services.login_limits import PER_ADDRESS, PER_CODE, PER_LOGIN, Counted, Limit

SMALL = Limit("small", 3, timedelta(minutes=1))


def failed(counts: list[Counted], times: int = 1) -> None:
    for _ in range(times):
        with Session(engine_for("zw_api")) as session:
            login_limits.note(session, counts)


def is_refused(counts: list[Counted]) -> bool:
    with Session(engine_for("zw_api")) as session:
        try:
            login_limits.check(session, counts)
        except TooManyRequests:
            return True
        return False


def test_so_many_and_no_more(database: str) -> None:
    counts = [login_limits.counted(SMALL, "a")]
    failed(counts, 2)
    assert not is_refused(counts)
    failed(counts)
    assert is_refused(counts)
    assert not is_refused([login_limits.counted(SMALL, "b")])


def test_the_wait_ends_when_the_oldest_failure_leaves_the_window(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = [login_limits.counted(SMALL, "a")]
    failed(counts)
    began = now()
    monkeypatch.setattr(login_limits, "now", lambda: began + timedelta(seconds=40))
    failed(counts, 2)
    with Session(engine_for("zw_api")) as session, pytest.raises(TooManyRequests) as refused:
        login_limits.check(session, counts)
    assert refused.value.retry_after in {20, 21}
    monkeypatch.setattr(login_limits, "now", lambda: began + timedelta(seconds=61))
    assert not is_refused(counts)


def of_login(address: str, login: str, client: str | None = None) -> list[Counted]:
    return login_limits.of_login(address=address, login=login, client=client)


def test_a_flood_on_one_login_from_elsewhere_says_nothing_about_its_owner(database: str) -> None:
    for number in range(3):
        failed(of_login(f"192.0.2.{number}", "supervisor"), PER_LOGIN.failures)
        assert is_refused(of_login(f"192.0.2.{number}", "supervisor"))
    assert not is_refused(of_login("198.51.100.1", "supervisor"))


def test_a_flood_from_the_owners_own_address_stops_everybody_there_but_known_clients(database: str) -> None:
    owner, other = uuid4(), uuid4()
    client = login_limits.known_client(owner)
    rows = [{"id": uuid4(), "bucket": bucket, "at": now()} for _, bucket in of_login("192.0.2.1", "x")[1:]]
    with Session(engine_for("zw_api")) as session:
        insert = text("INSERT INTO login_failure (id, bucket, at) VALUES (:id, :bucket, :at)")
        for _ in range(PER_ADDRESS.failures):
            session.connection().execute(insert, [{**row, "id": uuid4()} for row in rows])
        session.commit()
    assert is_refused(of_login("192.0.2.1", "anybody"))
    assert login_limits.knows(client, owner)
    assert not login_limits.knows(client, other)
    assert not is_refused(of_login("192.0.2.1", "owner", client))


@pytest.mark.parametrize("made_up", ["", ".", "a.b.c", "é.x", "\ud800"])
def test_a_known_client_can_not_be_made_up(made_up: str) -> None:
    owner = uuid4()
    assert not login_limits.knows(made_up, owner)
    assert not login_limits.knows(f"{owner.hex}.0000.{made_up}", owner)
    assert not login_limits.knows(login_limits.known_client(owner).replace(".", ".0", 1), owner)


def test_codes_are_counted_over_all_addresses_but_for_known_clients(database: str) -> None:
    account_id = uuid4()
    failed(login_limits.of_code(account_id=account_id, client=None), PER_CODE.failures)
    assert is_refused(login_limits.of_code(account_id=account_id, client=None))
    client = login_limits.known_client(account_id)
    assert not is_refused(login_limits.of_code(account_id=account_id, client=client))
    assert not is_refused(login_limits.of_code(account_id=uuid4(), client=None))


def test_nothing_readable_is_kept_and_old_failures_are_swept(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failed(of_login("192.0.2.77", "zhang-ping"))
    with Session(engine_for("zw_worker")) as session:
        stored = str(session.connection().execute(text("SELECT * FROM login_failure")).all())
    assert "192.0.2.77" not in stored
    assert "zhang-ping" not in stored
    later = now() + login_limits.KEPT + timedelta(seconds=1)
    monkeypatch.setattr(login_limits, "now", lambda: later)
    failed([login_limits.counted(SMALL, "a")])
    with Session(engine_for("zw_worker")) as session:
        assert session.connection().execute(text("SELECT count(*) FROM login_failure")).scalar_one() == 1


def test_the_counts_are_gone_after_a_crash_and_not_in_the_log_of_the_database(database: str) -> None:
    with Session(engine_for("zw_api")) as session:
        kind = text("SELECT relpersistence FROM pg_class WHERE relname = 'login_failure'")
        assert session.connection().execute(kind).scalar_one() in {"u", b"u"}
