"""Job handlers of the base nouns."""

from datetime import date
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.core.settings import get_settings
from backend.services import (
    erasure,
    exports,
    file_removal,
    key_rotation,
    registry,
    registry_folder,
    registry_pull,
    retention,
    subject_access,
)
from backend.tasks import DAILY_JOB, GATHER_JOB


@jobs.handler(registry.IMPORT_JOB)
def import_dataset(session: Session, *, snapshot_id: str) -> None:
    """Load an uploaded file as its dataset's new snapshot."""
    registry.run_import(session, UUID(snapshot_id))


@jobs.handler(GATHER_JOB)
def gather(session: Session) -> None:
    """Take in what departments left in the folder, and ask for the pulls that are due."""
    registry_folder.gather(session)
    registry_pull.ask_for_due(session)


@jobs.handler(registry_pull.JOB)
def pull(session: Session, *, dataset: str) -> None:
    """Read a dataset from its department's database."""
    registry_pull.pull(session, dataset)


@jobs.handler(registry.FORGET_JOB)
def forget_upload(_session: Session, *, snapshot_id: str) -> None:
    """Remove the uploaded file of a load that has ended."""
    registry.forget_upload(UUID(snapshot_id))


@jobs.handler(key_rotation.ROTATE_JOB)
def rotate_keys(session: Session, *, version: int, run: str, stage: str, after: str) -> None:
    """One batch of a rotation of the master keys; it asks for the next."""
    key_rotation.rotate(session, version=version, run=run, stage=stage, after=after)


@jobs.handler(erasure.ERASE_JOB)
def erase(session: Session, *, erasure_id: str) -> None:
    """Run an approved erasure: destroy the keys, bury the documents."""
    erasure.erase(session, erasure_id=UUID(erasure_id), ledger_path=get_settings().erasure_ledger_file())


@jobs.handler(DAILY_JOB)
def daily(session: Session, *, day: str) -> None:
    """Ask for each rule of retention."""
    retention.ask_for_runs(session, day=date.fromisoformat(day))


@jobs.handler(retention.JOB)
def retain(session: Session, *, rule: str, day: str) -> None:
    """Remove what one rule says has been kept long enough."""
    retention.run(session, code=rule, day=date.fromisoformat(day))


@jobs.handler(erasure.TRACES_JOB)
def erase_traces(session: Session, *, erasure_id: str, tries: int) -> None:
    """Finish an erasure: remove what is left in the big tables."""
    erasure.remove_traces(session, erasure_id=UUID(erasure_id), tries=tries)


@jobs.handler(file_removal.JOB)
def remove_files(session: Session, *, keys: list[str]) -> None:
    """Remove the files of what was forgotten."""
    file_removal.remove(session, keys=keys)


@jobs.handler(subject_access.JOB)
def collect(session: Session, *, request_id: str) -> None:
    """Collect all that is held about somebody who asked."""
    subject_access.collect(session, request_id=UUID(request_id))


@jobs.handler(exports.JOB)
def export(session: Session, *, export_id: str) -> None:
    """Make the file of an export, within the reach its account has now."""
    exports.run(session, export_id=UUID(export_id))
