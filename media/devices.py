"""What became of the photos of one handheld: those its records name and those it brought."""

from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.enums import PhotoState, Reach
from backend.core.errors import NotFound
from backend.services import devices
from backend.services.sessions import Caller
from media.schemas import AwaitedPhotoView, DeviceCompletenessView, FailureCountView, UploadingView
from media.service import failure_view

MOST_AWAITED = 200


def device_completeness(session: Session, caller: Caller, *, device_id: UUID) -> DeviceCompletenessView:
    """Counts, the oldest photos that are awaited, and why others failed. `NotFound` for a handheld out of reach."""
    _in_reach(session, caller, device_id)
    run = session.connection().execute
    given = {"device": device_id, "now": now(), "limit": MOST_AWAITED}
    counted = [(PhotoState(row.state), row.failure, row.photos) for row in run(_COUNTS, given)]
    expected = sum(count for _, _, count in counted)
    received = sum(count for state, _, count in counted if state is not PhotoState.EXPECTED)
    under_way = run(_UPLOADING, given).one()
    return DeviceCompletenessView(
        device_id=device_id,
        expected=expected,
        received=received,
        processed=sum(count for state, _, count in counted if state is PhotoState.PROCESSED),
        failed=sum(count for state, _, count in counted if state is PhotoState.FAILED),
        complete=received == expected,
        failures=[
            FailureCountView(failure=failure, count=count)
            for _, code, count in counted
            if (failure := failure_view(code)) is not None
        ],
        awaited=[AwaitedPhotoView(photo_id=row.taken_as, named_at=row.created_at) for row in run(_AWAITED, given)],
        uploading=UploadingView(uploads=under_way.uploads, safe_bytes=under_way.safe, bytes=under_way.total),
    )


def _in_reach(session: Session, caller: Caller, device_id: UUID) -> None:
    if Reach.SELF in caller.reach and caller.device_id == device_id:
        return
    if not caller.reach - {Reach.SELF}:
        raise NotFound
    devices.found(session, caller=caller, device_id=device_id)


_COUNTS = text(
    """
    SELECT state, failure, count(*) AS photos FROM photo WHERE device_id = :device
    GROUP BY state, failure ORDER BY count(*) DESC, failure
    """
)
_AWAITED = text(
    """
    SELECT taken_as, created_at FROM photo WHERE device_id = :device AND state = 'expected'
    ORDER BY created_at, id LIMIT :limit
    """
)
_UPLOADING = text(
    """
    SELECT count(*) AS uploads, coalesce(sum(durable_offset), 0) AS safe, coalesce(sum(length), 0) AS total
    FROM upload WHERE device_id = :device AND NOT finished AND expires_at > :now
    """
)
