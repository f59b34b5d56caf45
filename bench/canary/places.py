"""Every place in which bytes of a stack come to rest, as files to be searched.

What cannot be read as a file is written into one first: the broker's keys, the database's dump, and the dump's binary
columns once more as the bytes they are. Originals of photographs are the only files left out: they are what their
taker photographed, metadata and all, and nobody but the decoder reads them.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from bench.stack import OwnStack

PHOTOGRAPHS = ("media/originals/", "uploads/")
"""Below the state folder: originals, and originals that are still coming in."""

_BINARY = re.compile(rb"\\\\x([0-9a-f]{8,})")


@dataclass(frozen=True, slots=True)
class Place:
    """Some files of one sort."""

    name: str
    files: tuple[Path, ...]

    def size(self) -> int:
        return sum(file.stat().st_size for file in self.files)


def gather(stack: OwnStack, database: str, *, logs: list[Path], scratch: Path) -> list[Place]:
    """All places of a stack, whose database server is stopped. `scratch` takes what is written for the search only."""
    state = Path(stack.settings["STATE_DIR"])
    temporary = stack.folder / "tmp"
    dump, binary = _dump(stack, database, scratch)
    cluster = _cluster(stack)
    kept = [file for file in _files(state) if not _is_photograph(file, state)]
    objects = [file for file in kept if (state / "media") in file.parents]
    places = {
        "logs": sorted({*logs, *_files(stack.folder / "logs")}),
        "broker: keys": [_broker(stack, scratch)],
        "broker: files": [file for file in _files(stack.folder / "valkey") if file.name != "lock"],
        "database: dump": [dump, binary],
        "database: data files": [file for file in cluster if "pg_wal" not in file.parts],
        "database: write-ahead log": [file for file in cluster if "pg_wal" in file.parts],
        "objects": objects,
        "state folder": [file for file in kept if file not in objects],
        "temporary files": list(_files(temporary)),
        "answers": list(_files(stack.folder / "answers")),
        "outgoing calls": list(_files(stack.folder / "outgoing")),
    }
    names = scratch / "names.txt"
    names.write_text("\n".join(str(file) for files in places.values() for file in files), encoding="utf-8")
    return [Place(name, tuple(files)) for name, files in {**places, "file names": [names]}.items()]


def _is_photograph(file: Path, state: Path) -> bool:
    return str(file.relative_to(state)).startswith(PHOTOGRAPHS)


def _files(folder: Path) -> Iterator[Path]:
    for path, _, names in os.walk(folder):
        yield from (Path(path) / name for name in names if (Path(path) / name).is_file())


def _dump(stack: OwnStack, database: str, scratch: Path) -> tuple[Path, Path]:
    """`pg_dump` as plain SQL, and all its binary columns decoded."""
    dump, binary = scratch / "dump.sql", scratch / "dump.bin"
    program = stack.postgres.binaries / "pg_dump"
    url = stack.postgres.url(user="postgres", database=database)
    subprocess.run([program, "--format=plain", "--file", dump, url], check=True)
    text = dump.read_bytes()
    binary.write_bytes(
        b"\0".join(bytes.fromhex(found[1][: len(found[1]) // 2 * 2].decode()) for found in _BINARY.finditer(text))
    )
    return dump, binary


def _cluster(stack: OwnStack) -> list[Path]:
    """All files of the cluster. The server is stopped, so that everything is written down and nothing moves."""
    cluster = stack.postgres.link.resolve()
    stack.postgres.stop()
    return list(_files(cluster))


def _broker(stack: OwnStack, scratch: Path) -> Path:
    """Every key with its value, and with its serialised form, in which long values are packed."""
    file = scratch / "broker.bin"
    with redis.Redis.from_url(stack.valkey.redis_url()) as client, file.open("wb") as out:
        for key in client.scan_iter(count=1000):
            out.write(b"\0".join([key, *_values(client, key), client.dump(key) or b"", b""]))
    return file


def _values(client: Any, key: bytes) -> Iterator[bytes]:
    match client.type(key):
        case b"string":
            yield client.get(key) or b""
        case b"list":
            yield from client.lrange(key, 0, -1)
        case b"set":
            yield from client.smembers(key)
        case b"zset":
            yield from client.zrange(key, 0, -1)
        case b"hash":
            for name, value in client.hgetall(key).items():
                yield name + b"\0" + value
        case other:
            raise TypeError(f"a key of the type {other!r}, which is not read yet")
