"""A draft in its row and back: what a citizen wrote, and where, is sealed; states and codes are readable."""

from datetime import datetime
from typing import Any

from sqlmodel import Session

from backend.core.enums import Datum, PhotoState
from backend.models import Report
from backend.services.records import cell_of
from backend.services.sealing import open_value, seal_value
from workflows.channels.rules import Draft


def load(session: Session, report: Report) -> Draft:
    """The draft inside a report's row."""
    return unsealed(report, open_value(session, report.sealed, context=report.id.bytes))


def unsealed(report: Report, value: Any) -> Draft:
    """The draft of a row whose sealed part was opened already; an erased one is empty."""
    sealed: dict[str, Any] = value or {}
    located = sealed.get("located")
    return Draft(
        notes=tuple((datetime.fromisoformat(at), text) for at, text in sealed.get("notes", [])),
        located=(datetime.fromisoformat(located[0]), located[1], located[2]) if located else None,
        photos={photo: PhotoState(state) for photo, state in report.body.get("photo_states", {}).items()},
        confirmed=report.body.get("confirmed", False),
        settled=report.body.get("settled", False),
    )


def save(session: Session, report: Report, draft: Draft) -> None:
    """Write the draft into its row. `sealed` holds `text`, `location` and `photo_ids` for those who check a report."""
    located = draft.located
    sealed = {
        "text": draft.text,
        "location": draft.location,
        "photo_ids": draft.photo_ids,
        "notes": [(at.isoformat(), text) for at, text in draft.notes],
        "located": (located[0].isoformat(), *located[1:]) if located else None,
    }
    report.sealed = seal_value(session, report.id.bytes, sealed, context=report.id.bytes)
    report.h3_cell = cell_of(draft.location)
    report.body = {
        **report.body,
        "datum": Datum.GCJ02.value,
        "photo_states": {photo: state.value for photo, state in draft.photos.items()},
        "confirmed": draft.confirmed,
        "settled": draft.settled,
    }
