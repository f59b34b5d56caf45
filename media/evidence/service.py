"""Assessing photos: the facts about one are gathered, weighed by the rule set in force, and written down."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import PhotoState
from backend.models import Photo, PhotoPrint, PhotoRuleSet
from backend.services import photos
from backend.services.sealing import open_value
from backend.services.territory import grid_at
from media.evidence import bands
from media.evidence.entries import Entry, entries_of, point_of
from media.evidence.rules import Assessment, Facts, Rules, Twin, assess

MOST_TWINS = 20


def note_print(session: Session, *, photo_id: UUID, bits: bytes, detail: int) -> None:
    """Keep the fingerprint of a photo. One with too little detail is found by nobody, as it looks like many."""
    found = active_rules(session)
    row = {
        "photo": photo_id,
        "bits": bands.text(bits),
        "detail": detail,
        "keys": bands.keys(bits) if found is None or detail >= found[1].least_detail else [],
    }
    session.connection().execute(_NOTE_PRINT, row)


def assess_photo(session: Session, *, photo_id: UUID) -> list[Entry]:
    """Assess a processed photo against every entry that names it; gives these. Again: the rows are written anew.

    Younger photos that look the same are assessed after it, as they may have come through first.
    """
    photo = session.get(Photo, photo_id)
    if photo is None or photo.state is not PhotoState.PROCESSED:
        return []
    found = active_rules(session)
    if found is None:
        raise jobs.Discard("no_photo_rules")
    version, rules = found
    entries = list(entries_of(session, photo_id))
    for entry in entries:
        assessment = assess(_facts(session, photo, entry, rules), rules)
        _write(session, photo_id, entry, version, assessment)
    younger = session.connection().execute(_YOUNGER, _search(session, photo, rules)).scalars()
    photos.assess_later(session, [(other, str(photo_id)) for other in younger])
    return entries


def active_rules(session: Session) -> tuple[int, Rules] | None:
    """The rule set in force. None where the city has switched the score off."""
    query = select(PhotoRuleSet).where(col(PhotoRuleSet.active)).order_by(col(PhotoRuleSet.version).desc())
    found = session.exec(query).first()
    return (found.version, Rules.model_validate(found.rules)) if found else None


def _facts(session: Session, photo: Photo, entry: Entry, rules: Rules) -> Facts:
    claims = open_value(session, photo.claims, context=photo.id.bytes) or {}
    place = point_of(claims)
    printed = session.get(PhotoPrint, photo.id)
    return Facts(
        taken_at=photo.taken_at,
        place=place,
        place_grid=grid_at(session, *place) if place else None,
        entry_at=entry.at,
        entry_made_by_handheld=entry.made_by_handheld,
        entry_place=entry.place,
        entry_grid=entry.grid_id,
        skew=entry.skew,
        detail=printed.detail if printed else 0,
        twins=_twins(session, photo, entry, rules),
    )


def _twins(session: Session, photo: Photo, entry: Entry, rules: Rules) -> Sequence[Twin]:
    """Older photos of other entries that look the same or are the same, the likest first."""
    source = {"type": entry.source_type.value, "source": entry.source_id, "most": MOST_TWINS}
    rows = session.connection().execute(_TWINS, {**_search(session, photo, rules), **source})
    return [
        Twin(
            photo_id=row.photo_id,
            bits=row.bits,
            same_bytes=row.sha256 == photo.sha256,
            source_type=row.source_type,
            source_id=row.source_id,
            by_another=row.owner_id is None or row.owner_id != photo.owner_id,
            at=row.created_at,
        )
        for row in rows
    ]


def _search(session: Session, photo: Photo, rules: Rules) -> dict[str, object]:
    printed = session.get(PhotoPrint, photo.id)
    worth = printed is not None and printed.detail >= rules.least_detail
    bits = printed.bits if printed is not None else "0" * 256
    return {
        "photo": photo.id,
        "sha256": photo.sha256,
        "at": photo.created_at,
        "bits": bits,
        "probes": bands.probes(int(bits, 2).to_bytes(32)) if worth else [],
        "near": min(rules.near_bits, bands.FURTHEST),
    }


def _write(session: Session, photo_id: UUID, entry: Entry, rule_version: int, assessment: Assessment) -> None:
    row = {
        "photo": photo_id,
        "type": entry.source_type.value,
        "source": entry.source_id,
        "version": entry.version,
        "rules": rule_version,
        "score": assessment.score,
        "reasons": json.dumps([asdict(reason) for reason in assessment.reasons]),
        "now": now(),
    }
    session.connection().execute(_WRITE, row)


_NOTE_PRINT = text(
    """
    INSERT INTO photo_print (photo_id, bits, detail, keys)
    VALUES (:photo, CAST(:bits AS bit(256)), :detail, CAST(:keys AS integer[]))
    ON CONFLICT (photo_id) DO UPDATE SET bits = excluded.bits, detail = excluded.detail, keys = excluded.keys
    """
)
_ALIKE = """
    SELECT photo_id, CAST(bit_count(bits # CAST(:bits AS bit(256))) AS integer) AS bits
    FROM photo_print
    WHERE keys && CAST(:probes AS integer[]) AND bit_count(bits # CAST(:bits AS bit(256))) <= :near
    UNION
    SELECT id, 0 FROM photo WHERE sha256 = :sha256
"""
_TWINS = text(
    f"""
    SELECT alike.photo_id, min(alike.bits) AS bits, photo.sha256, photo.owner_id, photo.created_at,
           link.source_type, link.source_id
    FROM ({_ALIKE}) AS alike
    JOIN photo ON photo.id = alike.photo_id
    JOIN photo_link AS link ON link.photo_id = photo.id
    WHERE photo.id <> :photo AND photo.original_key IS NOT NULL AND (photo.created_at, photo.id) < (:at, :photo)
      AND (link.source_type, link.source_id) <> (:type, :source)
    GROUP BY alike.photo_id, photo.sha256, photo.owner_id, photo.created_at, link.source_type, link.source_id
    ORDER BY min(alike.bits), photo.created_at, alike.photo_id, link.source_id
    LIMIT :most
    """
)
_YOUNGER = text(
    f"""
    SELECT DISTINCT photo.id
    FROM ({_ALIKE}) AS alike JOIN photo ON photo.id = alike.photo_id
    JOIN photo_evidence ON photo_evidence.photo_id = photo.id
    WHERE photo.state = 'processed' AND (photo.created_at, photo.id) > (:at, :photo)
    LIMIT 100
    """
)
_WRITE = text(
    """
    INSERT INTO photo_evidence (photo_id, source_type, source_id, source_version, rule_version, score, reasons,
                                assessed_at)
    VALUES (:photo, :type, :source, :version, :rules, :score, CAST(:reasons AS json), :now)
    ON CONFLICT (photo_id, source_type, source_id) DO UPDATE
    SET source_version = excluded.source_version, rule_version = excluded.rule_version, score = excluded.score,
        reasons = excluded.reasons, assessed_at = excluded.assessed_at
    """
)
