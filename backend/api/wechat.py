"""WeChat's hook, and citizens' reports for those who watch over them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import PlainTextResponse

from backend.api.deps import DbSession, allowed, public
from backend.api.fields import After
from backend.core.enums import ReportState
from backend.core.errors import TooLarge
from backend.services.sessions import Caller
from workflows.channels import hook, overview
from workflows.channels.schemas import ReportPage, ReportSummary
from workflows.channels.wechat_crypto import Signed

router = APIRouter(tags=["channels 渠道"])

MAX_CALL_BYTES = 64 * 1024
ECHO = r"^[A-Za-z0-9_+/=\-]{1,256}$"
UNPROCESSED = {"X-Content-Type-Options": "nosniff"}

Watcher = Annotated[Caller, Depends(allowed("reports.list"))]
Counter = Annotated[Caller, Depends(allowed("reports.summary"))]
Text = Annotated[str, Query(max_length=256)]


async def call_body(request: Request) -> bytes:
    """The body of a call, read no further than the largest message WeChat sends."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_CALL_BYTES:
            raise TooLarge
    return bytes(body)


@router.get(
    "/channels/wechat",
    dependencies=[Depends(public("wechat.check_address"))],
    response_class=PlainTextResponse,
)
def check_address(
    echostr: Annotated[str, Query(pattern=ECHO)], signature: Text = "", timestamp: Text = "", nonce: Text = ""
) -> PlainTextResponse:
    """WeChat tries the address once, when it is registered. 微信服务器配置校验。"""
    hook.answer_address_check(Signed(signature, timestamp, nonce))
    return PlainTextResponse(echostr, headers=UNPROCESSED)


@router.post("/channels/wechat", dependencies=[Depends(public("wechat.receive"))], response_class=PlainTextResponse)
def receive_message(
    session: DbSession,
    body: Annotated[bytes, Depends(call_body)],
    msg_signature: Text = "",
    timestamp: Text = "",
    nonce: Text = "",
) -> PlainTextResponse:
    """One message or event in safe mode. 接收安全模式的消息与事件。"""
    hook.receive(session, Signed(msg_signature, timestamp, nonce), body)
    return PlainTextResponse("success")


@router.get("/channels/v1/reports")
def list_reports(
    session: DbSession,
    caller: Watcher,
    state: ReportState | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: After = None,
) -> ReportPage:
    """Citizens' reports in the caller's territory, text masked. 辖区内的市民上报（文字脱敏）。"""
    return overview.reports(session, caller, state=state, limit=limit, before=before)


@router.get("/channels/v1/summary")
def summarise_reports(session: DbSession, caller: Counter) -> ReportSummary:
    """Counts of citizens' reports by state. 市民上报数量，按状态。"""
    return overview.summary(session, caller)
