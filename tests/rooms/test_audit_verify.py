"""Verification tells an honest trail from a bent one and says where it was bent; the anchor heals, forks, refuses."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text
from sqlmodel import Session
from typer.testing import CliRunner

from backend.cli import app
from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.settings import get_settings
from backend.embedded.postgres import EmbeddedPostgres
from backend.services import audit_chain, audit_sealing
from backend.services.audit_anchor import AnchorAltered, AuditBroken, private_key, public_text, read_lines
from backend.services.audit_locate import Finding, Wrong
from backend.services.audit_tasks import Sealer
from tests.rooms.audit_builders import TrailOfTest, superuser_engine


@pytest.fixture
def trail(
    database: str, postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TrailOfTest]:
    monkeypatch.setenv("AUDIT_ANCHOR", str(tmp_path / "trust" / "anchor.jsonl"))
    get_settings.cache_clear()
    engine = superuser_engine(postgres.url(user="postgres", database=database))
    yield TrailOfTest(get_settings().anchor_path(), engine)
    engine.dispose()


def remove_after(trail: TrailOfTest, number: int) -> None:
    """What a restore to an earlier point, or an owner with scissors, does to the database."""
    with trail.owner() as session:
        for statement in (
            "DELETE FROM audit_entry WHERE id IN (SELECT entry_id FROM audit_seal WHERE batch > :n)",
            "DELETE FROM audit_seal WHERE batch > :n",
            "DELETE FROM audit_batch WHERE number > :n",
            "UPDATE server_state SET value = least(value\\:\\:int, :n)\\:\\:text WHERE name = 'audit_anchored'",
        ):
            session.connection().execute(text(statement), {"n": number})


def cli(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["audit", *arguments])
    return result.exit_code, result.output


def test_an_honest_trail_verifies_and_each_batch_has_its_signed_line(trail: TrailOfTest) -> None:
    trail.grow(4)
    report = trail.verify()
    assert (report.finding, report.late) == (None, [])
    assert (report.batches, report.entries, report.lines, report.unanchored) == (4, 12, 5, 0)
    assert [json.loads(line)["kind"] for line in trail.lines()] == ["start", *["batch"] * 4]
    assert trail.anchor.stat().st_mode & 0o777 == 0o600
    assert trail.anchor.parent.stat().st_mode & 0o777 == 0o700


def test_the_first_bad_entry_is_named(trail: TrailOfTest) -> None:
    trail.grow(3)
    entry = trail.entry_at(2, 3)
    trail.alter("UPDATE audit_entry SET actor = 'somebody_else' WHERE id = :id", id=entry)
    trail.alter("UPDATE audit_entry SET actor = 'somebody_else' WHERE id = :id", id=trail.entry_at(3, 1))
    assert trail.verify().finding == Finding(Wrong.EDITED, 2, 3, str(entry))
    code, said = cli("verify")
    assert code == 1
    assert f"batch 2, position 3, entry {entry}" in said


def test_the_command_says_ok_with_counts_and_shows_what_to_write_down(trail: TrailOfTest) -> None:
    trail.grow(2)
    code, said = cli("verify")
    assert (code, "OK: entries=6 batches=2" in said) == (0, True)
    head = trail.verify().head.hex()
    key = private_key()
    assert key is not None
    _, status = cli("status")
    assert head in status
    assert public_text(key.public_key()) in status
    trail.grow(1)
    assert cli("verify", "--expect-head", head)[0] == 0
    assert cli("verify", "--expect-head", "11" * 32)[0] == 1


def test_only_the_public_key_is_needed_and_another_one_is_refused(
    trail: TrailOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail.grow(1)
    key = private_key()
    assert key is not None
    monkeypatch.setenv("AUDIT_KEY", "")
    get_settings.cache_clear()
    assert cli("verify", "--public-key", public_text(key.public_key()))[0] == 0
    assert cli("verify", "--public-key", public_text(Ed25519PrivateKey.generate().public_key()))[0] == 1
    code, said = cli("verify")
    assert (code, public_text(key.public_key()) in said) == (0, True)


def test_both_ends_cut_off_show_against_a_head_that_was_written_down(trail: TrailOfTest) -> None:
    trail.grow(3)
    head, lines = trail.verify().head, trail.lines()
    remove_after(trail, 2)
    trail.anchor.write_bytes(b"".join(lines[:3]))
    assert trail.verify().finding is None
    assert trail.verify(expect_head=head).finding == Finding(Wrong.CUT_OFF, 3, 1)


def test_an_entry_that_claims_to_be_old_is_shown(trail: TrailOfTest) -> None:
    trail.grow(2)
    forged = UUID("01900000-0000-7000-8000-000000000001")
    trail.alter(
        "INSERT INTO audit_entry SELECT :id, at - interval '1 day', actor, action, object_type, object_id, request_id, "
        "detail FROM audit_entry LIMIT 1",
        id=forged,
    )
    assert [late.entry_id for late in trail.verify().late] == [str(forged)]
    trail.seal()
    trail.anchor_all()
    report = trail.verify()
    assert (report.finding, report.late) == (None, [Finding(Wrong.INSERTED, 3, 1, str(forged))])
    assert cli("verify")[0] == 0
    assert cli("verify", "--strict")[0] == 1


def test_what_was_sealed_before_a_crash_is_anchored_by_the_next_run(trail: TrailOfTest) -> None:
    trail.grow(1)
    trail.write(2)
    trail.seal()
    assert trail.verify().unanchored == 1
    trail.anchor_all()
    report = trail.verify()
    assert (report.finding, report.unanchored, report.lines) == (None, 0, 3)


def test_half_a_line_that_a_crash_left_is_replaced(trail: TrailOfTest) -> None:
    trail.grow(2)
    lines = trail.lines()
    trail.anchor.write_bytes(b"".join(lines[:2]) + lines[2][:50])
    trail.alter("UPDATE server_state SET value = '1' WHERE name = 'audit_anchored'")
    trail.anchor_all()
    assert trail.lines() == lines
    assert trail.verify().finding is None


def test_a_batch_that_was_bent_before_it_was_anchored_is_never_signed(trail: TrailOfTest) -> None:
    trail.grow(1)
    trail.write(2)
    trail.seal()
    trail.alter("UPDATE audit_entry SET action = 'other' WHERE id = :id", id=trail.entry_at(2, 1))
    with pytest.raises(AuditBroken, match="batch 2"):
        trail.anchor_all()
    finding = trail.verify().finding
    assert finding is not None
    assert (finding.wrong, finding.batch, finding.position) == (Wrong.EDITED, 2, 1)


@pytest.mark.parametrize("note_is_altered_too", [False, True])
def test_a_worker_notices_that_the_anchor_was_cut_off_behind_it(trail: TrailOfTest, note_is_altered_too: bool) -> None:
    trail.grow(3)
    seen = trail.anchor_all()
    trail.anchor.write_bytes(b"".join(trail.lines()[:2]))
    if note_is_altered_too:
        trail.alter("UPDATE server_state SET value = '1' WHERE name = 'audit_anchored'")
    with pytest.raises(AuditBroken):
        trail.anchor_all(seen)


def test_an_anchor_that_is_gone_or_anothers_is_not_begun_anew(
    trail: TrailOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail.grow(2)
    kept = trail.anchor.read_bytes()
    trail.anchor.unlink()
    with pytest.raises(AuditBroken, match="gone"):
        trail.anchor_all()
    trail.anchor.write_bytes(kept)
    monkeypatch.setenv("AUDIT_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    get_settings.cache_clear()
    with pytest.raises(AnchorAltered):
        trail.anchor_all()


def test_after_a_restore_nothing_is_anchored_until_a_signed_fork_says_so(trail: TrailOfTest) -> None:
    trail.grow(4)
    remove_after(trail, 2)
    trail.write(3)
    trail.seal()
    with pytest.raises(AuditBroken, match="batch 4"):
        trail.anchor_all()
    assert trail.verify().finding is not None
    with transaction(engine_for("zw_worker")) as session:
        assert audit_chain.append_fork(session, reason="restore", backup_id="b1") == 2
    trail.seal()
    trail.anchor_all()
    report = trail.verify()
    assert (report.finding, report.forks, report.batches) == (None, 1, 4)
    numbers = [read.line.number for read in read_lines(trail.anchor)]
    assert numbers == [0, 1, 2, 3, 4, 2, 3, 4]
    trail.alter("UPDATE audit_entry SET action = 'other' WHERE id = :id", id=trail.entry_at(3, 2))
    finding = trail.verify().finding
    assert finding is not None
    assert (finding.wrong, finding.batch, finding.position) == (Wrong.EDITED, 3, 2)


def test_a_second_restore_may_go_back_before_the_first(trail: TrailOfTest) -> None:
    for kept in (3, 1, 2):
        trail.grow(4)
        remove_after(trail, kept)
        with transaction(engine_for("zw_worker")) as session:
            assert audit_chain.append_fork(session, reason="restore", backup_id="b") == kept
    trail.grow(2)
    report = trail.verify()
    assert (report.finding, report.forks) == (None, 3)


def test_the_fork_is_audited_and_can_be_made_by_hand(trail: TrailOfTest) -> None:
    trail.grow(2)
    remove_after(trail, 1)
    code, said = cli("fork", "--reason", "drill", "--backup", "20261125")
    assert (code, "batch 1" in said) == (0, True)
    with Session(engine_for("zw_worker")) as session:
        told = text("SELECT object_id, detail FROM audit_entry WHERE action = 'audit_forked'")
        assert [tuple(row) for row in session.connection().execute(told)] == [("1", {"backup": "20261125"})]


def test_a_new_anchor_file_begins_with_a_fork_and_the_old_batches_hang_on_its_head(trail: TrailOfTest) -> None:
    trail.grow(3)
    trail.anchor.rename(trail.anchor.with_name("old.jsonl"))
    assert cli("fork", "--reason", "new_file")[0] == 0
    trail.grow(1)
    report = trail.verify()
    assert (report.finding, report.batches, report.unanchored) == (None, 4, 0)
    entry = trail.entry_at(2, 1)
    trail.alter("UPDATE audit_entry SET action = 'other' WHERE id = :id", id=entry)
    assert trail.verify().finding == Finding(Wrong.EDITED, 2, 1, str(entry))


def test_a_clever_owner_who_computes_the_old_batches_anew_fails_at_the_head_of_the_fork(trail: TrailOfTest) -> None:
    from bench.tampering import recompute

    trail.grow(3)
    trail.anchor.rename(trail.anchor.with_name("old.jsonl"))
    assert cli("fork", "--reason", "new_file")[0] == 0
    trail.alter("UPDATE audit_entry SET action = 'other' WHERE id = :id", id=trail.entry_at(2, 1))
    with trail.owner() as session:
        recompute(session, 2)
    assert trail.verify().finding == Finding(Wrong.BATCH_ALTERED, 3)


def test_without_a_key_batches_are_sealed_and_not_anchored(trail: TrailOfTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_KEY", "")
    get_settings.cache_clear()
    trail.write(3)
    assert trail.seal() == 3
    with pytest.raises(AuditBroken, match="AUDIT_KEY"):
        trail.anchor_all()
    Sealer().look()
    assert not trail.anchor.exists()


def test_a_batch_that_stays_without_a_line_for_long_is_a_finding(
    trail: TrailOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as past:
        past.setattr(audit_sealing, "now", lambda: now() - timedelta(hours=1))
        trail.grow(1)
        trail.write(1)
        trail.seal()
    assert trail.verify().finding == Finding(Wrong.ANCHOR_CUT_OFF, 2)
