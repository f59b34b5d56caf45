"""The wire shape of push and pull, as RxDB's `replicateRxCollection` speaks it (docs/sync-protocol.md).

Rows are read one by one and never fail the batch: what cannot be read, or is no valid record, is a `Refused` row with
its bytes kept. Only a body that is not JSON, or not the envelope, is refused as a whole.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid5

import msgspec

from backend.core.enums import Datum, Kind, QuarantineCode
from backend.core.errors import TooLarge, ZhiwangError
from backend.kinds import KINDS, Document, KindSpec
from backend.kinds.forms import faults, has_nul, is_shallow, normalised
from sync import projection
from sync.rules import State
from sync.wire import leniently, raw_rows, scraped

MAX_ROW_BYTES = 256 * 1024
CURRENT_SCHEMA = projection.CURRENT
OLDEST_SCHEMA = projection.OLDEST
ENVELOPE = frozenset({"id", "rev", "op", "_deleted"})
MAX_DEPTH = 32
GRID_CODE = re.compile(r"[0-9]{15}")

_TOMBSTONE_SPACE = UUID("6f5f6b0e-5f0c-5d0e-9a53-6c1f0a9d2b11")


class SchemaTooOld(ZhiwangError):
    """The client's schema version can no longer be served; its data stay where they are until it is updated."""

    code = "schema_too_old"
    status = 426
    title_zh = "应用版本过旧，请升级后再同步（本机数据不受影响）"
    title_en = "The client's schema is too old; update it, data on the device is untouched"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a device says of itself with each call: never trusted, kept with what we measure.

    `push_number` orders the pushes of one collection (`sync.order`).
    """

    schema_version: int = CURRENT_SCHEMA
    client_time: datetime | None = None
    waiting: int | None = None
    push_number: int | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A pushed row that can be merged. `assumed_op` names the version the device believes to be the server's.

    `content` is what tells this mutation from another one under the same `op`, in the current form, so that a client
    that was updated in between says the same; `raw` is the whole row as it came. Where it came in an older form its
    state is not whole before `projection.lift`.
    `as_it_came`: nothing in `state` was brought to another form, so that, stored, it is what the client sent.
    """

    id: UUID
    op: UUID
    state: State
    assumed_op: UUID | None
    content: bytes
    wire: Document
    raw: bytes
    as_it_came: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A pushed row that cannot be merged: why, where in it, and all of its bytes. Ids as far as they can be read."""

    code: QuarantineCode
    content: bytes
    places: list[str]
    id: UUID | None = None
    op: UUID | None = None
    grid_id: str | None = None


def read_push(kind: Kind, body: bytes, *, max_rows: int, version: int = CURRENT_SCHEMA) -> list[Incoming | Refused]:
    """The rows of a push body, in order. `version` is the form that they are written in.

    `NotJson`, `Malformed` or `TooLarge` concern the body as a whole.
    """
    rows = raw_rows(body)
    if len(rows) > max_rows:
        raise TooLarge(f"at most {max_rows} rows a batch", max_rows=max_rows)
    return [_read_row(KINDS[kind], row, version) for row in rows]


def _read_row(spec: KindSpec, raw: bytes, version: int) -> Incoming | Refused:
    if len(raw) > MAX_ROW_BYTES:
        return Refused(QuarantineCode.ROW_TOO_LARGE, raw, [], *_ids_of(leniently(raw), raw))
    try:
        row = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refused(QuarantineCode.UNREADABLE, raw, [], *_ids_of(leniently(raw), raw))
    ids = _ids_of(row, raw)
    if b"\\u0000" in raw and has_nul(row):
        return Refused(QuarantineCode.UNREADABLE, raw, ["NUL"], *ids)
    if not is_shallow(row, MAX_DEPTH):
        return Refused(QuarantineCode.INVALID, raw, ["depth"], *ids)
    document_id, op, _ = ids
    document = row.get("newDocumentState") if isinstance(row, dict) else None
    if not isinstance(document, dict) or document_id is None or op is None:
        return Refused(QuarantineCode.INVALID, raw, ["id", "op"], *ids)
    return _checked(spec, raw, row, document, document_id, op, version)


def _checked(
    spec: KindSpec, raw: bytes, row: dict[str, Any], document: Document, document_id: UUID, op: UUID, version: int
) -> Incoming | Refused:
    # Underscore keys are the client library's own (`_attachments` after a local migration) and are ignored.
    pushed = {name: value for name, value in document.items() if name not in ENVELOPE and name[:1] != "_"}
    fields = projection.up(spec.kind, pushed, version)
    deleted = document.get("_deleted", False)
    places = [] if deleted is True else faults(spec, fields)
    if not isinstance(deleted, bool):
        places = ["_deleted"]
    if places:
        return Refused(QuarantineCode.INVALID, raw, places, *_ids_of(row, raw))
    content = content_of(document_id, op, fields, deleted=deleted)
    state = State({} if deleted else normalised(spec, fields), deleted)
    as_it_came = state.fields is pushed
    return Incoming(document_id, op, state, _assumed_op(row), content, document, raw, as_it_came)


def content_of(document_id: UUID, op: UUID, fields: Document, *, deleted: bool) -> bytes:
    """What tells a mutation from another one under the same `op`."""
    return msgspec.json.encode([document_id, op, fields, deleted], order="sorted")


def _assumed_op(row: dict[str, Any]) -> UUID | None:
    assumed = row.get("assumedMasterState")
    if not isinstance(assumed, dict):
        return None
    return canonical_uuid(assumed.get("op")) or UUID(int=0)


def _ids_of(row: Any, raw: bytes) -> tuple[UUID | None, UUID | None, str | None]:
    """Id, op and grid of a row as far as they can be made out, also where the row itself can not be read."""
    document = row.get("newDocumentState") if isinstance(row, dict) else None
    if not isinstance(document, dict):
        document = scraped(raw, ("id", "op")) if row is None else {}
    grid_id = document.get("grid_id")
    return (
        canonical_uuid(document.get("id")),
        canonical_uuid(document.get("op")),
        grid_id if isinstance(grid_id, str) and GRID_CODE.fullmatch(grid_id) else None,
    )


def canonical_uuid(value: Any) -> UUID | None:
    """A UUID in its canonical writing only: two writings of one id would be two documents to a client."""
    try:
        parsed = UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return parsed if parsed is not None and str(parsed) == value else None


def to_wire(document_id: UUID | str, *, fields: Document, version: int, op: UUID | str) -> Document:
    """A document as the client holds it."""
    return {"id": str(document_id), **fields, "rev": version, "op": str(op), "_deleted": False}


def in_form(kind: Kind, document: Document, version: int) -> Document:
    """A document on the wire as a client of an older form may hold it."""
    if version >= CURRENT_SCHEMA:
        return document
    fields = {name: value for name, value in document.items() if name not in ENVELOPE}
    envelope = {name: document[name] for name in ("rev", "op", "_deleted")}
    return {"id": document["id"], **projection.down(kind, fields, version), **envelope}


def tombstone(kind: Kind, document_id: UUID, *, version: int, op: UUID, merged_into: UUID | None = None) -> Document:
    """What overwrites a client's copy of a document that is gone or no longer its to see: every required field blank.

    Its `op` is derived from the version's, so that the tombstone is known again when it comes back. `merged_into` is
    the id of the document that it was found to be a duplicate of.
    """
    return {
        "id": str(document_id),
        **_blanks(kind),
        "rev": version,
        "op": str(tombstone_op(op)),
        "_deleted": True,
        **({"merged_into": str(merged_into)} if merged_into else {}),
    }


def tombstone_op(op: UUID) -> UUID:
    """The `op` of the tombstone that stands for a version."""
    return uuid5(_TOMBSTONE_SPACE, op.hex)


@lru_cache(maxsize=len(Kind))
def _blanks(kind: Kind) -> Document:
    """Blank values of the required fields, by their type in the kind's JSON Schema."""
    schema = KINDS[kind].model.model_json_schema()
    blank: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
    location = {"lat": 0, "lon": 0, "datum": Datum.WGS84.value}
    return {
        name: location if name == "location" else blank[schema["properties"][name].get("type", "object")]
        for name in schema.get("required", [])
    }


def differs(pushed: Document, authoritative: Document) -> bool:
    """Whether the client must be told: the documents differ in anything but `rev` and the library's own keys."""
    return _canonical(pushed) != _canonical(authoritative)


def _canonical(document: Document) -> bytes:
    kept = {
        name: value
        for name, value in document.items()
        if name != "rev" and (name == "_deleted" or not name.startswith("_"))
    }
    if kept.setdefault("_deleted", False) is True:
        kept.pop("merged_into", None)  # Only a pull says so; a push is answered without looking for it.
    return msgspec.json.encode(kept, order="sorted")


def check_schema_version(version: int | None) -> int:
    """The schema version to serve. `SchemaTooOld` below the oldest; newer clients get the current one."""
    if version is not None and version < OLDEST_SCHEMA:
        raise SchemaTooOld(oldest=OLDEST_SCHEMA)
    return min(version or CURRENT_SCHEMA, CURRENT_SCHEMA)
