"""The outcome of a case, as handhelds replicate it: read-only, and free of personal data."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from backend.core.enums import Kind
from backend.kinds.base import COMMON_MEMBERS, COMMON_PUBLIC, Code, KindSpec, Moment, Record, Text

PUBLIC = frozenset(
    {
        "number",
        "state",
        "queue",
        "reason",
        "source_type",
        "source_id",
        "opened_at",
        "deadline_at",
        "closed_at",
        "outcome",
    }
)


class CaseOutcome(Record):
    """What became of an entry. `source_id` is the record or report the case is about."""

    number: Annotated[Code, Field(title="案件编号")]
    state: Annotated[Code, Field(title="状态")]
    queue: Annotated[Code, Field(title="队列")]
    reason: Annotated[Code, Field(title="立案原因")]
    source_type: Annotated[Code, Field(title="来源类型")]
    source_id: Annotated[UUID, Field(title="来源", strict=False)]
    opened_at: Annotated[Moment, Field(title="立案时间")]
    deadline_at: Annotated[Moment, Field(title="时限")]
    closed_at: Annotated[Moment | None, Field(title="结案时间")] = None
    outcome: Annotated[Text | None, Field(title="结果")] = None


SPEC = KindSpec(kind=Kind.CASE, model=CaseOutcome, title="案件", public=COMMON_PUBLIC | PUBLIC, members=COMMON_MEMBERS)
