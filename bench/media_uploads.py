"""The upload half of `make bench-media`: what an upload costs beyond writing its bytes, and what a bad line costs.

Photos of 5 MB, 32 at once, from plain sockets: ours (`creation-with-upload`, everything on, every answer waits for the
disk of the store and of PostgreSQL) beside `bench.raw_upload`, which writes and flushes the same bytes under the same
server, with as many processes. Sides take turns, the ratio is that of medians.

Then tus-js-client and tuspy send photos over a slow line that loses connections; what they put on it, heads included,
is compared with the bytes of the files.
"""

import argparse
import base64
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import cast
from urllib.parse import urlsplit

import httpx
from fastapi.testclient import TestClient

from backend.core.ids import new_id
from bench.stack import OwnStack, own_stack, run_module
from bench.sync_load import Line as Wire
from bench.sync_load import request, together
from tests.faulty_line import Line
from tests.live import Live
from tests.phones import Errand, Send, tus_js, tuspy
from tests.simulation import node
from tests.world import World

DATABASE = "media_uploads"
UPLOADS = "/media/v1/uploads"
PROCESSES = 2
AT_ONCE = 32
PHOTO_BYTES = 5_000_000
SLOW_BYTES_PER_SECOND = 400_000.0
LOSS = 0.03
"""Of a connection, for each 64 KiB: one loss in two megabytes."""
SLOW_PHOTO_BYTES = 2_500_000
SLOW_PHOTOS = 12
PART_BYTES = 256 * 1024

Photos = Sequence[Sequence[bytes]]
"""The requests of each client, written beforehand."""


@contextmanager
def _servers(
    stack: OwnStack, name: str, environment: Mapping[str, str], application: str = "backend.main:app"
) -> Iterator[list[int]]:
    """The ports of as many processes of one side."""
    running: list[Live] = []
    try:
        for number in range(PROCESSES):
            place = stack.folder / f"{name}-{number}"
            place.mkdir()
            running.append(Live(place, dict(environment), application=application))
            running[-1].start_api()
        yield [int(urlsplit(live.url).port or 0) for live in running]
    finally:
        for live in running:
            live.stop()


def _log_in(port: int, number: int) -> list[dict[str, str]]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        world = World(cast("TestClient", client))
        return [world.handheld(login).headers for login in world.workers()[:number]]


def _ours(headers: Sequence[Mapping[str, str]], *, each: int) -> Photos:
    def one(number: int) -> bytes:
        content = b"\xff\xd8\xff" + os.urandom(PHOTO_BYTES - 3)
        values = {"photo_id": str(new_id()), "sha256": sha256(content).hexdigest(), "mime": "image/jpeg"}
        written = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())
        sent = {
            **headers[number % len(headers)],
            "Tus-Resumable": "1.0.0",
            "Upload-Length": str(len(content)),
            "Upload-Metadata": written,
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(len(content)),
        }
        return request("POST", UPLOADS, headers=sent) + content

    return [[one(number) for _ in range(each)] for number in range(AT_ONCE)]


def _raw(*, each: int) -> Photos:
    head = request("POST", "/", headers={"Content-Length": str(PHOTO_BYTES)})
    return [[head + os.urandom(PHOTO_BYTES) for _ in range(each)] for _ in range(AT_ONCE)]


def _send(ports: Sequence[int], photos: Photos) -> float:
    """Photos a second, from the first byte to the last answer."""

    def client(number: int) -> Callable[[], None]:
        def run() -> None:
            with Wire(ports[number % len(ports)]) as wire:
                for message in photos[number]:
                    status, body = wire.call(message)
                    if status != httpx.codes.CREATED:
                        raise RuntimeError(f"{status}: {body[:200]!r}")

        return run

    seconds = together([client(number) for number in range(len(photos))])
    return sum(map(len, photos)) / seconds


def _clear(folder: Path) -> None:
    """Make room; the rows stay."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def against_raw(stack: OwnStack, ports: Sequence[int], *, rounds: int, each: int) -> float:
    """Photos a second of ours over those of the bare endpoint."""
    headers = _log_in(ports[0], 8)
    raw_folder, ours_folder = stack.folder / "raw", stack.folder / "state" / "media"
    raw_folder.mkdir()
    environment = {**os.environ, "RAW_FOLDER": str(raw_folder)}
    speeds: dict[str, list[float]] = {"ours": [], "raw": []}
    with _servers(stack, "raw-api", environment, "bench.raw_upload:app") as raw_ports:
        for number in range(rounds):
            sides: list[tuple[str, Callable[[], float], Path]] = [
                ("ours", lambda: _send(ports, _ours(headers, each=each)), ours_folder),
                ("raw", lambda: _send(raw_ports, _raw(each=each)), raw_folder),
            ]
            for name, run, folder in sides if number % 2 else reversed(sides):
                speeds[name].append(run())
                _clear(folder)
            print(f"  round {number + 1}: ours {speeds['ours'][-1]:.1f}/s, bare {speeds['raw'][-1]:.1f}/s", flush=True)
    return median(speeds["ours"]) / median(speeds["raw"])


def over_a_bad_line(stack: OwnStack, ports: Sequence[int], *, photos: int, seed: int) -> float:
    """Bytes that clients put on a slow line that loses connections, over the bytes of the files."""
    program = node.node()
    node.install()
    processes = [node.NodeProcess(program, "uploads.mjs") for _ in range(2)]
    phones: list[tuple[Send, int]] = [
        (tus_js(processes[0], at_once=True), PART_BYTES),
        (tus_js(processes[1], at_once=False), 0),
        (tuspy(checksum=True), PART_BYTES),
        (tuspy(checksum=False), 0),
    ]
    headers = _log_in(ports[0], len(phones))
    try:
        with ThreadPoolExecutor(len(phones)) as pool:
            jobs = [
                pool.submit(_send_badly, stack, ports, phones[place], headers[place], range(place, photos, 4), seed)
                for place in range(len(phones))
            ]
            done = [job.result() for job in jobs]
    finally:
        for process in processes:
            process.stop()
    for place, (sent, files, cuts) in enumerate(done):
        print(f"  client {place}: {sent / files:.3f} of the bytes of its files, {cuts} lost connections")
    return sum(sent for sent, _, _ in done) / sum(files for _, files, _ in done)


def _send_badly(
    stack: OwnStack,
    ports: Sequence[int],
    phone: tuple[Send, int],
    headers: Mapping[str, str],
    share: range,
    seed: int,
) -> tuple[int, int, int]:
    """Bytes sent, bytes of the files, and lost connections of one client."""
    send, chunk = phone
    servers = [("127.0.0.1", port) for port in ports]
    sent = files = cuts = 0
    for number in share:
        content = b"\xff\xd8\xff" + os.urandom(SLOW_PHOTO_BYTES - 3)
        path = stack.folder / f"slow-{number}.jpg"
        path.write_bytes(content)
        chance = random.Random(f"{seed} {number}")
        with Line(lambda: servers, rate=SLOW_BYTES_PER_SECOND, loss=LOSS, chance=chance) as line:
            send(Errand(path, new_id(), sha256(content).hexdigest(), chunk, line.url + UPLOADS, headers))
        sent, files, cuts = sent + line.sent, files + len(content), cuts + line.cuts
    return sent, files, cuts


def main() -> int:
    """Measure both and tell the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--each", type=int, default=2, help="photos of each of the 32 clients in a round")
    parser.add_argument("--slow-photos", type=int, default=SLOW_PHOTOS)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with own_stack(fsync=True) as stack:
        stack.migrate(DATABASE)
        environment = stack.environment(DATABASE, MAX_UPLOAD_BYTES_PER_DAY=str(2**40))
        run_module("bench.seed", environment=environment)
        with _servers(stack, "api", environment) as ports:
            ratio = against_raw(stack, ports, rounds=asked.rounds, each=asked.each)
            line = over_a_bad_line(stack, ports, photos=asked.slow_photos, seed=asked.seed)
    print(f"RESULT upload_vs_raw={ratio:.2f} sent_vs_files={line:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
