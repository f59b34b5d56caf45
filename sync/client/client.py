"""The protocol as a client lives it (docs/sync-protocol.md).

One thread makes one call at a time and stores its answer before the next: that is what "one call at a time for each
collection" asks for, and a queue for each collection would be the next step up.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from uuid_utils.compat import uuid7

from sync.canonical import canonical, hash_of
from sync.client.calls import Calls
from sync.client.connection import Connection
from sync.client.errors import EpochChanged, LoggedOut, Refused
from sync.client.store import Json, Store
from sync.client.uploads import upload

KINDS = ("person", "house", "organisation", "component", "event", "case", "task")
READ_ONLY = frozenset({"case", "task"})
PAGE = 200
RECEIPT_ITEMS = 1000
MOST_RESTORES = 3

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the server says of everything the device holds. `missing` has records and photos that it does not have,
    `photos_awaited` the ids of photos that records name; only where it is `safe` may the device's data go."""

    safe: bool
    missing: list[Json]
    photos_awaited: list[str]


class Client:
    """One handheld. `path` is its file, made where there is none, `url` the server.

    `kinds` are the collections it keeps, of which those in `READ_ONLY` are only pulled; `page` and `batch` are rows of
    a call, `lock_wait` the seconds to wait for another process that has the file; other options as `Connection`.
    """

    def __init__(
        self,
        path: str | Path,
        url: str,
        *,
        kinds: Sequence[str] = KINDS,
        page: int = PAGE,
        batch: int = PAGE,
        lock_wait: float = 5.0,
        **options: Any,
    ) -> None:
        self.store = Store(path, lock_wait=lock_wait)
        self.kinds = tuple(kinds)
        self.connection = Connection(url, self.store, **options)
        self._calls = Calls(self.connection)
        self._page, self._batch = page, batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and the file. Not needed for safety: a kill loses nothing either."""
        self.connection.close()
        self.store.close()

    def enrol(self, code: str, device_name: str) -> None:
        """Bind this device to an account, for the first time or anew; what it holds stays."""
        self.connection.enrol(code, device_name)

    def grids(self) -> list[str]:
        """The grids that the worker holds now."""
        return sorted(grid["id"] for grid in self._calls.grids())

    # What the worker does. None of it needs a network.

    def create(self, kind: str, fields: Json) -> Json:
        """A new record, under an id that is never used again."""
        return self.store.write(kind, {"id": str(uuid7()), **fields, "_deleted": False})

    def edit(self, kind: str, document_id: str, changes: Json, *, without: Iterable[str] = ()) -> Json:
        """Other values in some fields, and none at all in those named in `without`. `KeyError` for no living record."""
        document = self._living(kind, document_id)
        return self.store.write(kind, _changed(document, changes, without))

    def delete(self, kind: str, document_id: str) -> None:
        """Delete a record. What stays is a tombstone without fields: id, grid, and the `rev` that was deleted."""
        document = self._living(kind, document_id)
        kept: Json = {name: document[name] for name in ("id", "grid_id", "rev") if name in document}
        self.store.write(kind, {**kept, "_deleted": True})

    def take_photo(self, content: bytes, *, mime: str = "image/jpeg") -> Json:
        """Keep a photo that `sync` sends; gives its line for a record's `photos`."""
        digest = sha256(content).hexdigest()
        photo_id = self.store.add_photo(content, sha256=digest, mime=mime)
        return {"photo_id": photo_id, "sha256": digest, "size": len(content), "mime": mime}

    def resubmit(self, op: str, changes: Json, *, without: Iterable[str] = ()) -> Json:
        """Write a refused row anew, corrected. A create comes back under its own id; of an edit the fields that it had
        changed are changed in the document as it is now. `KeyError` where neither is possible."""
        entry = next(entry for entry in self.store.refused() if entry["op"] == op)
        mine, base, kind = entry["row"], entry["base"] or {}, entry["kind"]
        current = self.store.document(kind, mine["id"])
        if current is None and not base:
            current = {"id": mine["id"], "_deleted": False}
        if current is None:
            raise KeyError(mine["id"])
        edited = {name: value for name, value in mine.items() if name not in _ENVELOPE and base.get(name) != value}
        gone = base.keys() - mine.keys() - _ENVELOPE
        written = self.store.write(kind, _changed(current, edited | changes, {*gone, *without}))
        self.store.discard(op)
        return written

    # What needs a network.

    def sync(self) -> None:
        """Push what waits, pull what is new, read what became of it, send photos. Stops at the first call that fails,
        and can be repeated from there: `Unreachable`, `LoggedOut`, or another `Refused`."""
        for _ in range(MOST_RESTORES):
            try:
                self._round()
            except EpochChanged as restored:
                self.store.start_anew(restored.epoch)
            else:
                return
        self._round()

    def push(self, kind: str) -> None:
        """Send the changes of a collection that wait."""
        while rows := self.store.unsent(kind, limit=self._batch):
            self._push(kind, rows)

    def pull(self, kind: str) -> None:
        """Bring a collection up to date: pages until one is not full."""
        while True:
            documents, checkpoint = self._calls.pull(kind, self.store.checkpoint(kind), self._page)
            self.store.take_page(kind, documents, checkpoint)
            if len(documents) < self._page:
                return

    def read_outcomes(self) -> None:
        """Learn what became of this device's rows: the refused list is set right, conflicts and decisions are kept."""
        held: list[Json] = []
        while True:
            page = self._calls.outcomes(
                since=int(self.store.recall("outcomes_next") or 0),
                reviewed_since=int(self.store.recall("reviews_next") or 0),
                held_since=held[-1]["held"] if held else None,
                limit=self._page,
            )
            held += page["quarantined"]
            is_last = len(page["mutations"]) < self._page and page["held_next"] is None and not page["reviews"]
            self.store.take_outcomes(page, held=held if is_last else None)
            if is_last:
                return

    def send_photos(self) -> None:
        """Send the photos that the server does not have. One that it refuses stays here, with the code."""
        unsent = self.store.photos(unsent=True)
        for part in _parts([{"photo_id": photo["id"], "sha256": photo["sha256"]} for photo in unsent], RECEIPT_ITEMS):
            for told in self._calls.receipt(photos=part)["photos"]:
                if told["state"] == "applied":
                    self.store.note_photo(told["photo_id"], sent=True)
        for photo in self.store.photos(unsent=True):
            try:
                upload(self.connection, self.store, photo)
            except (EpochChanged, LoggedOut):
                raise
            except Refused as refused:
                self.store.note_photo(photo["id"], code=refused.code)

    def accept(self, conflict: str) -> Json:
        """Agree with the resolution of a conflict."""
        return self._calls.answer_review(conflict, "accept")

    def contest(self, conflict: str, *, reason: str, note: str = "") -> Json:
        """Disagree with it, once; `reason` is one of those in the review's `may`."""
        return self._calls.answer_review(conflict, "contest", {"reason": reason, "note": note})

    def differing(self) -> list[tuple[str, str]]:
        """Kind and grid where this replica is not what the server says it should be, by the digest.

        Compared are collections without unsent changes, where the checkpoint stands at the moment of the digest. What
        differs is pulled from the beginning by the next `sync`.
        """
        found = []
        for kind in self.kinds:
            checkpoint = self.store.checkpoint(kind)
            if checkpoint is None or self.store.has_unsent(kind):
                continue
            for grid, told in self._calls.digest(kind).items():
                if checkpoint["g"].get(grid, [0, None])[1] == told["seq"] and not self._has(kind, grid, told):
                    found.append((kind, grid))
                    self.store.forget_checkpoint(kind)
        return found

    def receipt(self) -> Receipt:
        """Ask for everything the device holds: documents, unsent and refused rows, photos."""
        records = [
            {"kind": kind, "id": document["id"], "op": document["op"], "hash": hash_of(document)}
            for kind, document in self.store.held()
            if document.get("id") and document.get("op")
        ]
        photos = [{"photo_id": photo["id"], "sha256": photo["sha256"]} for photo in self.store.photos()]
        said = [self._calls.receipt(records=part) for part in _parts(records, RECEIPT_ITEMS)]
        said += [self._calls.receipt(photos=part) for part in _parts(photos, RECEIPT_ITEMS)]
        items = [item for answer in said for item in (*answer["records"], *answer["photos"])]
        return Receipt(
            safe=all(answer["safe"] for answer in said),
            missing=[item for item in items if item["state"] == "missing"],
            photos_awaited=sorted({photo for answer in said for photo in answer["photos_awaited"]}),
        )

    def _round(self) -> None:
        for kind in self.kinds:
            if kind not in READ_ONLY:
                self.push(kind)
        for kind in self.kinds:
            self.pull(kind)
        self.read_outcomes()
        self.send_photos()

    def _push(self, kind: str, rows: Sequence[Json]) -> None:
        """One batch; in halves where it is too large. The number is stored before the batch goes out.

        Where a later push was taken already, this store is an old copy of itself: it catches up in growing steps, and
        the rows go out again from the beginning.
        """
        skip = 1
        while True:
            try:
                answer = self._calls.push(kind, rows, number=self.store.next_push_number(kind, skip=skip))
            except Refused as refused:
                if refused.code != "push_out_of_order":
                    return self._too_large(kind, rows, refused)
                skip *= 2
            else:
                return self.store.take_answer(kind, rows, answer)

    def _too_large(self, kind: str, rows: Sequence[Json], refused: Refused) -> None:
        if refused.status != 413:
            raise refused
        if len(rows) == 1:
            self.store.set_aside(kind, rows[0])
            return
        half = len(rows) // 2
        self._push(kind, rows[:half])
        self._push(kind, rows[half:])

    def _living(self, kind: str, document_id: str) -> Json:
        document = self.store.document(kind, document_id)
        if document is None:
            raise KeyError(document_id)
        return document

    def _has(self, kind: str, grid: str, told: Json) -> bool:
        lines = [canonical(one) + b"\n" for one in self.store.documents(kind) if one["grid_id"] == grid]
        return (len(lines), sha256(b"".join(lines)).hexdigest()) == (told["count"], told["hash"])


_ENVELOPE = frozenset({"id", "op", "rev", "_deleted"})


def _changed(document: Json, changes: Json, without: Iterable[str]) -> Json:
    gone = set(without)
    return {name: value for name, value in (document | changes).items() if name not in gone}


def _parts(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    left = iter(items)
    while part := list(islice(left, size)):
        yield part
