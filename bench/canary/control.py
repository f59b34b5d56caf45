"""The negative control: one more canary, planted in every place and encoding, which the same search has to find.

A search that finds nothing proves something only if it finds what is there.
"""

from collections.abc import Iterable
from pathlib import Path

import redis

from bench.canary.needles import writings_of
from bench.canary.people import Identity
from bench.canary.search import Found
from bench.stack import OwnStack

ENCODINGS = frozenset(
    {"utf-8", "utf-16-le", "utf-16-be", "gb18030", "json", "url", "html", "repr", "octal", "hex", "base64"}
)
ASCII_ENCODINGS = frozenset({"utf-8", "utf-16-le", "utf-16-be", "hex", "base64"})
PLANTED = {
    "name": ENCODINGS,
    "address": ASCII_ENCODINGS,
    "id_number": ASCII_ENCODINGS,
    "phone": ASCII_ENCODINGS,
    "lat": ASCII_ENCODINGS - {"base64"},
    "lon": ASCII_ENCODINGS - {"base64"},
}
NAMED = {"id_number": frozenset({"utf-8"})}
"""What can be part of a file's name."""

TABLE = "canary_control"


def plant(stack: OwnStack, database: str, one: Identity, *, log: Path) -> None:
    """Put a canary into every place that is searched."""
    everything = b"\0".join(_written(one))
    folders = [
        log.parent / "control.log",
        *(stack.folder / name / "control" for name in ("tmp", "answers", "outgoing")),
    ]
    state = Path(stack.settings["STATE_DIR"])
    for file in (*folders, state / "control", state / "media" / "derivatives" / "control"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"\n" + everything + b"\n")
    with log.open("ab") as lines:
        lines.write(everything + b"\n")
    (stack.folder / "tmp" / f"{one.id_number}.jpg").touch()
    with redis.Redis.from_url(stack.valkey.redis_url()) as client:
        client.set(TABLE, everything)
    _plant_in_database(stack, database, one, everything)


def _plant_in_database(stack: OwnStack, database: str, one: Identity, everything: bytes) -> None:
    """As text and as bytes, stored as they are: PostgreSQL packs long values, which are searched in the dump then."""
    texts = [writing.decode() for writing in _written(one) if _is_text(writing)]
    with stack.superuser(database) as connection:
        connection.execute(f"CREATE TABLE {TABLE} (said text, sealed bytea)")
        for column in ("said", "sealed"):
            connection.execute(f"ALTER TABLE {TABLE} ALTER {column} SET STORAGE EXTERNAL")
        for text in texts:
            connection.execute(f"INSERT INTO {TABLE} VALUES (%s, NULL)", [text])
        connection.execute(f"INSERT INTO {TABLE} VALUES (NULL, %s)", [everything])


def missed(found: Iterable[Found], one: Identity, places: Iterable[str]) -> list[str]:
    """What was planted and not found, as `place: field encoding`."""
    seen = {
        (item.place, item.sighting.field, item.sighting.encoding)
        for item in found
        if item.sighting.number == one.number
    }
    wanted = [
        (place, field, encoding)
        for place in places
        for field, encodings in (NAMED if place == "file names" else PLANTED).items()
        for encoding in sorted(encodings)
    ]
    return [f"{place}: {field} {encoding}" for place, field, encoding in wanted if (place, field, encoding) not in seen]


def _written(one: Identity) -> list[bytes]:
    return [written for values in one.values().values() for value in values for _, written in writings_of(value)]


def _is_text(written: bytes) -> bool:
    try:
        return "\0" not in written.decode()
    except UnicodeDecodeError:
        return False
