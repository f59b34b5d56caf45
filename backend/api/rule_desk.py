"""Rules of the cross-check (比对规则): drafted, tried out, put in force, returned to; and runs that check again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, status
from fastapi.responses import StreamingResponse

from backend.api.deps import DbSession, allowed
from backend.api.downloads import download
from backend.api.fields import After
from backend.services import rechecks
from backend.services.sessions import Caller
from workflows.crosscheck import rule_desk, what_if, what_if_reading
from workflows.crosscheck.rule_schemas import (
    Activation,
    Draft,
    RecheckOut,
    RuleSetActivated,
    RuleSetLine,
    RuleSetOut,
    WhatIfAsked,
    WhatIfOut,
    WhatIfReport,
)

router = APIRouter(prefix="/checks/v1", tags=["比对规则 rules of the cross-check"])

Version = Annotated[int, Path(ge=1, le=2_147_483_647)]
Limit = Annotated[int, Query(ge=1, le=200)]


@router.get("/rule-sets", summary="比对规则各版本 · all versions, the newest first")
def list_rule_sets(session: DbSession, _: Annotated[Caller, Depends(allowed("rule_sets.list"))]) -> list[RuleSetLine]:
    return [RuleSetLine.model_validate(row) for row in rule_desk.listed(session)]


@router.get("/rule-sets/{version}", summary="一个版本的规则 · one version with what it says")
def read_rule_set(
    version: Version, session: DbSession, _: Annotated[Caller, Depends(allowed("rule_sets.read"))]
) -> RuleSetOut:
    found = rule_desk.read(session, version)
    line = RuleSetLine.model_validate(found)
    return RuleSetOut(**line.model_dump(), rules=rule_desk.rules_of(found))


@router.post("/rule-sets", status_code=status.HTTP_201_CREATED, summary="拟定新版本 · draft a version")
def draft_rule_set(
    body: Draft, session: DbSession, caller: Annotated[Caller, Depends(allowed("rule_sets.draft"))]
) -> RuleSetLine:
    """It changes nothing until it is activated. What a version says is never rewritten."""
    return RuleSetLine.model_validate(rule_desk.draft(session, caller=caller, asked=body))


@router.post("/rule-sets/{version}/activate", summary="启用或恢复一个版本 · put a version in force")
def activate_rule_set(
    version: Version,
    body: Activation,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("rule_sets.activate"))],
) -> RuleSetActivated:
    """Without a deploy, for all checks from now on. An earlier version comes back the same way."""
    return rule_desk.activate(session, caller=caller, version=version, asked=body)


@router.get("/rechecks", summary="重新核查 · runs that check again, the newest first")
def list_rechecks(
    session: DbSession,
    _: Annotated[Caller, Depends(allowed("rechecks.list"))],
    before: After = None,
    limit: Limit = 50,
) -> list[RecheckOut]:
    return [RecheckOut.model_validate(run) for run in rechecks.listed(session, before=before, limit=limit)]


@router.post("/rechecks/{recheck_id}/cancel", summary="取消重新核查 · end a run; what was checked stays")
def cancel_recheck(
    recheck_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("rechecks.cancel"))]
) -> RecheckOut:
    return RecheckOut.model_validate(rechecks.cancel(session, caller=caller, recheck_id=recheck_id))


@router.post("/what-ifs", status_code=status.HTTP_202_ACCEPTED, summary="推演 · try a version out on past entries")
def ask_what_if(
    body: WhatIfAsked, session: DbSession, caller: Annotated[Caller, Depends(allowed("what_ifs.create"))]
) -> WhatIfOut:
    """Jobs count what would change. No verdict, case or task is written."""
    return WhatIfOut.model_validate(what_if.ask(session, caller=caller, asked=body))


@router.get("/what-ifs", summary="推演列表 · what-ifs, the newest first")
def list_what_ifs(
    session: DbSession,
    _: Annotated[Caller, Depends(allowed("what_ifs.list"))],
    before: After = None,
    limit: Limit = 50,
) -> list[WhatIfOut]:
    return what_if_reading.listed(session, before=before, limit=limit)


@router.get("/what-ifs/{what_if_id}", summary="推演结果 · what would change, as far as it was counted")
def read_what_if(
    what_if_id: UUID, session: DbSession, _: Annotated[Caller, Depends(allowed("what_ifs.read"))]
) -> WhatIfReport:
    """Verdicts old → new by kind and grid, cases that would and would not open, ids of a few entries of each."""
    return what_if_reading.report(session, what_if_id)


@router.get(
    "/what-ifs/{what_if_id}/file",
    summary="推演结果表 · the counts as CSV",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}}}},
)
def fetch_what_if(
    what_if_id: UUID, session: DbSession, _: Annotated[Caller, Depends(allowed("what_ifs.fetch"))]
) -> StreamingResponse:
    content = what_if_reading.table(session, what_if_id)
    return download(content, what="what-if", file_id=what_if_id, suffix="csv", media_type="text/csv")


@router.post("/what-ifs/{what_if_id}/cancel", summary="取消推演 · end a what-if; what was counted stays")
def cancel_what_if(
    what_if_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("what_ifs.cancel"))]
) -> WhatIfOut:
    return WhatIfOut.model_validate(what_if.cancel(session, caller=caller, what_if_id=what_if_id))
