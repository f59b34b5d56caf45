"""The order of one device's pushes (rule 13).

A request may reach the server after its sender gave it up and sent a later one, kept back by a proxy or a radio cell.
Taken then, it would look like a newer edit of what the later one wrote: the device's own old value would come back and
nobody would be told. Neither clocks nor ops tell the two apart, so a device numbers its pushes.
"""

from uuid import UUID

from sqlmodel import Session

from backend.core import statements
from backend.core.enums import Kind
from backend.core.errors import ZhiwangError


class PushOutOfOrder(ZhiwangError):
    """A push with a later number was taken already. The device that sent this one has given it up."""

    code = "push_out_of_order"
    status = 409
    title_zh = "该批次已被同一设备较新的批次取代，未作任何改动"
    title_en = "A later push of this device was taken already; nothing of this one was"


def take_turn(session: Session, *, device_id: UUID, kind: Kind, number: int | None) -> None:
    """Note the number of a push; `PushOutOfOrder` where a later one was taken. The same number again is a repeat.

    Pushes of one device and collection wait for each other here until the transaction ends. A device that numbers
    nothing (None) has no such protection.
    """
    if number is None:
        return
    given = {"device": device_id, "kind": kind.value, "number": number}
    if not statements.rows(session, _TAKE, given):
        raise PushOutOfOrder


_TAKE = """
    INSERT INTO device_push (device_id, kind, number) VALUES (%(device)s, %(kind)s::text, %(number)s)
    ON CONFLICT (device_id, kind) DO UPDATE SET number = excluded.number
    WHERE device_push.number <= excluded.number
    RETURNING number
"""
