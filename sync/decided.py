"""What a desk decided becomes a version of the record: fit for its form, within the reviewer's territory, and of nobody
who was erased.
"""

from uuid import UUID

from sqlmodel import Session, select

from backend.core.enums import Kind
from backend.kinds import KINDS
from backend.kinds.forms import faults, normalised
from backend.models import Document, Grid
from backend.services import erased
from backend.services.records import subject_of
from backend.services.scope import in_territory
from backend.services.sealing import SubjectErased, Vault
from backend.services.sessions import Caller
from sync import service, store
from sync.known import Known, Wanted
from sync.review_desk import Desk
from sync.review_errors import RecordUnfit
from sync.rules import State, same_state


def write_decided(desk: Desk, document: Document, target: State, *, owner: UUID, vault: Vault) -> Known:
    """Make the decided content the record's, where it is not that already; what is known of it then."""
    wanted = [Wanted(document.id, document.id, None, target.deleted)]
    known = store.read(desk.session, wanted, device_id=None, vault=vault)[document.id]
    assert known.master is not None
    if same_state(known.master.state, target):
        return known
    spec = KINDS[document.kind]
    if not target.deleted:
        if places := faults(spec, target.fields):
            raise RecordUnfit(places=places)
        target = State(normalised(spec, target.fields))
        if target.fields["grid_id"] != known.master.grid_id:
            check_grid(desk.session, desk.caller, target.fields["grid_id"])
    if gone := vault.erased(erased_subjects(document.id, document.kind, target)):
        raise SubjectErased(gone)
    touches = service.write_reviewed(
        desk.session,
        known,
        target,
        kind=document.kind,
        reviewer=desk.caller.account_id,
        owner=owner,
        vault=vault,
    )
    desk.touches += touches
    return known


def check_grid(session: Session, caller: Caller, grid_id: str) -> None:
    """`RecordUnfit` for a grid that is none, or lies outside the reviewer's territory."""
    query = select(Grid.id).where(Grid.id == grid_id, in_territory(Grid.id, caller))
    if session.exec(query).first() is None:
        raise RecordUnfit(places=["grid_id"])


def erased_subjects(document_id: UUID, kind: Kind, state: State) -> set[bytes]:
    """Everybody a version names, and the record itself: whoever of them was erased must not come back by it."""
    return {document_id.bytes, subject_of(KINDS[kind], document_id, state.fields), *erased.named_in(state.fields)}
