"""A citizen's chat with the official account: messages go in through the hook, jobs are run, replies are read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text
from sqlmodel import Session, col, select

import workflows.channels.tasks
import workflows.notify.tasks  # noqa: F401  both register their handlers
from backend import jobs
from backend.core.db import engine_for, transaction
from backend.demo.wechat_api import Call, FakeWechatApi, WechatSender
from backend.models import Report
from backend.tasks import run_batch
from workflows.channels import drafts, hook
from workflows.channels.rules import Draft
from workflows.channels.wechat_crypto import Signed
from workflows.notify.templates import TEMPLATES

OURS = ("workflows.channels.", "workflows.notify.")


@dataclass
class Chat:
    """One citizen, one fake WeChat, and the database the settings point to."""

    wechat: FakeWechatApi
    openid: str = "o-synthetic-1"
    sender: WechatSender = field(default_factory=lambda: WechatSender(hook.channel()))

    def post(self, *calls: Call) -> None:
        """Let the hook take calls, each in a transaction of its own."""
        for call in calls:
            signed = Signed(call.params["msg_signature"], call.params["timestamp"], call.params["nonce"])
            with transaction(engine_for("zw_api")) as session:
                hook.receive(session, signed, call.body)

    def says(self, content: str, at: datetime | None = None) -> None:
        self.post(self.sender.text(self.openid, content, at=at))

    def shows(self, media_id: str, at: datetime | None = None) -> None:
        self.post(self.sender.image(self.openid, media_id, at=at))

    def stands_at(self, lat: float, lon: float, at: datetime | None = None) -> None:
        self.post(self.sender.location(self.openid, lat, lon, at=at))

    def heard(self) -> list[str]:
        """What the citizen was sent, without titles, and without the privacy notice that everybody gets first."""
        texts = [sent.text.partition("\n") for sent in self.wechat.sent if sent.openid == self.openid]
        return [body for title, _, body in texts if title != TEMPLATES["privacy_notice"].title]


def run_jobs() -> None:
    """Run the waiting jobs of channels and notify, with those that follow; other rooms' jobs stay."""
    while True:
        with Session(engine_for("zw_worker")) as session:
            names = [name for name in jobs.waiting_names(session) if name.startswith(OURS)]
        if not names:
            return
        for name in names:
            run_batch(name)


def let_time_pass(name: str) -> None:
    """Make delayed jobs of one name due now, and run what follows."""
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(
            text("UPDATE job SET not_before = created_at WHERE name = :name AND state = 'ready'"), {"name": name}
        )
    run_jobs()


def jobs_named(name: str) -> list[tuple[str, str]]:
    """Key and state of all jobs of a name."""
    with Session(engine_for("zw_worker")) as session:
        rows = session.connection().execute(text("SELECT key, state FROM job WHERE name = :name"), {"name": name})
        return [(row.key, row.state) for row in rows]


def reports() -> Sequence[tuple[Report, Draft]]:
    """All reports with what is in them, oldest first."""
    with Session(engine_for("zw_worker"), expire_on_commit=False) as session:
        found = session.exec(select(Report).order_by(col(Report.opened_at))).all()
        return [(report, drafts.load(session, report)) for report in found]
