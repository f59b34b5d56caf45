"""What the department that answers for a field has to say about it (一数一源): from its dataset, else a cross-check."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from backend.core.enums import Kind, SourceType
from backend.kinds import KINDS
from backend.models import Document, Verdict
from backend.services import registry
from backend.services.evidence import Item, open_evidence
from backend.services.registry_specs import SPECS
from backend.services.sealing import Vault
from sync.review_rules import split_place
from sync.review_schemas import StewardValue


@dataclass(frozen=True, slots=True)
class Department:
    """A department's value in the clear, with where it stands."""

    dataset: str | None
    source: str
    taken_at: datetime | None
    value: Any

    def shown_as(self, value: Any) -> StewardValue:
        """The same with the value as a reader may see it."""
        return StewardValue(dataset=self.dataset, source=self.source, taken_at=self.taken_at, value=value)


def value_of(session: Session, document: Document, place: str, *, vault: Vault) -> Department | None:
    """The department's value of a conflict's field; None where it has none, or the field is of a list's member."""
    name, member = split_place(KINDS[document.kind], place)
    if member is not None:
        return None
    return _in_registry(session, document, name) or _in_evidence(session, document, name, vault)


def owns(kind: Kind, place: str) -> bool:
    """Whether a department owns the field."""
    return split_place(KINDS[kind], place)[0] in KINDS[kind].stewarded


def _in_registry(session: Session, document: Document, name: str) -> Department | None:
    dataset = KINDS[document.kind].stewarded.get(name)
    if dataset is None or document.natural_key is None:
        return None
    found = registry.find_by_keys(session, dataset, [document.natural_key]).get(document.natural_key)
    if found is None or name not in found.fields:
        return None
    return Department(dataset, "registry", found.taken_at, found.fields[name])


def _in_evidence(session: Session, document: Document, name: str, vault: Vault) -> Department | None:
    """The other side of the newest verdict's comparison of the field with the base dataset; parts of a person come
    together again."""
    query = select(Verdict).where(
        Verdict.source_type == SourceType.DOCUMENT,
        Verdict.source_id == document.id,
        col(Verdict.superseded_at).is_(None),
    )
    verdict = session.exec(query.order_by(col(Verdict.source_version).desc(), col(Verdict.id).desc()).limit(1)).first()
    if verdict is None:
        return None
    items = open_evidence(vault, {verdict.id: verdict.evidence})[verdict.id]
    compared = [item for item in items if item.get("dataset") in SPECS and "theirs" in item]
    whole = next((item for item in compared if item["field"] == name), None)
    if whole is not None:
        return _found(whole, whole["theirs"])
    parts = [item for item in compared if item["field"].startswith(f"{name}.")]
    if not parts:
        return None
    return _found(parts[0], {item["field"].removeprefix(f"{name}."): item["theirs"] for item in parts})


def _found(item: Item, value: Any) -> Department:
    taken_at = item.get("taken_at")
    return Department(item["dataset"], "verdict", datetime.fromisoformat(taken_at) if taken_at else None, value)
