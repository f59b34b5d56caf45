"""Field authority (一数一源): an edit of what a department has said becomes a request to it, and never a write.

Who wrote a value decides. As long as no department has written a stewarded field of a document, its value is what the
grid observed, from the create on, and edits of it meet like any others. From the first write of a department on
(`Known.owned`) the field is the department's, also over a deletion: a handheld's other value is taken out of the row
before the merge, and kept as a request with what stands instead. Pure, as `sync.rules`, which it stands before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backend.kinds import Document
from sync.rules import ABSENT, Base, State, same


@dataclass(frozen=True, slots=True)
class FieldRequest:
    """That a handheld proposes another value for a field than the department's, which is `kept`."""

    field: str
    proposed: Any
    kept: Any


@dataclass(frozen=True, slots=True)
class Deferred:
    """What is left of a row to be merged, and of its base, and what is asked of the department.

    `differs` says whether anything was taken out of the row: then the result is not what was pushed.
    """

    mine: State
    base: Base | None
    requests: list[FieldRequest] = field(default_factory=list)
    differs: bool = False


def defer(mine: State, base: Base | None, *, owned: Mapping[str, Any]) -> Deferred:
    """Put the department's values, `owned`, in the place of the row's; `ABSENT` where a department wants none.

    A value that the row has from its base is no edit, only stale, and asks nothing. Without a base every other value
    is one. A delete has no values.
    """
    if mine.deleted or not owned:
        return Deferred(mine, base)
    known = base.state.fields if base is not None else None
    other = {name: value for name, value in owned.items() if not same(mine.fields.get(name, ABSENT), value)}
    requests = [
        FieldRequest(name, mine.fields.get(name, ABSENT), value)
        for name, value in other.items()
        if known is None or not same(mine.fields.get(name, ABSENT), known.get(name, ABSENT))
    ]
    if base is not None and not base.state.deleted:
        base = Base(State(_with(base.state.fields, owned)), base.version)
    return Deferred(State(_with(mine.fields, other)), base, requests, differs=bool(other))


def _with(fields: Document, values: Mapping[str, Any]) -> Document:
    """The fields with some values set, or taken away where they are `ABSENT`; the order stays."""
    return {name: value for name, value in {**fields, **values}.items() if value is not ABSENT}
