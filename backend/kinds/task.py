"""A task about an entry of the grid, as handhelds replicate it: read-only, and free of personal data."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from backend.core.enums import Kind, SourceType, TaskResult, TaskState, TaskType
from backend.kinds.base import COMMON_MEMBERS, COMMON_PUBLIC, Code, KindSpec, Moment, Record

PUBLIC = frozenset(
    {
        "task",
        "state",
        "result",
        "reason",
        "source_type",
        "source_id",
        "source_kind",
        "source_version",
        "field",
        "dataset",
        "finding",
        "due_at",
        "case_id",
        "asked_at",
        "done_at",
    }
)


class HandedTask(Record):
    """What waits about the record or report `source_id`, and what came of it.

    A verification names the department's `field` and its `dataset`, a check its `case_id`, a visit the `finding` of the
    cross-check and when it is due; `source_kind` is that of a record. `source_version` is the version that was asked
    about, and once it is decided the record's version then.
    """

    task: Annotated[TaskType, Field(title="任务", strict=False)]
    state: Annotated[TaskState, Field(title="状态", strict=False)]
    result: Annotated[TaskResult | None, Field(title="结果", strict=False)] = None
    reason: Annotated[Code | None, Field(title="原因")] = None
    source_type: Annotated[SourceType, Field(title="来源类型", strict=False)]
    source_id: Annotated[UUID, Field(title="来源", strict=False)]
    source_kind: Annotated[Code | None, Field(title="数据类别")] = None
    source_version: Annotated[int, Field(title="版本", ge=0)]
    field: Annotated[Code | None, Field(title="字段")] = None
    dataset: Annotated[Code | None, Field(title="权威数据集")] = None
    finding: Annotated[Code | None, Field(title="比对结论")] = None
    due_at: Annotated[Moment | None, Field(title="办理时限")] = None
    case_id: Annotated[UUID | None, Field(title="案件", strict=False)] = None
    asked_at: Annotated[Moment, Field(title="提出时间")]
    done_at: Annotated[Moment | None, Field(title="办结时间")] = None


SPEC = KindSpec(kind=Kind.TASK, model=HandedTask, title="任务", public=COMMON_PUBLIC | PUBLIC, members=COMMON_MEMBERS)
