"""Runs that check entries again: written down with what causes them, looked for in steps, counted to their end.

The cross-check does the work (`workflows.crosscheck.recheck`); this is the noun, which imports and rule sets ask for.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import RecheckCause, RunState
from backend.core.errors import NotFound, ZhiwangError
from backend.models import Recheck, Snapshot
from backend.models.base import Json
from backend.services import audit
from backend.services.sessions import Caller

STEP_JOB = "workflows.crosscheck.recheck_step"
ENTRY_JOB = "workflows.crosscheck.recheck"
GOING_ON = (RunState.SPREADING, RunState.WORKING)
LATER = 200
"""Checks made again wait behind those of new entries (`jobs.NewJob.priority`)."""


class RecheckEnded(ZhiwangError):
    """`state` is the one it is in."""

    code = "recheck_ended"
    status = 409
    title_zh = "该次重新核查已经结束"
    title_en = "The run that checks again has ended"


def ask_for_snapshot(session: Session, snapshot: Snapshot, *, previous_id: UUID | None) -> Recheck:
    """Ask for the entries to be checked again that differ between a snapshot and the one before, or, where there was
    none, all that its dataset can say something about."""
    run = Recheck(
        cause=RecheckCause.SNAPSHOT,
        dataset=snapshot.dataset_code,
        snapshot_id=snapshot.id,
        previous_id=previous_id,
        created_at=now(),
    )
    session.add(run)
    session.flush()
    audit.record(
        session,
        actor="registry",
        action="recheck_asked",
        object_type="recheck",
        object_id=str(run.id),
        dataset=snapshot.dataset_code,
        snapshot=str(snapshot.id),
    )
    ask_for_step(session, run)
    return run


def ask_for_rules(session: Session, *, rule_version: int, scope: Json, asked_by: UUID) -> Recheck:
    """Ask for the entries of a scope to be checked again by the rules that came into force."""
    run = Recheck(cause=RecheckCause.RULES, rule_version=rule_version, scope=scope, asked_by=asked_by, created_at=now())
    session.add(run)
    session.flush()
    audit.record(
        session,
        actor=str(asked_by),
        action="recheck_asked",
        object_type="recheck",
        object_id=str(run.id),
        rule_version=rule_version,
    )
    ask_for_step(session, run)
    return run


def begin_for_counterparts(session: Session, entries: int) -> Recheck:
    """A run over a known number of entries, as what is declared or collected about the same has changed. The caller
    asks for the checks. It is no matter for the desk, and not listed."""
    run = Recheck(cause=RecheckCause.COUNTERPART, state=RunState.WORKING, entries=entries, created_at=now())
    session.add(run)
    session.flush()
    return run


def ask_for_step(session: Session, run: Recheck) -> None:
    """Have the search go on where it stands."""
    key = f"{run.id}:{run.step}"
    jobs.enqueue(session, STEP_JOB, key=key, priority=LATER, recheck_id=str(run.id), step=run.step)


def listed(session: Session, *, before: UUID | None, limit: int) -> Sequence[Recheck]:
    """Runs over many entries, the newest first, below the id `before`."""
    query = select(Recheck).where(Recheck.cause != RecheckCause.COUNTERPART)
    query = query.order_by(col(Recheck.id).desc()).limit(limit)
    return session.exec(query if before is None else query.where(col(Recheck.id) < before)).all()


def cancel(session: Session, *, caller: Caller, recheck_id: UUID) -> Recheck:
    """End a run; verdicts that it has replaced stay replaced. `NotFound`, `RecheckEnded`."""
    run = session.exec(select(Recheck).where(Recheck.id == recheck_id).with_for_update()).first()
    if run is None:
        raise NotFound
    if run.state not in GOING_ON:
        raise RecheckEnded(state=run.state.value)
    run.state, run.done_at = RunState.CANCELLED, now()
    session.flush()
    audit.record(
        session,
        actor=str(caller.account_id),
        action="recheck_cancelled",
        object_type="recheck",
        object_id=str(run.id),
        checked=run.checked,
    )
    return run


def read(session: Session, recheck_id: UUID) -> Recheck | None:
    """The run as it is now, None where it has come to an end."""
    run = session.exec(select(Recheck).where(Recheck.id == recheck_id)).one()
    return run if run.state in GOING_ON else None


def running(session: Session, recheck_id: UUID) -> Recheck | None:
    """The run, which nobody else changes until the transaction ends; None where it has come to an end."""
    run = session.exec(
        select(Recheck).where(Recheck.id == recheck_id).with_for_update().execution_options(populate_existing=True)
    ).one()
    return run if run.state in GOING_ON else None


def found(session: Session, run: Recheck, entries: int, *, after: str | None) -> None:
    """Note what a step found and where the next one begins; None where all are found. The caller holds the run."""
    run.entries += entries
    run.step += 1
    run.after = after or ""
    if after is not None:
        ask_for_step(session, run)
    else:
        run.state = RunState.WORKING
    _end_with_the_last(run)
    session.flush()


def checked(session: Session, recheck_id: UUID, entries: int) -> None:
    """Note that so many entries of a run were checked, or could not be. Late in a transaction: others wait for it."""
    run = running(session, recheck_id)
    if run is not None:
        run.checked += entries
        _end_with_the_last(run)
        session.flush()


def _end_with_the_last(run: Recheck) -> None:
    if run.state is RunState.WORKING and run.checked >= run.entries:
        run.state, run.done_at = RunState.DONE, now()
