"""A handheld as RxDB's replication behaves (17.6, tried): which rows it pushes, and what it does with answers.

It pushes the newest state of each document whose local state is not the server's state that it assumes. A row of the
answer replaces the local document unless it was edited meanwhile; the other rows count as taken. A pulled document
with unsent local edits is skipped. After a lost grid it purges tombstones. After a restore it starts its sync anew:
everything is pushed, and no base is named.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from backend.kinds import Document
from sync.rules import ABSENT
from tests.simulation.model.server import SPEC
from tests.simulation.model.values import Values, apart, changed

START = datetime(2026, 1, 1, tzinfo=UTC)
ENVELOPE = ("id", "rev", "op", "_deleted")


@dataclass(frozen=True, slots=True)
class Request:
    """A push on its way: its rows as they were, and the number that orders it among those of its device."""

    order: int
    epoch: int | None
    sent_at: datetime
    rows: tuple[tuple[Document | None, Document], ...]

    def body(self) -> bytes:
        """The JSON body."""
        return msgspec.json.encode(
            {
                "rows": [
                    {"newDocumentState": state, **({"assumedMasterState": assumed} if assumed else {})}
                    for assumed, state in self.rows
                ]
            }
        )


@dataclass(slots=True)
class Basis:
    """What the user of this device knew of a document: the values it showed since the last adopted version.

    `before` are those it showed earlier: after a restore the server stands at one of them. `adopted` is the version
    that the user's edits began at.
    """

    shown: dict[str, list[Any]] = field(default_factory=dict)
    edits: Values = field(default_factory=dict)
    before: dict[str, list[Any]] = field(default_factory=dict)
    adopted: Values = field(default_factory=dict)
    adopted_op: str = ""


class Handheld:
    """One device with its own storage, which a restart keeps."""

    def __init__(self, number: int, seed: int) -> None:
        self.number = number
        self.documents: dict[UUID, Document] = {}
        self.assumed: dict[UUID, Document] = {}
        self.refused: dict[UUID, Document] = {}
        self.basis: dict[UUID, Basis] = {}
        self.checkpoint: Document = {}
        self.epoch: int | None = None
        self.order = 0
        self.written: set[UUID] = set()
        self.upgraded = False
        self.clock = START
        self._random = Random(f"device {seed} {number}")

    # --- the user

    def write(self, document_id: UUID, fields: Document, deleted: bool = False) -> list[str]:
        """Store a local write under a new op. `fields` are all fields of the document. Gives the places it changed."""
        before = self.documents.get(document_id, {})
        kept = {name: before[name] for name in ("rev",) if name in before}
        op = UUID(int=self._random.getrandbits(128), version=4)
        self.written.add(op)
        self.documents[document_id] = {"id": str(document_id), **fields, **kept, "op": str(op), "_deleted": deleted}
        basis = self.basis.setdefault(document_id, Basis())
        now = apart(SPEC, fields)
        places = changed(apart(SPEC, fields_of(before)), now)
        for place in places:
            basis.edits[place] = now.get(place, ABSENT)
            if place in now:
                basis.shown.setdefault(place, []).append(now[place])
        return places

    def live(self, document_id: UUID) -> Document | None:
        """The fields of a document that is here and not deleted."""
        document = self.documents.get(document_id)
        return None if document is None or document["_deleted"] else fields_of(document)

    # --- the replication

    def dirty(self) -> list[UUID]:
        """Documents to be pushed, in the order in which they came to be stored."""
        return [key for key, document in self.documents.items() if not self._is_assumed(key, document)]

    def request(self, rows: int) -> Request | None:
        """The next push, None where nothing waits."""
        ids = self.dirty()[:rows]
        if not ids:
            return None
        self.order += 1
        return Request(
            self.order,
            self.epoch,
            self.clock,
            tuple((self._assumed_state(key), dict(self.documents[key])) for key in ids),
        )

    def answered(self, request: Request, answer: list[Document], *, epoch: int) -> None:
        """Take the answer of a push."""
        self.epoch = epoch
        told = {UUID(document["id"]): document for document in answer}
        for _, pushed in request.rows:
            key = UUID(pushed["id"])
            master = told.get(key)
            if master is None:
                self.assumed[key] = pushed
                if self.documents.get(key) == pushed:
                    self._know(key, pushed)
                continue
            if UUID(pushed["op"]) in self.written and not pushed["_deleted"]:
                self.refused[UUID(pushed["op"])] = pushed  # Kept until the outcomes say that it was taken or decided.
            if self.documents.get(key) == pushed:
                self._adopt(key, master)

    def pulled(self, documents: list[Document], checkpoint: Document, *, epoch: int) -> None:
        """Take a page: documents without unsent edits, and the checkpoint, whose top level is merged."""
        self.epoch = epoch
        for document in documents:
            key = UUID(document["id"])
            mine = self.documents.get(key)
            if mine is None or self._is_assumed(key, mine):
                self._adopt(key, document)
        had = set(self.checkpoint.get("g", {}))
        self.checkpoint = {**self.checkpoint, **checkpoint}
        if had - set(self.checkpoint["g"]):
            self._purge()

    def start_anew(self) -> None:
        """The server has another epoch: another replication identifier, and with it nothing known of the server."""
        self.epoch = None
        self.assumed.clear()
        self.checkpoint = {}
        for basis in self.basis.values():
            for place, values in basis.before.items():
                basis.shown.setdefault(place, []).extend(values)

    def skew(self, years: int) -> None:
        """Set the device's clock, forwards or backwards."""
        self.clock += timedelta(days=365 * years)

    def upgrade(self) -> None:
        """A local schema migration: from then on RxDB adds a key of its own to the assumed states."""
        self.upgraded = True

    def _assumed_state(self, key: UUID) -> Document | None:
        assumed = self.assumed.get(key)
        return {**assumed, "_attachments": {}} if assumed and self.upgraded else assumed

    def _is_assumed(self, key: UUID, document: Document) -> bool:
        return self.assumed.get(key) == document

    def _adopt(self, key: UUID, master: Document) -> None:
        self.documents[key] = master
        self.assumed[key] = master
        self._know(key, master)

    def _know(self, key: UUID, document: Document) -> None:
        adopted = {} if document["_deleted"] else apart(SPEC, fields_of(document))
        shown = {place: [value] for place, value in apart(SPEC, fields_of(document)).items()}
        was = self.basis.get(key, Basis())
        places = {*was.before, *was.shown}
        before = {place: was.before.get(place, []) + was.shown.get(place, []) for place in places}
        self.basis[key] = Basis(shown, before=before, adopted=adopted, adopted_op=document["op"])

    def _purge(self) -> None:
        """RxDB's `cleanup(0)`: tombstones that need not be pushed any more. Every second device never cleans up."""
        if self.number % 2:
            return
        for key in [key for key, document in self.documents.items() if document["_deleted"]]:
            if self._is_assumed(key, self.documents[key]):
                del self.documents[key]


def fields_of(document: Document) -> Document:
    """A document without the envelope."""
    return {name: value for name, value in document.items() if name not in ENVELOPE}
