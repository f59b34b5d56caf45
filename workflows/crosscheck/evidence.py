"""Evidence at rest: each value sealed under the key of the human it is about, so that erasing one reaches it here too.

The entry's side of a comparison belongs to the entry's subject, or to the owner or representative it names; the other
side to the human of the business record. The codes around them follow the entry.
"""

from collections.abc import Mapping
from typing import Any

from backend.core.enums import Kind, SourceType
from backend.kinds import KINDS, identity_of
from backend.services import records
from backend.services.sealing import Part, Subject, human
from workflows.crosscheck.facts import POPULATION, Decision, Entry, Evidence


def subject_of(entry: Entry) -> Subject:
    """Whose key protects what was found out about the entry."""
    if entry.source.type is SourceType.REPORT:
        return entry.source.id.bytes
    return records.subject_of(KINDS[entry.kind], entry.source.id, dict(entry.fields))


def parts_of(entry: Entry, decision: Decision, snapshots: Mapping[str, Mapping[str, str]]) -> list[Part]:
    """The evidence of one decision as parts of one blob."""
    own, parts = subject_of(entry), []
    record = decision.record.fields if decision.record else {}
    identity = identity_of(record)
    theirs = human(identity.id_type, identity.id_number) if identity else None
    for number, item in enumerate(decision.evidence):
        key = f"{number:04}"
        head = {
            "field": item.field,
            "score": item.score,
            "dataset": item.dataset,
            "taken_at": item.other.taken_at if item.other else snapshots.get(item.dataset or "", {}).get("taken_at"),
            "finding": item.finding,
        }
        parts.append(Part(own, (key,), head))
        if item.mine is not None:
            parts.append(Part(_subject_at(entry.kind, entry.fields, item, own), (key, "mine"), item.mine))
        if item.theirs is not None:
            # Another source was found by the entry's own identity, so what it says of a human is about the same one.
            said = item.other.fields if item.other else record
            other = theirs if item.dataset == POPULATION and theirs else None
            other = other or _subject_at(entry.kind, said, item, own)
            parts.append(Part(other, (key, "theirs"), item.theirs))
    return parts


def _subject_at(kind: Kind, fields: Mapping[str, Any], item: Evidence, own: Subject) -> Subject:
    """The human named in the nested field that the evidence is about, else the entry's own subject."""
    top = item.field.partition(".")[0]
    nested = fields.get(top) if top in KINDS[kind].nested else None
    identity = identity_of(nested) if isinstance(nested, Mapping) else None
    return human(identity.id_type, identity.id_number) if identity else own
