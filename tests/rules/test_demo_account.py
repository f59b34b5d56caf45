"""The demo day's own account: whatever the server leaves out, doubles or decides otherwise shows as an inequality."""

from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import uuid4

from backend.core.enums import Outcome, QuarantineCode
from backend.demo.ledger import (
    Account,
    Contest,
    Expected,
    Ledger,
    expected_outcomes,
    read_said,
    surprises,
    written_versions,
)
from backend.demo.overview import Overview
from backend.demo.replica import Replica
from backend.demo.table import Done, equations

Json = dict[str, Any]


def _row(*, op: str = "", deleted: bool = False, document_id: str = "", **fields: object) -> Json:
    document = {"id": document_id or str(uuid4()), **fields, "op": op or str(uuid4()), "_deleted": deleted}
    return {"newDocumentState": document}


def _told(row: Json, outcome: Outcome, rev: int | None = 1) -> Json:
    document = row["newDocumentState"]
    return {"id": document["id"], "op": document["op"], "outcome": outcome.value, "rev": rev, "conflicts": []}


def _kept(row: Json, code: QuarantineCode) -> Json:
    document = row["newDocumentState"]
    return {"id": document["id"], "op": document["op"], "code": code.value}


def _account(
    rows: list[Json], told: list[Json], kept: list[Json] | None = None, expected: list[Expected] | None = None
) -> Account:
    ledger = Ledger()
    for row, what in zip(rows, expected or [], strict=False):
        ledger.expect(row["newDocumentState"], what)
    ledger.note(rows)
    return Account("worker01", ledger.sent, read_said(told, kept or []))


def test_a_row_sent_twice_is_one_mutation() -> None:
    row = _row(name="甲")
    account = _account([row, row], [_told(row, Outcome.APPLIED)])
    assert len(account.sent) == 1
    assert account.misnamed() == []


def test_a_mutation_the_server_leaves_out_or_doubles_is_named() -> None:
    one, two = _row(), _row()
    account = _account([one, two], [_told(one, Outcome.APPLIED), _told(one, Outcome.APPLIED)])
    assert sorted(account.misnamed()) == sorted(entry.name for entry in account.sent)
    assert len(surprises([account])) == 1


def test_a_reused_op_is_two_mutations_of_which_one_is_kept_for_review() -> None:
    first = _row(op="op-1", document_id="d", remark="甲")
    second = _row(op="op-1", document_id="d", remark="乙")
    told, kept = [_told(first, Outcome.APPLIED)], [_kept(second, QuarantineCode.OP_REUSED)]
    account = _account([first, second], told, kept, [Outcome.APPLIED, QuarantineCode.OP_REUSED])
    assert not account.misnamed()
    assert not surprises([account])
    assert expected_outcomes([account]) == Counter({Outcome.APPLIED: 1, Outcome.QUARANTINED: 1})
    silently_skipped = _account([first, second], told, [], [Outcome.APPLIED, QuarantineCode.OP_REUSED])
    assert silently_skipped.misnamed() == [("d", "op-1")]


def test_a_row_in_the_ledger_and_in_the_quarantine_is_one() -> None:
    row = _row()
    told, kept = [_told(row, Outcome.QUARANTINED, None)], [_kept(row, QuarantineCode.OUT_OF_SCOPE)]
    account = _account([row], told, kept, [QuarantineCode.OUT_OF_SCOPE])
    assert not account.misnamed()
    assert not surprises([account])
    assert surprises([_account([row], told, kept, [QuarantineCode.UNKNOWN_GRID])]) != []


def test_of_two_who_edit_one_field_either_may_win_but_only_one() -> None:
    mine, theirs = _row(document_id="d"), _row(document_id="d")
    contest = Contest.of("d", Outcome.APPLIED, Outcome.CONFLICT)

    def after(first: Outcome, second: Outcome) -> list[Account]:
        return [
            _account([mine], [_told(mine, first)], expected=[contest]),
            _account([theirs], [_told(theirs, second)], expected=[contest]),
        ]

    assert surprises(after(Outcome.APPLIED, Outcome.CONFLICT)) == []
    assert surprises(after(Outcome.CONFLICT, Outcome.APPLIED)) == []
    assert len(surprises(after(Outcome.APPLIED, Outcome.APPLIED))) == 1
    assert expected_outcomes(after(Outcome.APPLIED, Outcome.CONFLICT)) == contest.outcomes


def test_versions_are_counted_once_and_tombstones_not_at_all() -> None:
    created, unchanged = _row(document_id="d"), _row(document_id="d")
    gone = _row(document_id="e", deleted=True)
    told = [_told(created, Outcome.APPLIED, 1), _told(unchanged, Outcome.UNCHANGED, 1), _told(gone, Outcome.APPLIED, 2)]
    account = _account([created, unchanged, gone], told)
    assert written_versions([account]) == 1


def test_a_number_that_does_not_add_up_is_said_with_both_sides() -> None:
    row = _row()
    done = Done(
        [_account([row], [_told(row, Outcome.APPLIED)])],
        photos=0,
        reports=0,
        told=0,
        live=1,
        unlike=0,
        cases=0,
        acted=0,
        seen_closed=0,
    )
    groups = {"mutations": {"applied": 1}, "verdicts": {"match": 1}, "entries": {"person": 1}}
    added = Overview(groups, {}, 0, {})
    assert all(equation.holds for equation in equations(done, added))
    twice = replace(added, groups={**groups, "verdicts": {"match": 2}})
    (wrong,) = [equation for equation in equations(done, twice) if not equation.holds]
    assert (wrong.left, wrong.right) == (1, 2)
    assert "1 ≠" in str(wrong)
    assert str(wrong).endswith(" 2")


def test_an_edit_made_while_the_answer_was_on_its_way_stays_unsent() -> None:
    replica = Replica()
    created = replica.create({"name": "甲"})
    rows = replica.rows()
    later = replica.edit(created["id"], name="乙")
    replica.heard(rows, [])
    assert replica.rows() == [{"newDocumentState": later, "assumedMasterState": created}]


def test_a_pulled_document_with_unsent_edits_is_left_to_the_push() -> None:
    replica = Replica()
    mine = replica.create({"name": "甲"})
    replica.pulled([{**mine, "name": "乙", "op": "other", "rev": 1}], {"v": 1})
    assert replica.documents[mine["id"]] == mine
    replica.heard(replica.rows(), [{**mine, "name": "乙", "op": "other", "rev": 1}])
    assert replica.rows() == []
    assert replica.documents[mine["id"]]["name"] == "乙"
