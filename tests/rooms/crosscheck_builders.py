"""Business records and entries for tests of the cross-check: imported and sealed as the product does it."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import ImportState, Kind, ReportState, SourceType
from backend.core.ids import new_id
from backend.kinds.geodesy import SCALE
from backend.models import Citizen, Document, DocumentVersion, Report, Verdict
from backend.seed.territory import DEMO_GRIDS, grids, point_in
from backend.services import feed, records, registry
from backend.services.evidence import Item, open_evidence
from backend.services.sealing import Vault, seal_value
from workflows.crosscheck.facts import Source

GRID, NEXT_GRID = DEMO_GRIDS[:2]
HOUSE_CODE, OTHER_CODE = "440310" + "0" * 18 + "1", "440310" + "0" * 18 + "2"
ADDRESS = "坪山街道六联社区示例路1号1栋101"
ZHANG: dict[str, Any] = {
    "id_type": "citizen_id",
    "id_number": "110101199003072316",
    "name": "张三丰",
    "sex": "male",
    "birth_date": "1990-03-07",
    "phone": "13800001234",
}
LI = ZHANG | {"id_number": "110101198504121249", "name": "李梅", "sex": "female", "birth_date": "1985-04-12"}
LI = LI | {"phone": "13900005678"}
USCC = "91440300708461136T"
COMPONENT_ID = "4403100101000001"
"""All synthetic."""

COLUMNS = {
    "population": (*ZHANG, "house_code", "registered_address", "grid_id"),
    "houses": ("house_code", "address", "owner.name", "owner.id_type", "owner.id_number", "grid_id"),
    "organisations": ("uscc", "name", "status", "registered_address", "grid_id"),
    "components": ("component_id", "class_code", "owner_unit", "location.lat", "location.lon", "grid_id"),
}


def point_of(grid_id: str, *, metres_north: float = 0) -> dict[str, int]:
    """A location inside a synthetic grid."""
    ring = next(grid.ring for grid in grids() if grid.id == grid_id)
    lon, lat = point_in(ring, (0, 0, 0))
    return {"lat": round((lat + metres_north / 111_195) * SCALE), "lon": round(lon * SCALE)}


def business_records(session: Session, folder: Path, dataset: str, *rows: Mapping[str, Any]) -> None:
    """Import rows as a department's CSV drop; each lies in `GRID` unless it says otherwise."""
    path = folder / f"{new_id()}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS[dataset])
        writer.writeheader()
        writer.writerows({"grid_id": GRID, **row} for row in rows)
    snapshot = registry.import_path(session, dataset, path, actor="test")
    assert (snapshot.state, snapshot.accepted) == (ImportState.CURRENT, len(rows)), snapshot.reasons


@dataclass
class Entries:
    """Writes entries as the sync room and the channels leave them."""

    session: Session
    moment: datetime = field(default_factory=now)

    def document(
        self, kind: Kind, fields: Mapping[str, Any], *, grid_id: str = GRID, later: float = 0, deleted: bool = False
    ) -> Source:
        """The first version of a record; `later` in seconds orders records by when the server first had them."""
        moment = self.moment + timedelta(seconds=later)
        document_id = new_id()
        row = self._sealed(kind, document_id, fields, grid_id)
        indexes = row.indexes
        self.session.add(
            Document(
                id=document_id,
                kind=kind,
                grid_id=grid_id,
                version=1,
                op=new_id(),
                deleted=deleted,
                body=row.body,
                sealed=row.sealed,
                id_index=indexes.id_index,
                phone_index=indexes.phone_index,
                block_index=indexes.block_index,
                name_year_index=indexes.name_year_index,
                name_address_index=indexes.name_address_index,
                natural_key=indexes.natural_key,
                h3_cell=indexes.h3_cell,
                created_at=moment,
                updated_at=moment,
            )
        )
        self.session.flush()
        return self._version(row, document_id, 1, grid_id, deleted)

    def edit(self, kind: Kind, source: Source, fields: Mapping[str, Any], *, grid_id: str = GRID) -> Source:
        """The next version of a record, which is then the current one."""
        row = self._sealed(kind, source.id, fields, grid_id)
        document = self.session.get_one(Document, source.id)
        document.version, document.body, document.sealed = source.version + 1, row.body, row.sealed
        return self._version(row, source.id, source.version + 1, grid_id, deleted=False)

    def erased(self, source: Source) -> Source:
        """A version of a record whose human was erased: his key is gone."""
        document = self.session.get_one(Document, source.id)
        sealed = msgspec.msgpack.encode([(b"no such subject!", b"")])
        row = records.SealedRow(document.body, sealed, records.Indexes())
        return self._version(row, source.id, source.version + 1, document.grid_id, deleted=False)

    def event(self, *, metres_north: float = 0, hours_ago: float = 0, later: float = 0, **fields: Any) -> Source:
        """An event in the middle of the grid, or so many metres north of it."""
        place = point_of(GRID, metres_north=metres_north)
        occurred = (self.moment - timedelta(hours=hours_ago)).isoformat()
        body = {"class_code": "0102", "occurred_at": occurred, "location": place, **fields}
        return self.document(Kind.EVENT, body, later=later)

    def report(self, *, metres_north: float = 0, later: float = 0, class_code: str | None = "0102") -> Source:
        """A citizen's submitted report, its place and text sealed."""
        moment, place = self.moment + timedelta(seconds=later), point_of(GRID, metres_north=metres_north)
        citizen = Citizen(openid_index=new_id().bytes, openid=b"", created_at=moment)
        self.session.add(citizen)
        self.session.flush()
        report = Report(
            id=new_id(),
            citizen_id=citizen.id,
            state=ReportState.SUBMITTED,
            body={"class_code": class_code},
            grid_id=GRID,
            h3_cell=records.cell_of(place),
            opened_at=moment,
            last_message_at=moment,
            submitted_at=moment,
        )
        told = {"text": "垃圾没人清", "location": place, "photo_ids": []}
        report.sealed = seal_value(self.session, report.id.bytes, told, context=report.id.bytes)
        self.session.add(report)
        self.session.flush()
        return Source(SourceType.REPORT, report.id, 1)

    def _sealed(self, kind: Kind, document_id: UUID, fields: Mapping[str, Any], grid_id: str) -> records.SealedRow:
        return records.seal_rows(self.session, [(kind, document_id, {"grid_id": grid_id, **fields})])[0]

    def _version(self, row: records.SealedRow, document_id: UUID, version: int, grid_id: str, deleted: bool) -> Source:
        self.session.add(
            DocumentVersion(
                document_id=document_id,
                version=version,
                op=new_id(),
                grid_id=grid_id,
                deleted=deleted,
                body=row.body,
                sealed=row.sealed,
                created_at=self.moment,
            )
        )
        self.session.flush()
        feed.touch(self.session, [(grid_id, document_id, self.session.get_one(Document, document_id).kind)])
        return Source(SourceType.DOCUMENT, document_id, version)


def verdicts(session: Session, source: Source) -> list[Verdict]:
    """All verdicts on an entry, the oldest first."""
    query = select(Verdict).where(Verdict.source_type == source.type, Verdict.source_id == source.id)
    return list(session.exec(query.order_by(col(Verdict.source_version), col(Verdict.rule_version))))


def evidence(session: Session, verdict: Verdict) -> dict[str, Item]:
    """The opened evidence of a verdict by field."""
    items = open_evidence(Vault(session), {verdict.id: verdict.evidence})[verdict.id]
    return {item["field"]: item for item in items}
