"""The inbox as the API shows it."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from workflows.notify.push import TargetKind


class NoticeView(BaseModel):
    """One notice, with its text filled in."""

    id: UUID
    template: Annotated[str, Field(examples=["case_changed"])]
    title: Annotated[str, Field(examples=["事项有新进展"])]
    body: Annotated[str, Field(examples=["您上报的事项（编号 20261123-000012）已办结。"])]
    payload: Annotated[dict[str, Any], Field(examples=[{"number": "20261123-000012", "state": "closed"}])]
    created_at: AwareDatetime
    read_at: AwareDatetime | None


class Inbox(BaseModel):
    """A page of notices, newest first. `unread` counts all pages; pass `next` as `before` for the page after."""

    notices: list[NoticeView]
    unread: Annotated[int, Field(examples=[3])]
    next: UUID | None


class PushTarget(BaseModel):
    """Where Firebase finds the app of this handheld: its installation id, or a token of an older client."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[TargetKind, Field(examples=["fid"])]
    target: Annotated[
        str,
        StringConstraints(min_length=10, max_length=512, pattern=r"^[A-Za-z0-9:_.\-]+$"),
        Field(examples=["cTq1synthetic0fid00000"]),
    ]
