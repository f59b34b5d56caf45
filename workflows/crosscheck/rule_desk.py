"""Rule sets as people handle them: drafted, put in force, and an earlier one put back. Nothing is rewritten."""

from collections.abc import Sequence

import msgspec
from pydantic import ValidationError
from sqlalchemy import text
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.errors import NotFound, ZhiwangError
from backend.models import RuleSet
from backend.services import audit, rechecks
from backend.services.sessions import Caller
from workflows.crosscheck.rule_schemas import Activation, Draft, RuleSetActivated
from workflows.crosscheck.ruleset import Rules


class RuleSetActive(ZhiwangError):
    code = "rule_set_active"
    status = 409
    title_zh = "该版本的规则已经启用"
    title_en = "The rule set is in force already"


class RuleSetUnfit(ZhiwangError):
    """A version of an earlier form of the rules, which this server cannot apply any more."""

    code = "rule_set_unfit"
    status = 409
    title_zh = "该版本的规则与当前程序不兼容，请另拟新版本"
    title_en = "The rule set does not fit this server; draft a new one"


def listed(session: Session) -> Sequence[RuleSet]:
    """All versions, the newest first."""
    return session.exec(select(RuleSet).order_by(col(RuleSet.version).desc())).all()


def read(session: Session, version: int) -> RuleSet:
    """One version with what it says. `NotFound`."""
    found = session.get(RuleSet, version)
    if found is None:
        raise NotFound
    return found


def draft(session: Session, *, caller: Caller, asked: Draft) -> RuleSet:
    """Write a new version down. It is in force for nobody until it is activated."""
    _take_turn(session)
    newest = listed(session)
    rule_set = RuleSet(
        version=newest[0].version + 1 if newest else 1,
        rules=asked.rules.model_dump(mode="json"),
        title=asked.title,
        created_by=caller.account_id,
        created_at=now(),
    )
    session.add(rule_set)
    session.flush()
    _note(session, caller, "rule_set_drafted", rule_set.version)
    return rule_set


def activate(session: Session, *, caller: Caller, version: int, asked: Activation) -> RuleSetActivated:
    """Put a version in force in the place of the one that is, an earlier one too; and have entries checked again where
    that is asked. `NotFound`, `RuleSetActive`, `RuleSetUnfit`."""
    _take_turn(session)
    rule_set = read(session, version)
    session.refresh(rule_set)
    if rule_set.active:
        raise RuleSetActive
    rules_of(rule_set)
    before = session.exec(select(RuleSet).where(col(RuleSet.active))).first()
    former = before.version if before else None
    if before is not None:
        before.active = False
        session.flush()
    rule_set.active, rule_set.activated_by, rule_set.activated_at = True, caller.account_id, now()
    session.flush()
    _note(session, caller, "rule_set_activated", version, before=former, why=asked.reason)
    run = None
    if asked.recheck is not None:
        scope = asked.recheck.model_dump(mode="json")
        run = rechecks.ask_for_rules(session, rule_version=version, scope=scope, asked_by=caller.account_id)
    return RuleSetActivated(version=version, before=former, recheck_id=run.id if run else None)


def rules_of(rule_set: RuleSet) -> Rules:
    """What a version says, as the cross-check applies it. `RuleSetUnfit`."""
    try:
        return Rules.model_validate_json(msgspec.json.encode(rule_set.rules))
    except ValidationError as error:
        raise RuleSetUnfit(version=rule_set.version) from error


def _note(session: Session, caller: Caller, action: str, version: int, **detail: int | str | None) -> None:
    audit.record(
        session,
        actor=str(caller.account_id),
        action=action,
        object_type="rule_set",
        object_id=str(version),
        **detail,
    )


def _take_turn(session: Session) -> None:
    """One change at a time, so that versions are numbered without gaps and one of two activations is the later one."""
    session.connection().execute(text("SELECT pg_advisory_xact_lock(hashtextextended('rule_set', 0))"))
