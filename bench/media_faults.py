"""`make media-faults UPLOADS=200`: photos over a line that breaks at every boundary, to servers that are killed.

tus-js-client and tuspy send them, each through a proxy (`tests/faulty_line.py`) that cuts, stalls, truncates, doubles
and swallows at the beginning, in the middle and at the end of every part, to one of two API processes. One of these is
killed (SIGKILL) whenever a random number of bytes has passed. At the end every photo is compared byte by byte.
"""

import argparse
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session, col, select

from backend.core.db import engine_for, transaction
from backend.core.enums import PhotoState
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import Photo
from backend.services.objects import object_store
from bench.stack import own_stack, run_module
from media import reaping
from media.partials import folder
from tests.faulty_line import FAULTS, Breaker, Kind, Line
from tests.live import Live
from tests.phones import Errand, Send, tus_js, tuspy
from tests.simulation import node
from tests.world import World

DATABASE = "uploads"
UPLOADS = "/media/v1/uploads"
SIZES = (200_000, 1_200_000)
PARTS = (64 * 1024, 150_000, 0)
BYTES_BETWEEN_KILLS = 4_000_000
SENT_BY_ONE_LOGIN = 20
SETTINGS = {"BODY_STALL_SECONDS": "0.4"}


@dataclass
class Servers:
    """Two API processes over one database and folder, and who is killed when."""

    processes: list[Live]
    chance: random.Random
    kills: int = 0
    _left: int = BYTES_BETWEEN_KILLS
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _revivals: dict[int, threading.Thread] = field(default_factory=dict)

    @classmethod
    def start(cls, place: Path, environment: Mapping[str, str], *, seed: int) -> "Servers":
        """Start both and wait for them."""
        processes = []
        for number in range(2):
            (place / f"api-{number}").mkdir()
            processes.append(Live(place / f"api-{number}", dict(environment)))
            processes[-1].start_api()
        return cls(processes, random.Random(f"kills {seed}"))

    def living(self) -> list[tuple[str, int]]:
        """Where those listen that are not being started again."""
        dead = {port for port, thread in self._revivals.items() if thread.is_alive()}
        return [("127.0.0.1", port) for port in self._ports() if port not in dead]

    def _ports(self) -> dict[int, Live]:
        return {int(urlsplit(process.url).port or 0): process for process in self.processes}

    def count(self, port: int, sent: int) -> None:
        """Bytes went to a server. When enough have, that server dies with what it holds in memory."""
        with self._lock:
            self._left -= sent
            if self._left > 0 or any(thread.is_alive() for thread in self._revivals.values()):
                return
            self._left = int(self.chance.expovariate(1 / BYTES_BETWEEN_KILLS)) + 1
            self.kills += 1
            victim = self._ports()[port]
            victim.kill("api")
            self._revivals[port] = threading.Thread(target=victim.start_api)
            self._revivals[port].start()

    def stop(self) -> None:
        """End both."""
        for thread in self._revivals.values():
            thread.join()
        for process in self.processes:
            process.stop()


def main() -> int:
    """Send all, compare all, and tell the figures; 1 where any photo is not what was sent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20261126)
    asked = parser.parse_args()
    program = node.node()
    node.install()
    with own_stack() as stack:
        stack.migrate(DATABASE)
        environment = stack.environment(DATABASE, **SETTINGS)
        run_module("bench.seed", environment=environment)
        os.environ.update(environment)
        get_settings.cache_clear()
        servers = Servers.start(stack.folder, environment, seed=asked.seed)
        processes = [node.NodeProcess(program, "uploads.mjs") for _ in range(2)]
        phones = [
            tus_js(processes[0], at_once=True),
            tus_js(processes[1], at_once=False),
            tuspy(checksum=True),
            tuspy(checksum=False),
        ]
        try:
            return _run(servers, phones, stack.folder, uploads=asked.uploads, seed=asked.seed)
        finally:
            for process in processes:
                process.stop()
            servers.stop()


def _run(servers: Servers, phones: Sequence[Send], place: Path, *, uploads: int, seed: int) -> int:
    begun = time.monotonic()
    faults: Counter[Kind] = Counter()
    sent: dict[UUID, str] = {}
    with ThreadPoolExecutor(len(phones)) as pool:
        shares = [range(number, uploads, len(phones)) for number in range(len(phones))]
        work = [
            pool.submit(_send_share, servers, phone, share, place, seed)
            for phone, share in zip(phones, shares, strict=True)
        ]
        for done in work:
            mine, met = done.result()
            sent |= mine
            faults += met
    identical = identical_in_store(sent)
    left = left_after_reaping()
    print("  faults: " + ", ".join(f"{kind.value} {count}" for kind, count in sorted(faults.items())))
    seconds = time.monotonic() - begun
    print(
        f"RESULT uploads={len(sent)} identical={identical} faults={faults.total()} kills={servers.kills}"
        f" files_left={left} seconds={seconds:.0f}"
    )
    return 0 if identical == uploads and not left else 1


def _send_share(
    servers: Servers, phone: Send, share: range, place: Path, seed: int
) -> tuple[dict[UUID, str], Counter[Kind]]:
    """Send the photos of one client, one after the other; gives their hashes and the faults they met."""
    sent: dict[UUID, str] = {}
    met: Counter[Kind] = Counter()
    headers: dict[str, str] = {}
    for turn, number in enumerate(share):
        if turn % SENT_BY_ONE_LOGIN == 0:
            headers = _log_in(servers, number)
        chance = random.Random(f"{seed} {number}")
        content = b"\xff\xd8\xff" + chance.randbytes(chance.randint(*SIZES))
        photo_id, digest = new_id(), sha256(content).hexdigest()
        path = place / f"{photo_id}.jpg"
        path.write_bytes(content)
        order = chance.sample(FAULTS, len(FAULTS))
        breaker = Breaker(cycle(order))
        with Line(servers.living, plan=breaker, count=servers.count, chance=chance) as line:
            phone(Errand(path, photo_id, digest, chance.choice(PARTS), line.url + UPLOADS, headers))
        path.unlink()
        sent[photo_id] = digest
        print(f"  {number}: {len(content):,} bytes, {breaker.met.total()} faults", flush=True)
        met += breaker.met
    return sent, met


def _log_in(servers: Servers, number: int) -> dict[str, str]:
    """The headers of a worker's fresh login; tried again where the server was killed meanwhile."""
    for attempt in range(10):
        process = servers.processes[(number + attempt) % 2]
        try:
            with httpx.Client(base_url=process.url, timeout=60) as client:
                world = World(cast("TestClient", client))
                return world.handheld(world.workers()[number % 8]).headers
        except httpx.TransportError:
            time.sleep(1)
    raise RuntimeError("no login")


def left_after_reaping() -> int:
    """Files in the folder of uploads once all that nobody went on with has expired: lost creations leave such."""
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("UPDATE upload SET expires_at = now()"))
    with Session(engine_for("zw_worker")) as session:
        reaping.reap(session)
    return len(list(folder().iterdir()))


def identical_in_store(sent: Mapping[UUID, str]) -> int:
    """How many of the photos are in the store as they were sent."""
    with Session(engine_for("zw_worker")) as session:
        query = select(Photo).where(col(Photo.id).in_(sent), Photo.state == PhotoState.RECEIVED)
        rows = {photo.id: photo.original_key for photo in session.exec(query)}
    return sum(
        sha256(object_store().get(key)).hexdigest() == sent[photo_id]
        for photo_id, key in rows.items()
        if key is not None
    )


if __name__ == "__main__":
    sys.exit(main())
