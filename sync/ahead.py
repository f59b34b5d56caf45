"""Checkpoints that this server cannot have given: from another one, or from what a restore took away (rule 8).

A client that went on with such a checkpoint would miss everything up to it and never know. A restore is told by the
epoch before anything else (`backend.services.epoch`); this is for the client that names none, and for mixed-up servers.
"""

from collections.abc import Mapping

from sqlmodel import Session

from backend.core import statements
from backend.core.errors import ZhiwangError
from sync.checkpoints import Held


class CheckpointAhead(ZhiwangError):
    """The checkpoint lies beyond a grid's feed. Nothing was read; the client starts anew as after a restore."""

    code = "checkpoint_ahead"
    status = 409
    title_zh = "同步进度与服务器不符，正在重新同步（请勿删除本机数据）"
    title_en = "The checkpoint is none of this server's; start the sync anew and keep all data on the device"


def refuse_ahead(session: Session, *, asked: Mapping[str, Held], held: Mapping[str, int]) -> None:
    """`CheckpointAhead` where `asked` has a number that the grid's feed has not reached,
    in a term that still runs. In another term the number counts for nothing and the grid starts anew."""
    claimed = {grid: at.seq for grid, at in asked.items() if at.seq > 0 and held.get(grid) == at.epoch}
    if not claimed:
        return
    reached: dict[str, int] = dict(statements.rows(session, _REACHED, {"grids": list(claimed)}))
    if any(seq > reached.get(grid, 0) for grid, seq in claimed.items()):
        raise CheckpointAhead


_REACHED = "SELECT CAST(grid_id AS text), seq FROM feed_counter WHERE grid_id = ANY(%(grids)b::text[])"
