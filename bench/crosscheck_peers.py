"""The peers of `bench.crosscheck`, Splink over DuckDB and recordlinkage, from their own packages under `bench/peers`.

Each is trained on the tuning entries, whose truth it is told, and links each entry with its best record from a
threshold on; the threshold is the one that does best on the tuning entries.
"""

import json
import shutil
import subprocess
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.core.settings import PROJECT_ROOT
from bench.crosscheck_labels import Labelled

PEERS = PROJECT_ROOT / "bench" / "peers"
LINKAGE = PEERS / ".linkage"
STEPS = 400

Pair = tuple[int, str, float]
"""Place of an entry, id number of a record, and how sure the peer is that they are one person."""
Link = str | None


class Missing(Exception):
    """The peers cannot be installed here. The text says what is missing."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of all links the share that is right, and of all entries with a record the share that is linked with it."""

    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Peer:
    """What a peer came to: entries a second by each way it has, and how right it was."""

    name: str
    entries_per_s: dict[str, list[float]]
    accuracy: Accuracy


def install() -> None:
    """Put the pinned packages into a folder that Git ignores."""
    if not any(LINKAGE.glob("lib/python*/site-packages/splink")):
        shutil.rmtree(LINKAGE, ignore_errors=True)
        print("… installing Splink and recordlinkage", flush=True)
        venv.create(LINKAGE, with_pip=True)
        pip = [str(LINKAGE / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _run([*pip, "-r", str(PEERS / "linkage.txt")])


def run(
    name: str, people: Path, tuning: tuple[Path, Sequence[Labelled]], entries: tuple[Path, Sequence[Labelled]]
) -> Peer:
    """Train and measure one peer, in a process of its own."""
    command = [str(LINKAGE / "bin" / "python"), str(PEERS / f"linkage_{name}.py")]
    said: dict[str, Any] = json.loads(_run([*command, *map(str, (people, tuning[0], entries[0]))]))
    threshold = _best_threshold(said["tuning"], tuning[1])
    count = len(entries[1])
    speeds = {way: [count / one for one in seconds] for way, seconds in said["seconds"].items()}
    return Peer(name, speeds, judge(_links(said["links"], threshold, count), entries[1]))


def judge(links: Sequence[Link], entries: Sequence[Labelled]) -> Accuracy:
    """How right the links of the entries are."""
    right = sum(link is not None and link == entry.truth for link, entry in zip(links, entries, strict=True))
    made = sum(link is not None for link in links)
    present = sum(entry.truth is not None for entry in entries)
    return Accuracy(right / made if made else 0.0, right / present)


def _best_threshold(pairs: Sequence[Pair], entries: Sequence[Labelled]) -> float:
    """Where the lower one of precision and recall is highest on the entries."""
    weights = sorted(weight for _, _, weight in pairs)
    tried = weights[:: max(1, len(weights) // STEPS)]

    def worth(threshold: float) -> tuple[float, float]:
        found = judge(_links(pairs, threshold, len(entries)), entries)
        return min(found.precision, found.recall), found.precision + found.recall

    return max(tried, key=worth)


def _links(pairs: Sequence[Pair], threshold: float, count: int) -> list[Link]:
    """The best record of each entry, where it is good enough."""
    best: dict[int, tuple[float, str]] = {}
    for entry, record, weight in pairs:
        if weight >= threshold:
            best[entry] = max(best.get(entry, (weight, record)), (weight, record))
    return [best[place][1] if place in best else None for place in range(count)]


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Missing(f"{command[0]}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
    return done.stdout
