"""`make bench-crosscheck`: the cross-check next to Splink (DuckDB) and recordlinkage, all in one run on one machine.

A million synthetic people as a department's drop, and 5,000 labelled entries about them. Ours is the product as it
runs: the drop imported, encrypted and blind-indexed, the entries pushed by handhelds, and two processes that work
through the jobs of the cross-check to verdicts with sealed evidence, audit and follow-up jobs. The peers get both
tables in the clear. Each side may block as it likes; all are tuned on entries of another seed. Sides take turns
within a round, and ratios are medians over rounds; Splink is timed for its prediction step only.

Then: what an entry costs against a tenth of the people, and how long a verdict takes at a steady pace of pushes.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import crosscheck_peers
from bench.crosscheck_files import write_entries, write_population
from bench.crosscheck_labels import Labelled, labelled
from bench.crosscheck_ours import Product
from bench.crosscheck_peers import Accuracy, Peer, judge
from bench.crosscheck_push import Paced, paced
from bench.stack import OwnStack, own_stack
from bench.sync_ours import Ours, ours

TUNING, TEST, PACED = "tuning", "test", "paced"
"""Seeds of entries: what sides are tuned on, what they are judged by, and what is pushed at a pace."""
WARM_UP = 1000
"""Entries before each round, which make connections and fill caches: two batches for each worker."""
TARGETS = {
    "vs_splink": 3.0,
    "vs_recordlinkage": 15.0,
    "precision": 0.985,
    "recall": 0.985,
    "growth_1e5_1e6": 1.5,
}
"""What is to be reached: at least that much, of the last at most. Precision and recall also above both peers."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What our side came to over one population: entries a second in each round, and how right the first was."""

    entries_per_s: list[float]
    accuracy: Accuracy
    pace: Paced | None = None


def check(stack: OwnStack, total: int, said: argparse.Namespace, drop: Path, *, pace: bool) -> Checked:
    """Import the population into a database of its own and check entries against it, round by round."""
    name = f"people_{total}"
    with ours(stack, name) as side:
        product = Product(stack, name)
        loaded = product.load(drop)
        print(f"  {total:,} people imported: {loaded['accepted'] / loaded['seconds']:,.0f} rows/s", flush=True)
        entries = labelled(TEST, entries=said.entries, total=total)
        documents = [_round(product, side, number, said.entries, total) for number in range(said.rounds)]
        links = product.links(documents[0])
        _report(total, product, links, entries)
        found = judge([link for _, link in links], entries)
        timed = paced(stack, side, _paced_entries(said, total), rate=said.pace) if pace else None
        return Checked(product.entries_per_s, found, timed)


def _round(product: Product, side: Ours, number: int, entries: int, total: int) -> list[str]:
    """Other people each round: who is there already is a duplicate. The first to be checked warm up."""
    product.push(side, labelled(f"warm {number}", entries=WARM_UP, total=total))
    documents = product.push(side, labelled(f"{TEST} {number}" if number else TEST, entries=entries, total=total))
    product.settle()
    product.check()
    return documents


def _paced_entries(said: argparse.Namespace, total: int) -> list[Labelled]:
    return labelled(PACED, entries=round(said.pace * said.seconds), total=total)


def _report(total: int, product: Product, links: Sequence[tuple[str, str | None]], entries: Sequence[Labelled]) -> None:
    speeds = " ".join(f"{speed:,.0f}" for speed in product.entries_per_s)
    print(f"  {total:,} people: {speeds} entries/s, {statistics.median(product.worked_us):,.0f} µs of Python each")
    for wrong in sorted({entry.wrong for entry in entries}, key=lambda one: (len(one), sorted(one))):
        some = [(link, entry) for (_, link), entry in zip(links, entries, strict=True) if entry.wrong == wrong]
        right = sum(link == entry.truth for link, entry in some)
        print(f"    {'+'.join(sorted(wrong)) or 'no mistake, or absent':<40} {right:>5} of {len(some):>5} right")


def against_peers(folder: Path, people: Path, total: int, entries: int) -> dict[str, Peer]:
    """Both peers on the same entries."""
    sets = {seed: labelled(seed, entries=entries, total=total) for seed in (TUNING, TEST)}
    paths = {seed: write_entries(folder / f"{seed}.csv", some) for seed, some in sets.items()}
    tuning, test = ((paths[seed], sets[seed]) for seed in (TUNING, TEST))
    return {name: crosscheck_peers.run(name, people, tuning, test) for name in ("splink", "recordlinkage")}


def figures(small: Checked, large: Checked, peers: dict[str, Peer]) -> dict[str, float]:
    """All that the last line says."""
    speed = statistics.median(large.entries_per_s)
    splink = {way: statistics.median(speeds) for way, speeds in peers["splink"].entries_per_s.items()}
    other = statistics.median(peers["recordlinkage"].entries_per_s["all"])
    assert large.pace
    return {
        "entries_per_s": speed,
        "vs_splink": speed / splink["predict"],
        "vs_splink_between": speed / splink["predict_between"],
        "vs_recordlinkage": speed / other,
        "precision": large.accuracy.precision,
        "recall": large.accuracy.recall,
        "splink_precision": peers["splink"].accuracy.precision,
        "splink_recall": peers["splink"].accuracy.recall,
        "recordlinkage_precision": peers["recordlinkage"].accuracy.precision,
        "recordlinkage_recall": peers["recordlinkage"].accuracy.recall,
        "growth_1e5_1e6": statistics.median(small.entries_per_s) / speed,
        "verdict_p50_s": large.pace.p50,
        "verdict_p99_s": large.pace.p99,
    }


def missed(found: dict[str, float], pace: Paced, rate: float) -> list[str]:
    """The figures that are not reached."""
    short = [name for name, target in TARGETS.items() if name != "growth_1e5_1e6" and found[name] < target]
    short += ["growth_1e5_1e6"] if found["growth_1e5_1e6"] > TARGETS["growth_1e5_1e6"] else []
    for name in ("precision", "recall"):
        short += [f"{name} of {peer}" for peer in ("splink", "recordlinkage") if found[name] <= found[f"{peer}_{name}"]]
    return short + ([] if pace.steady and pace.rate > 0.95 * rate else ["pace"])


def main() -> int:
    """Measure and print; 1 where a figure is missed."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--people", type=int, default=1_000_000)
    reader.add_argument("--entries", type=int, default=5000)
    reader.add_argument("--rounds", type=int, default=3)
    reader.add_argument("--pace", type=float, default=200.0, help="pushes a second")
    reader.add_argument("--seconds", type=float, default=60.0, help="how long pushes are paced")
    reader.add_argument("--tables", type=Path, help="folder that keeps the population for further runs")
    said = reader.parse_args()
    try:
        crosscheck_peers.install()
    except crosscheck_peers.Missing as missing:
        print(f"✗ {missing}")
        return 1
    with ExitStack() as opened:
        stack = opened.enter_context(own_stack(fsync=True))
        drop, people = write_population(said.tables or stack.folder, said.people)
        fewer, _ = write_population(said.tables or stack.folder, said.people // 10)
        small = check(stack, said.people // 10, said, fewer, pace=False)
        peers = against_peers(stack.folder, people, said.people, said.entries)
        large = check(stack, said.people, said, drop, pace=True)
    found = figures(small, large, peers)
    pace = large.pace
    assert pace
    print(f"  pace: {pace}")
    for name, peer in peers.items():
        print(f"  {name}: { ({way: [round(one) for one in speeds] for way, speeds in peer.entries_per_s.items()}) }")
    short = missed(found, pace, said.pace)
    if short:
        print(f"  not reached: {', '.join(short)}")
    print("RESULT", " ".join(f"{name}={value:,.{_places(name)}f}".replace(",", "") for name, value in found.items()))
    return 1 if short else 0


def _places(name: str) -> int:
    """Decimals that mean something."""
    return {"entries_per_s": 0, "vs_splink": 2, "vs_splink_between": 2, "vs_recordlinkage": 1}.get(
        name, 2 if name in ("growth_1e5_1e6", "verdict_p50_s", "verdict_p99_s") else 4
    )


if __name__ == "__main__":
    sys.exit(main())
