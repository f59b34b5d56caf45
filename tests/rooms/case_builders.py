"""Entries and verdicts as the sync room and the cross-check leave them, for tests of what comes after."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import Kind, ReportState, Role, SourceType, VerdictKind
from backend.core.ids import new_id
from backend.kinds.geodesy import SCALE
from backend.models import Account, Case, Citizen, Document, DocumentVersion, Grid, Report, RuleSet, Verdict
from backend.services import feed
from backend.services.records import cell_of
from backend.services.sealing import seal_value
from backend.services.sessions import Caller
from tests.people import caller_of, new_account

DISTRICT = "440310"
HERE = (22.7051, 114.3492)


def location(metres_north: float = 0) -> dict[str, int]:
    return {"lat": round((HERE[0] + metres_north / 111_195) * SCALE), "lon": round(HERE[1] * SCALE)}


def grid_of(session: Session, district: str = DISTRICT) -> str:
    return session.exec(select(Grid.id).where(col(Grid.id).startswith(district)).order_by(Grid.id)).first() or ""


def caller(session: Session, login: str) -> Caller:
    account = session.exec(select(Account).where(Account.login == login)).one()
    return caller_of(account)


def account(session: Session, role: Role, **scope: Any) -> Caller:
    """A new account and its caller."""
    return caller_of(new_account(session, role, **scope))


@dataclass
class Entries:
    """Writes entries and verdicts into one session."""

    session: Session

    def event(
        self,
        *,
        class_code: str = "0101",
        severity: str | None = None,
        district: str = DISTRICT,
        metres_north: float = 0,
        collector: UUID | None = None,
    ) -> Document:
        """A first version of an event."""
        place, grid = location(metres_north), grid_of(self.session, district)
        body = {"class_code": class_code, "severity": severity, "location": place, "grid_id": grid}
        moment = now()
        document = Document(
            id=new_id(),
            kind=Kind.EVENT,
            grid_id=grid,
            version=1,
            op=new_id(),
            body=body,
            h3_cell=cell_of(place),
            account_id=collector,
            created_at=moment,
            updated_at=moment,
        )
        self.session.add(document)
        self.session.flush()
        self._keep_version(document)
        return document

    def house(self, **body: Any) -> Document:
        """A first version of a house."""
        moment, grid = now(), grid_of(self.session)
        document = Document(
            id=new_id(),
            kind=Kind.HOUSE,
            grid_id=grid,
            version=1,
            op=new_id(),
            body={"grid_id": grid, **body},
            created_at=moment,
            updated_at=moment,
        )
        self.session.add(document)
        self.session.flush()
        self._keep_version(document)
        return document

    def delete(self, document: Document) -> None:
        """The record's tombstone, which is never checked."""
        document.deleted = True
        self.edit(document)

    def edit(self, document: Document, **body: Any) -> None:
        """The next version."""
        document.version += 1
        document.op = new_id()
        document.body = {**document.body, **body}
        self._keep_version(document)

    def report(self, *, metres_north: float = 0, grid_id: str | None = None) -> Report:
        """A citizen's submitted report: its place is sealed with its text."""
        moment, place = now(), location(metres_north)
        citizen = Citizen(openid_index=new_id().bytes, openid=b"", created_at=moment)
        self.session.add(citizen)
        self.session.flush()
        report = Report(
            citizen_id=citizen.id,
            state=ReportState.SUBMITTED,
            body={},
            grid_id=grid_id,
            h3_cell=cell_of(place),
            opened_at=moment,
            last_message_at=moment,
            submitted_at=moment,
        )
        sealed = {"text": "井盖坏了", "location": place}
        report.sealed = seal_value(self.session, report.id.bytes, sealed, context=report.id.bytes)
        self.session.add(report)
        self.session.flush()
        return report

    def verdict(
        self,
        entry: Document | Report,
        kind: VerdictKind = VerdictKind.ACCEPTED,
        *,
        version: int | None = None,
        rule_version: int = 1,
        recheck_id: UUID | None = None,
    ) -> Verdict:
        """What the cross-check wrote about a version of the entry, the present one unless another is named."""
        if self.session.get(RuleSet, rule_version) is None:
            self.session.add(RuleSet(version=rule_version, rules={}, created_at=now()))
            self.session.flush()
        verdict = Verdict(
            source_type=SourceType.DOCUMENT if isinstance(entry, Document) else SourceType.REPORT,
            source_id=entry.id,
            source_version=version or entry.version,
            kind=entry.kind if isinstance(entry, Document) else Kind.EVENT,
            grid_id=entry.grid_id,
            rule_version=rule_version,
            verdict=kind,
            findings=[kind.value],
            snapshots={},
            recheck_id=recheck_id,
            created_at=now(),
        )
        self.session.add(verdict)
        self.session.flush()
        return verdict

    def cases_of(self, entry: Document | Report) -> list[Case]:
        """All cases about an entry, the oldest first."""
        return list(self.session.exec(select(Case).where(Case.source_id == entry.id).order_by(col(Case.seq))))

    def _keep_version(self, document: Document) -> None:
        self.session.add(
            DocumentVersion(
                document_id=document.id,
                version=document.version,
                op=document.op,
                grid_id=document.grid_id,
                deleted=document.deleted,
                body=document.body,
                account_id=document.account_id,
                created_at=now(),
            )
        )
        self.session.flush()
        feed.touch(self.session, [(document.grid_id, document.id, document.kind)])
