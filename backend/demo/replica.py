"""One collection on one handheld, kept and pushed as RxDB does it (docs/sync-protocol.md, "Client facts")."""

from dataclasses import dataclass, field
from uuid import uuid4

from backend.core.ids import new_id
from backend.demo.client import Json


@dataclass
class Replica:
    """`documents` is what the worker sees, `masters` what the server is taken to hold, `changed` what is unsent.

    Several edits of a document before it is sent make one row, because only the latest state is kept.
    """

    documents: dict[str, Json] = field(default_factory=dict)
    masters: dict[str, Json] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)
    checkpoint: Json | None = None

    def create(self, fields: Json, *, document_id: str | None = None) -> Json:
        """A new document with an id made here."""
        return self._write({"id": document_id or str(new_id()), **fields, "_deleted": False})

    def edit(self, document_id: str, **fields: object) -> Json:
        """The document with other values in some fields. Every local write has an `op` of its own."""
        return self._write({**self.documents[document_id], **fields})

    def delete(self, document_id: str) -> Json:
        """The document as its own tombstone."""
        return self._write({**self.documents[document_id], "_deleted": True})

    def rows(self) -> list[Json]:
        """The unsent changes as rows of a push."""
        return [self._row(document_id) for document_id in self.changed]

    def heard(self, rows: list[Json], answer: list[Json]) -> None:
        """The server took these rows; `answer` holds its documents that differ from them, which replace ours."""
        authoritative = {document["id"]: document for document in answer}
        for row in rows:
            pushed: Json = row["newDocumentState"]
            document_id = pushed["id"]
            self.masters[document_id] = authoritative.get(document_id, pushed)
            if self.documents[document_id]["op"] == pushed["op"]:
                self.documents[document_id] = self.masters[document_id]
                self.changed.pop(document_id, None)

    def pulled(self, documents: list[Json], checkpoint: Json) -> None:
        """Take a page of a pull. A document with unsent edits is left alone: the push will bring it up to date."""
        self.checkpoint = checkpoint
        for document in documents:
            if document["id"] not in self.changed:
                self.documents[document["id"]] = document
                self.masters[document["id"]] = document

    def live(self) -> dict[str, Json]:
        """The documents that are not deleted, by id."""
        return {key: document for key, document in self.documents.items() if not document["_deleted"]}

    def _write(self, document: Json) -> Json:
        written = {**document, "op": str(uuid4())}
        self.documents[written["id"]] = written
        self.changed[written["id"]] = None
        return written

    def _row(self, document_id: str) -> Json:
        row: Json = {"newDocumentState": self.documents[document_id]}
        if document_id in self.masters:
            row["assumedMasterState"] = self.masters[document_id]
        return row
