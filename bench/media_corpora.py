"""`make media-corpora DIR=…`: every file of a folder goes the way of a photo, hostile or not.

Each is sent to the real API, processed by the product's jobs, asked for and fetched. What the copies carry is read by
libvips, from its own package under `bench/peers`. Times and memory are those of a decoding child of its own, next to
12-megapixel photos that a script draws.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import httpx

from backend.core.enums import Role
from backend.core.ids import new_id
from backend.core.settings import PROJECT_ROOT, get_settings
from backend.seed.load import demo_logins
from bench import media_peers
from bench.served import Served, served
from tests.world import drain_jobs

GOOD_PHOTOS = 4
TURNS = 3
MOST_MB = 256
MOST_SLOWER = 3.0
BATCH = 25


@dataclass
class Seen:
    """What came of the files."""

    statuses: Counter[int] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    copies: int = 0

    def note(self, answer: httpx.Response) -> httpx.Response:
        self.statuses[answer.status_code] += 1
        return answer

    @property
    def server_errors(self) -> int:
        """Answers 5xx, and photos that got no verdict at all."""
        return sum(count for status, count in self.statuses.items() if status >= 500) + self.verdicts["received"]


def through_the_api(files: Sequence[Path], out: Path) -> Seen:
    """Send, process, ask and fetch all files; the copies lie in `out` then."""
    seen = Seen()
    with served() as running, httpx.Client(base_url=running.url, timeout=60) as client:
        os.environ.update(running.environment)
        get_settings.cache_clear()
        client.headers["Authorization"] = f"Bearer {_token(client)}"
        for start in range(0, len(files), BATCH):
            _batch(client, files[start : start + BATCH], seen, out)
        _complain(running)
    return seen


def _batch(client: httpx.Client, files: Iterable[Path], seen: Seen, out: Path) -> None:
    sent = [photo_id for path in files if (photo_id := _send(client, path, seen))]
    drain_jobs()
    for photo_id in sent:
        shown = seen.note(client.get(f"/media/v1/photos/{photo_id}")).json()
        seen.verdicts[shown["failure"]["code"] if shown["failure"] else shown["state"]] += 1
        for variant in shown["variants"]:
            copy = seen.note(client.get(variant["href"]))
            seen.copies += 1
            (out / f"{photo_id}-{variant['variant']}.{variant['mime'][6:]}").write_bytes(copy.content)


def _send(client: httpx.Client, path: Path, seen: Seen) -> str | None:
    content, photo_id = path.read_bytes(), str(new_id())
    values = {"photo_id": photo_id, "sha256": sha256(content).hexdigest(), "mime": "image/jpeg"}
    answer = seen.note(client.post("/media/v1/photos", data=values, files={"file": (path.name, content)}))
    if answer.status_code != httpx.codes.CREATED:
        seen.verdicts[answer.json()["code"]] += 1
        return None
    return photo_id


def _token(client: httpx.Client) -> str:
    entry = next(entry for entry in demo_logins() if entry.role is Role.OPERATOR)
    answer = client.post("/auth/v1/login", json={"login": entry.login, "password": entry.password})
    return str(answer.raise_for_status().json()["access_token"])


def _complain(running: Served) -> None:
    traces = running.log.read_text(errors="replace").count("Traceback")
    if traces:
        print(f"  the API's log has {traces} tracebacks")


def decode_times(folder: Path) -> tuple[list[float], float]:
    """Seconds of each file below a folder in a decoding child, and the child's peak in megabytes."""
    command = [sys.executable, "-m", "bench.media_times", str(folder), str(TURNS)]
    done = subprocess.run(command, check=True, cwd=PROJECT_ROOT, capture_output=True, text=True)
    answer = json.loads(done.stdout)
    return answer["seconds"], answer["peak_kb"] / 1024


def metadata_left(folder: Path) -> list[str]:
    """What libvips finds beside pixels, and what it cannot decode."""
    python = str(media_peers.VIPS / "bin" / "python")
    command = [python, str(media_peers.PEERS / "vips_fields.py"), str(folder)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def p99(times: Sequence[float]) -> float:
    """The time that 99 of 100 files stay below."""
    return sorted(times)[max(0, math.ceil(len(times) * 0.99) - 1)]


def main() -> int:
    """Run it; 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        print(f"✗ 没有文件 · no files in {folder}")
        return 1
    try:
        media_peers.install()
    except media_peers.Missing as missing:
        print(f"✗ {missing}")
        return 1
    with tempfile.TemporaryDirectory(prefix="zhiwang-corpora-") as place:
        return _run(folder, files, Path(place))


def _run(given: Path, files: Sequence[Path], folder: Path) -> int:
    command = [sys.executable, "-m", "bench.media_pictures", str(folder), str(GOOD_PHOTOS), "0"]
    subprocess.run(command, check=True, cwd=PROJECT_ROOT)
    times, peak = decode_times(given)
    slowest = p99(times) / p99(decode_times(folder / "jpeg")[0])
    copies = folder / "copies"
    copies.mkdir()
    seen = through_the_api(files, copies)
    left = metadata_left(copies)
    print("  verdicts:", ", ".join(f"{code} {count}" for code, count in sorted(seen.verdicts.items())))
    print("  answers:", ", ".join(f"{status} {count}" for status, count in sorted(seen.statuses.items())))
    for line in left[:20]:
        print("  left:", line)
    print(
        f"RESULT files={len(files)} copies={seen.copies} errors_5xx={seen.server_errors} metadata_left={len(left)} "
        f"p99_vs_good={slowest:.2f} peak_mb={peak:.0f}"
    )
    return int(bool(seen.server_errors or left or slowest > MOST_SLOWER or peak > MOST_MB or not seen.copies))


if __name__ == "__main__":
    sys.exit(main())
