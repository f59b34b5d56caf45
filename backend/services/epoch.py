"""The sync epoch: which line of history this server tells. A restore to an earlier point begins a new one.

After a restore the feed's numbers and the documents' versions are given a second time, for other things. A client that
went on with its old checkpoints would miss what is new and believe unsent what was sent, so it is told before anything
of its call is read or written (docs/sync-protocol.md, "After a restore").
"""

import secrets
from collections.abc import Callable

from sqlmodel import Session

from backend.core import statements
from backend.core.clock import now
from backend.core.errors import ZhiwangError
from backend.models import ServerState

NAME, FIRST_RESTORE = "epoch", "first_restore"
EPOCH_BYTES = 8


class EpochChanged(ZhiwangError):
    """The client speaks of a line of history that a restore ended. `epoch` is the one to adopt."""

    code = "epoch"
    status = 409
    title_zh = "服务器已恢复到较早的时间点，正在重新同步（请勿删除本机数据）"
    title_en = "The server was restored to an earlier point; start the sync anew and keep all data on the device"


def current_epoch(session: Session) -> str:
    """The epoch of this server. A migration writes the first one."""
    return ask_epoch(session, None)()


def ask_epoch(session: Session, claimed: str | None) -> Callable[[], str]:
    """The current epoch in two steps, for `statements.together`: the question, and the reading of the answer.

    Reading it is `EpochChanged` where a client names another. One that names none is met the first time.
    """
    answer = statements.execute(session, _CURRENT, {"name": NAME})

    def read() -> str:
        ((current,),) = answer.rows()
        if claimed is not None and claimed != current:
            raise EpochChanged(epoch=current)
        return str(current)

    return read


def begin_epoch(session: Session) -> tuple[str, str]:
    """Begin a new line of history: the epoch that was and the one that is. Only a restore may call it.

    When the first restore was is kept: only versions from before are the same in all lines of history. Those of a later
    line bear numbers that devices may know from an earlier one.
    """
    state = session.get_one(ServerState, NAME)
    before, state.value = state.value, secrets.token_hex(EPOCH_BYTES)
    session.add(state)
    if session.get(ServerState, FIRST_RESTORE) is None:
        session.add(ServerState(name=FIRST_RESTORE, value=now().isoformat()))
    session.flush()
    return before, state.value


_CURRENT = "SELECT value FROM server_state WHERE name = %(name)s"
