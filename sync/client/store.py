"""What a device keeps, in one SQLite file. Every method is one transaction, so a kill at any point loses nothing.

What belongs together is written together: a page with its checkpoint, a row that the server did not take with the
answer that replaces it, a push number before the push goes out. The file is locked for one process, because two would
break "one call at a time for each collection".

Of a document the store has `body`, what the worker sees, and the state of it:

- `clean`: the server has it. A delete made here stays as it was pushed, as a tombstone without fields: after a restore
  the server may need it again. The server's own tombstones remove the row.
- `edited`: a local edit waits. `base` is the document it was made from, null where the server had none.
- `again`: the server has another epoch, and is to be shown the document once more, as it is.
- `unshown`: `edited`, and the server is to be shown the base once more first. So each version that it forgot comes back
  under its own `op`, and an edit finds the version it was made from.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from uuid_utils.compat import uuid7

Json = dict[str, Any]
CLEAN, EDITED, AGAIN, UNSHOWN = "clean", "edited", "again", "unshown"
TOO_LARGE, REJECTED = "too_large", "rejected"

SCHEMA = """
CREATE TABLE IF NOT EXISTS device (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS collection (
    kind TEXT PRIMARY KEY, checkpoint TEXT, push_number INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS document (
    kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, base TEXT, PRIMARY KEY (kind, id)
);
CREATE INDEX IF NOT EXISTS document_waiting ON document (kind, state) WHERE state <> 'clean';
CREATE TABLE IF NOT EXISTS refused (
    op TEXT PRIMARY KEY, kind TEXT NOT NULL, id TEXT, body TEXT NOT NULL, base TEXT, code TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS outcome (op TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (id, op));
CREATE TABLE IF NOT EXISTS review (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS photo (
    id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, mime TEXT NOT NULL, content BLOB NOT NULL,
    place TEXT, sent INTEGER NOT NULL DEFAULT 0, code TEXT NOT NULL DEFAULT ''
);
"""


class Store:
    """One device's file. Used by one thread at a time and by one process: a second one gets `sqlite3.OperationalError`
    ("database is locked")."""

    def __init__(self, path: str | Path, *, lock_wait: float = 5.0) -> None:
        self._db = sqlite3.connect(path, timeout=lock_wait, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(f"BEGIN EXCLUSIVE; {SCHEMA} COMMIT;")
        self.epoch = self.recall("epoch")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # What is one for the whole device: key, tokens, epoch, how far it read the outcomes.

    def recall(self, name: str) -> str:
        """A value kept under a name, empty where there is none."""
        row = self._db.execute("SELECT value FROM device WHERE name = ?", (name,)).fetchone()
        return str(row["value"]) if row else ""

    def remember(self, **values: str) -> None:
        """Keep values under names, all or none of them."""
        with self._transaction():
            self._remember(**values)
        self.epoch = values.get("epoch", self.epoch)

    # Documents, as the worker reads and writes them.

    def document(self, kind: str, document_id: str) -> Json | None:
        """A living document."""
        row = self._row(kind, document_id)
        body = json.loads(row["body"]) if row else None
        return body if body and not body["_deleted"] else None

    def documents(self, kind: str) -> list[Json]:
        """The living documents of a collection, in the order of their ids."""
        return [body for body, _ in self._bodies(kind) if not body["_deleted"]]

    def held(self) -> Iterator[tuple[str, Json]]:
        """Everything this device has to show for its work: kind and content of documents and of refused rows."""
        for table in ("document", "refused"):
            for row in self._db.execute(f"SELECT kind, body FROM {table}").fetchall():
                yield row["kind"], json.loads(row["body"])

    def write(self, kind: str, document: Json) -> Json:
        """A local write: the document under a new `op`, to be pushed. What the server had becomes its base."""
        written = {**document, "op": str(uuid4())}
        with self._transaction():
            before = self._row(kind, document["id"])
            if before is None:
                self._put(kind, written, EDITED)
            elif before["state"] in (CLEAN, AGAIN):
                self._put(kind, written, EDITED if before["state"] == CLEAN else UNSHOWN, before["body"])
            else:
                self._put(kind, written, before["state"], before["base"])
        return written

    def waiting(self) -> int:
        """How many changes wait to be pushed."""
        return int(self._db.execute("SELECT count(*) FROM document WHERE state <> 'clean'").fetchone()[0])

    def has_unsent(self, kind: str) -> bool:
        """Whether changes of a collection wait."""
        return bool(self.unsent(kind, limit=1))

    # Pushing.

    def unsent(self, kind: str, *, limit: int) -> list[Json]:
        """The next rows of a push. Of `assumedMasterState` only the `op` counts, so only that is sent."""
        found = self._db.execute(
            "SELECT body, base, state FROM document WHERE kind = ? AND state <> 'clean' ORDER BY id LIMIT ?",
            (kind, limit),
        )
        return [_push_row(row) for row in found]

    def next_push_number(self, kind: str, *, skip: int = 1) -> int:
        """A number that no push of this collection had, kept before it is used."""
        with self._transaction():
            number = self._collection(kind)["push_number"] + skip
            self._db.execute("UPDATE collection SET push_number = ? WHERE kind = ?", (number, kind))
        return int(number)

    def take_answer(self, kind: str, rows: Sequence[Json], answer: Sequence[Json]) -> None:
        """A push was taken. Documents of the answer replace ours; the other rows stand as pushed.

        A living edit of ours that was answered may have been refused: it goes to the refused list together with the
        answer, until the outcomes tell. A document that was edited again while the push was under way stays as it is;
        where the answer differs it keeps its base too, because it does not have what the answer has.
        """
        told = {document["id"]: document for document in answer}
        with self._transaction():
            for row in rows:
                pushed = row["newDocumentState"]
                self._take_answer(kind, pushed, told.get(pushed["id"]))

    def set_aside(self, kind: str, row: Json) -> None:
        """A single row that is too large for any batch: to the refused list. The collection is pulled from the
        beginning, which brings the document back as the server has it."""
        pushed = row["newDocumentState"]
        with self._transaction():
            current = self._row(kind, pushed["id"])
            self._refuse(kind, json.loads(current["body"]), current["base"], TOO_LARGE)
            self._remove(kind, pushed["id"])
            self._forget(kind)

    # Pulling.

    def checkpoint(self, kind: str) -> Json | None:
        """How far the collection was pulled, opaque; None for the beginning."""
        row = self._db.execute("SELECT checkpoint FROM collection WHERE kind = ?", (kind,)).fetchone()
        found: Json | None = json.loads(row["checkpoint"]) if row and row["checkpoint"] else None
        return found

    def take_page(self, kind: str, documents: Sequence[Json], checkpoint: Json) -> None:
        """A page and its checkpoint. A document with unsent edits is skipped: the answer of its push repairs it.

        Where a grid was lost, deletes made here are forgotten with everything else.
        """
        with self._transaction():
            for document in documents:
                row = self._row(kind, document["id"])
                if row is None or row["state"] == CLEAN:
                    self._adopt(kind, json.loads(row["body"]) if row else None, document)
            if (self.checkpoint(kind) or checkpoint)["g"].keys() - checkpoint["g"].keys():
                self._db.execute(
                    "DELETE FROM document WHERE kind = ? AND state = 'clean' AND body ->> '$._deleted'", (kind,)
                )
            self._collection(kind)
            self._db.execute("UPDATE collection SET checkpoint = ? WHERE kind = ?", (json.dumps(checkpoint), kind))

    def forget_checkpoint(self, kind: str) -> None:
        """Pull the collection from the beginning the next time."""
        with self._transaction():
            self._forget(kind)

    def start_anew(self, epoch: str) -> None:
        """The server was restored: it is shown everything once more, and asked from the beginning."""
        with self._transaction():
            self._remember(epoch=epoch, outcomes_next="0", reviews_next="0")
            self._db.execute("UPDATE collection SET checkpoint = NULL")
            self._db.execute("UPDATE document SET state = 'again' WHERE state = 'clean'")
            self._db.execute("UPDATE document SET state = 'unshown' WHERE state = 'edited' AND base IS NOT NULL")
            self._db.execute("UPDATE photo SET sent = 0, place = NULL")
        self.epoch = epoch

    # What became of the rows.

    def refused(self) -> list[Json]:
        """Rows that the server did not take as they are: `kind`, `code`, `row` and `base`; `code` is empty until the
        outcomes were read."""
        found = self._db.execute("SELECT * FROM refused ORDER BY rowid")
        return [
            {"op": row["op"], "kind": row["kind"], "code": row["code"]}
            | {"row": json.loads(row["body"]), "base": json.loads(row["base"] or "null")}
            for row in found
        ]

    def discard(self, op: str) -> None:
        """Strike a row out of the refused list."""
        with self._transaction():
            self._db.execute("DELETE FROM refused WHERE op = ?", (op,))

    def take_outcomes(self, page: Json, *, held: Sequence[Json] | None) -> None:
        """A page of outcomes with its place. `held`, on the last page, is everything that waits for review: such rows
        are in the refused list, and no others that the server has decided about."""
        with self._transaction():
            for entry in page["mutations"]:
                if entry["outcome"] != "quarantined":
                    self._db.execute("DELETE FROM refused WHERE op = ?", (entry["op"],))
                if entry["outcome"] not in ("applied", "unchanged"):
                    given = (entry["op"], entry["id"], json.dumps(entry))
                    self._db.execute("INSERT OR REPLACE INTO outcome (op, id, body) VALUES (?, ?, ?)", given)
            for review in page["reviews"]:
                self._take_review(review)
            if held is not None:
                self._keep_held(held)
            self._remember(outcomes_next=str(page["next"]), reviews_next=str(page["reviews_next"]))

    def outcomes(self) -> list[Json]:
        """Rows of this device that did not simply stand: merged, in conflict, quarantined, erased."""
        return [json.loads(row["body"]) for row in self._db.execute("SELECT body FROM outcome ORDER BY rowid")]

    def reviews(self) -> list[Json]:
        """What reviewers decided, each conflict and each row as it stands now."""
        return [json.loads(row["body"]) for row in self._db.execute("SELECT body FROM review ORDER BY rowid")]

    # Photos.

    def add_photo(self, content: bytes, *, sha256: str, mime: str) -> str:
        """Keep a photo that is to be sent; gives its id."""
        photo_id = str(uuid7())
        with self._transaction():
            given = (photo_id, sha256, mime, content)
            self._db.execute("INSERT INTO photo (id, sha256, mime, content) VALUES (?, ?, ?, ?)", given)
        return photo_id

    def photos(self, *, unsent: bool = False) -> list[sqlite3.Row]:
        """The photos without their content; of `unsent` those that were refused are left out."""
        where = "WHERE NOT sent AND code = ''" if unsent else ""
        return self._db.execute(f"SELECT id, sha256, mime, place, sent, code FROM photo {where} ORDER BY id").fetchall()

    def photo_content(self, photo_id: str) -> bytes:
        """The bytes of a photo."""
        return bytes(self._db.execute("SELECT content FROM photo WHERE id = ?", (photo_id,)).fetchone()[0])

    def note_photo(self, photo_id: str, *, place: str | None = None, sent: bool = False, code: str = "") -> None:
        """Where the upload of a photo stands, that it came whole, or why it was refused."""
        with self._transaction():
            given = (place, sent, code, photo_id)
            self._db.execute("UPDATE photo SET place = ?, sent = ?, code = ? WHERE id = ?", given)

    # Inside of a transaction.

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _remember(self, **values: str) -> None:
        self._db.executemany("INSERT OR REPLACE INTO device VALUES (?, ?)", values.items())

    def _row(self, kind: str, document_id: str) -> Any:
        found = self._db.execute("SELECT * FROM document WHERE kind = ? AND id = ?", (kind, document_id))
        return found.fetchone()

    def _bodies(self, kind: str) -> Iterator[tuple[Json, str]]:
        found = self._db.execute("SELECT body, state FROM document WHERE kind = ? ORDER BY id", (kind,))
        return ((json.loads(row["body"]), row["state"]) for row in found.fetchall())

    def _put(self, kind: str, body: Json, state: str, base: str | None = None) -> None:
        given = (kind, body["id"], json.dumps(body), state, base)
        self._db.execute("INSERT OR REPLACE INTO document (kind, id, body, state, base) VALUES (?, ?, ?, ?, ?)", given)

    def _take_answer(self, kind: str, pushed: Json, master: Json | None) -> None:
        current = self._row(kind, pushed["id"])
        body = json.loads(current["body"])
        if current["state"] == UNSHOWN:
            self._put(kind, body, EDITED, current["base"])
            return
        if master and current["state"] == EDITED and not pushed["_deleted"]:
            self._refuse(kind, pushed, current["base"], "")
        if body["op"] == pushed["op"]:
            self._adopt(kind, pushed, master or pushed)
        elif not master:
            self._put(kind, body, EDITED, json.dumps(pushed))

    def _adopt(self, kind: str, mine: Json | None, master: Json) -> None:
        """The document is as the server says. A delete that was made here stays in the form it was made in."""
        if not master["_deleted"]:
            self._put(kind, master, CLEAN)
        elif mine and mine["_deleted"]:
            self._put(kind, mine, CLEAN)
        else:
            self._remove(kind, master["id"])

    def _remove(self, kind: str, document_id: str) -> None:
        """Forget a document, and of its photos those that the server has: they are personal data too."""
        row = self._row(kind, document_id)
        if row is None:
            return
        named = [(entry["photo_id"],) for entry in json.loads(row["body"]).get("photos") or ()]
        self._db.executemany("DELETE FROM photo WHERE id = ? AND sent", named)
        self._db.execute("DELETE FROM document WHERE kind = ? AND id = ?", (kind, document_id))

    def _refuse(self, kind: str, body: Json, base: str | None, code: str) -> None:
        given = (body.get("op"), kind, body.get("id"), json.dumps(body), base, code)
        self._db.execute(
            "INSERT OR REPLACE INTO refused (op, kind, id, body, base, code) VALUES (?, ?, ?, ?, ?, ?)", given
        )

    def _take_review(self, review: Json) -> None:
        """A rejected row is not given back any more: its author keeps it until he makes up his mind."""
        thing = review.get("conflict") or review["held"]
        self._db.execute("INSERT OR REPLACE INTO review (id, body) VALUES (?, ?)", (thing, json.dumps(review)))
        if review["state"] == REJECTED:
            self._db.execute("UPDATE refused SET code = ? WHERE op = ?", (REJECTED, review["op"]))

    def _keep_held(self, held: Sequence[Json]) -> None:
        waiting = {entry["op"] for entry in held}
        for row in self._db.execute("SELECT op, code FROM refused").fetchall():
            if row["code"] not in ("", TOO_LARGE, REJECTED) and row["op"] not in waiting:
                self._db.execute("DELETE FROM refused WHERE op = ?", (row["op"],))
        for entry in held:
            pushed = entry["row"].get("newDocumentState") if isinstance(entry["row"], dict) else None
            if isinstance(pushed, dict) and entry["op"]:
                known = self._db.execute("SELECT base FROM refused WHERE op = ?", (entry["op"],)).fetchone()
                self._refuse(entry["kind"], pushed, known["base"] if known else None, entry["code"])

    def _collection(self, kind: str) -> Any:
        self._db.execute("INSERT OR IGNORE INTO collection (kind) VALUES (?)", (kind,))
        return self._db.execute("SELECT * FROM collection WHERE kind = ?", (kind,)).fetchone()

    def _forget(self, kind: str) -> None:
        self._db.execute("UPDATE collection SET checkpoint = NULL WHERE kind = ?", (kind,))


def _push_row(row: Any) -> Json:
    body, base = json.loads(row["body"]), json.loads(row["base"] or "null")
    if row["state"] == UNSHOWN:
        return {"newDocumentState": base}
    assumed = {"assumedMasterState": {"id": base["id"], "op": base["op"]}} if base else {}
    return {"newDocumentState": body} | assumed
