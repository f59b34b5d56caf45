"""Asking for a bulk reconciliation, cancelling it, and making its steps (docs/reconciliation.md)."""

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from uuid import UUID

import msgspec
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import Kind, ReconciliationPhase, ReconciliationState
from backend.core.errors import NotFound
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import Dataset, Grid, LinkModel, Reconciliation
from backend.services import audit
from backend.services.registry_catalogue import spec_of
from backend.services.scope import is_below
from backend.services.sessions import Caller
from workflows.reconcile import engines, statements
from workflows.reconcile.engines import ReconcileEngineMissing, ReconcileMemory
from workflows.reconcile.errors import (
    ReconciliationNoModel,
    ReconciliationNoSnapshot,
    ReconciliationNotRunning,
    ReconciliationSnapshotGone,
    ReconciliationUnfit,
)
from workflows.reconcile.rules import LINKED_KINDS, Models, common_code, next_phase
from workflows.reconcile.steps import STEPS, Work

JOB = ACTOR = "workflows.reconcile"
PRIORITY = 200
"""After everything that somebody waits for."""
ENDS = (ReconciliationSnapshotGone, ReconcileEngineMissing, ReconcileMemory)
"""Failures that another attempt would not mend: the run ends with their code."""


def ask(
    session: Session,
    *,
    caller: Caller,
    dataset: str,
    grids: Sequence[str] | None = None,
    territory: str | None = None,
) -> Reconciliation:
    """Write a run down, over the snapshot that is in force now.

    `NotFound` for an unknown dataset, or a grid or territory outside the caller's territory; `ReconciliationUnfit`,
    `ReconciliationNoSnapshot`, `ReconciliationNoModel`, `ReconcileEngineMissing`.
    """
    chosen = _grids(session, caller, grids) if grids else None
    if territory is not None and not is_below(territory, caller):
        raise NotFound
    found = session.get(Dataset, dataset)
    if found is None:
        raise NotFound
    if _kind(found) is None:
        raise ReconciliationUnfit
    if found.current_snapshot_id is None:
        raise ReconciliationNoSnapshot
    model = session.exec(select(LinkModel).where(col(LinkModel.active)).order_by(col(LinkModel.version).desc())).first()
    if model is None:
        raise ReconciliationNoModel
    engine = get_settings().reconcile_engine
    if lacking := engines.missing(engine):
        raise ReconcileEngineMissing(needs=lacking)
    run = Reconciliation(
        id=new_id(),
        dataset_code=dataset,
        snapshot_id=found.current_snapshot_id,
        model_version=model.version,
        engine=engine,
        territory_code=common_code(chosen) if chosen else territory or caller.territory_code,
        grids=chosen,
        state=ReconciliationState.RUNNING,
        phase=next(iter(ReconciliationPhase)),
        requested_by=caller.account_id,
        requested_at=now(),
    )
    session.add(run)
    session.flush()
    _ask_for_step(session, run, 0)
    note(session, run, "reconciliation_requested", actor=str(caller.account_id))
    return run


def _grids(session: Session, caller: Caller, wanted: Sequence[str]) -> list[str]:
    asked = sorted(set(wanted))
    known = set(session.exec(select(Grid.id).where(col(Grid.id).in_(asked))))
    if not all(grid in known and is_below(grid, caller) for grid in asked):
        raise NotFound
    return asked


def seen(session: Session, *, caller: Caller, run_id: UUID) -> Reconciliation:
    """A run whose whole scope lies in the caller's territory. `NotFound` for others."""
    run = session.get(Reconciliation, run_id)
    if run is None or not is_below(run.territory_code, caller):
        raise NotFound
    return run


def cancel(session: Session, *, caller: Caller, run_id: UUID) -> Reconciliation:
    """End a run. The step that is being made rolls its work back. `ReconciliationNotRunning`."""
    found = seen(session, caller=caller, run_id=run_id)
    # Not a full lock: a step that writes links holds the key of their run until it commits.
    run = session.get(Reconciliation, found.id, with_for_update={"key_share": True})
    assert run is not None
    if run.state is not ReconciliationState.RUNNING:
        raise ReconciliationNotRunning(state=run.state.value)
    run.state, run.finished_at = ReconciliationState.CANCELLED, now()
    session.flush()
    note(session, run, "reconciliation_cancelled", actor=str(caller.account_id))
    return run


def run_step(session: Session, *, run_id: UUID, step: int) -> None:
    """Make one step and ask for the next. A step that was made, or whose run ended, does nothing.

    `jobs.Discard` for a run that is not there.
    """
    run = session.get(Reconciliation, run_id)
    if run is None:
        raise jobs.Discard("reconciliation_unknown")
    if run.state is not ReconciliationState.RUNNING or run.step != step:
        return
    effects = session.begin_nested()
    try:
        going = _made(session, run)
    except ENDS as error:
        effects.rollback()
        _end_badly(session, run, error.code)
        return
    # Where the run is no longer there, cancelled or made by somebody else, nothing of this step stays.
    if not going:
        effects.rollback()
        return
    effects.commit()
    _go_on(session, run_id)


def _go_on(session: Session, run_id: UUID) -> None:
    """Ask for the next step, or say that this was the last one."""
    run = session.get_one(Reconciliation, run_id, populate_existing=True)
    if run.state is ReconciliationState.DONE:
        note(session, run, "reconciliation_done", actor=ACTOR)
    else:
        _ask_for_step(session, run, run.step)


def _made(session: Session, run: Reconciliation) -> bool:
    """Make the step that the run stands at and move it on. False where it is no longer there."""
    snapshot = {"snapshot": run.snapshot_id}
    if run.phase is not ReconciliationPhase.REPORT and not session.connection().scalar(statements.HAS_ROWS, snapshot):
        raise ReconciliationSnapshotGone
    kind = _kind(session.get_one(Dataset, run.dataset_code))
    assert kind is not None
    model = _models(session, run.model_version).of(kind)
    work = Work(session, run, kind, model, deepcopy(run.tally))
    cursor = STEPS[run.phase](work)
    phase = run.phase if cursor is not None else next_phase(run.phase)
    done = phase is None
    moved = work.execute(
        statements.ADVANCE,
        step=run.step,
        phase=(phase or run.phase).value,
        cursor=cursor or "",
        tally=msgspec.json.encode(work.tally).decode(),
        state=(ReconciliationState.DONE if done else ReconciliationState.RUNNING).value,
        finished=now() if done else None,
    )
    return bool(moved.rowcount)


def _end_badly(session: Session, run: Reconciliation, code: str) -> None:
    run.state, run.failure, run.finished_at = ReconciliationState.FAILED, code, now()
    session.flush()
    note(session, run, "reconciliation_failed", actor=ACTOR, failure=code)


def _kind(dataset: Dataset) -> Kind | None:
    """What the records of a dataset are about; None where nothing like it is collected and compared."""
    kind = spec_of(dataset).kind
    return kind if kind in LINKED_KINDS else None


def _models(session: Session, version: int) -> Models:
    return _parsed(msgspec.json.encode(session.get_one(LinkModel, version).rules))


@lru_cache(maxsize=4)
def _parsed(rules: bytes) -> Models:
    return Models.model_validate_json(rules)


def _ask_for_step(session: Session, run: Reconciliation, step: int) -> None:
    jobs.enqueue(session, JOB, key=key_of(run.id, step), priority=PRIORITY, run_id=str(run.id), step=step)


def key_of(run_id: UUID, step: int) -> str:
    """What the job of a step is called."""
    return f"{run_id}:{step}"


def note(session: Session, run: Reconciliation, action: str, *, actor: str, **detail: str | int) -> None:
    """One entry of the audit trail about a run."""
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="reconciliation",
        object_id=str(run.id),
        dataset=run.dataset_code,
        snapshot=str(run.snapshot_id),
        **detail,
    )
