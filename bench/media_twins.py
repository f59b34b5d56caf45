"""`make bench-twins`: how the search for the likes of a photo grows with the number of photos.

A table of random fingerprints is filled to two sizes; at each, searches for near copies of some of them are timed in
turn with the same search without its index, which looks at every row. What counts is the growth of the search against
the growth of the table, and that every planted copy is found.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence

import psycopg

from bench.stack import own_stack
from media.evidence import bands

DATABASE = "twins"
NEAR = bands.FURTHEST
SEARCHES = 40


def fill(connection: psycopg.Connection[tuple[object, ...]], draw: random.Random, count: int) -> None:
    """Add so many random fingerprints; the index is built afterwards, which is quicker."""
    connection.execute("DROP INDEX ix_photo_print_keys")
    with connection.cursor().copy("COPY photo_print (photo_id, bits, detail, keys) FROM STDIN") as copy:
        for _ in range(count):
            bits = draw.randbytes(32)
            keys = "{" + ",".join(map(str, bands.keys(bits))) + "}"
            copy.write_row((_uuid(draw), bands.text(bits), 100, keys))
    connection.execute("CREATE INDEX ix_photo_print_keys ON photo_print USING gin (keys)")


def _uuid(draw: random.Random) -> str:
    text = f"{draw.getrandbits(128):032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def changed(bits: bytes, draw: random.Random) -> bytes:
    """The fingerprint of a copy at the largest distance."""
    value = int.from_bytes(bits)
    for place in draw.sample(range(256), NEAR):
        value ^= 1 << place
    return value.to_bytes(32)


def search(connection: psycopg.Connection[tuple[object, ...]], bits: bytes, *, indexed: bool) -> tuple[float, int]:
    """Seconds, and how many were found."""
    statement = INDEXED if indexed else EVERY_ROW
    values = {"bits": bands.text(bits), "probes": bands.probes(bits), "near": NEAR}
    started = time.perf_counter()
    found = connection.execute(statement, values).fetchall()
    return time.perf_counter() - started, len(found)


def measure(connection: psycopg.Connection[tuple[object, ...]], draw: random.Random) -> tuple[float, float, int]:
    """Medians with and without the index, and how many planted copies were missed."""
    connection.execute("VACUUM ANALYZE photo_print")
    rows = connection.execute("SELECT bits::text FROM photo_print ORDER BY photo_id LIMIT %s", [SEARCHES])
    known = [int(str(text), 2).to_bytes(32) for (text,) in rows.fetchall()]
    with_index, without, missed = [], [], 0
    for bits in known:
        wanted = changed(bits, draw)
        seconds, found = search(connection, wanted, indexed=True)
        with_index.append(seconds)
        missed += found == 0
        without.append(search(connection, wanted, indexed=False)[0])
    return statistics.median(with_index), statistics.median(without), missed


def run(sizes: Sequence[int]) -> int:
    """Fill, measure, print."""
    draw, filled, results = random.Random(1), 0, []
    with own_stack() as stack:
        stack.migrate(DATABASE)
        with stack.superuser(DATABASE) as connection:
            connection.execute("ALTER TABLE photo_print DROP CONSTRAINT fk_photo_print_photo_id_photo")
            for size in sizes:
                fill(connection, draw, size - filled)
                filled = size
                fast, slow, missed = measure(connection, draw)
                results.append((size, fast, slow, missed))
                print(f"{size} photos: {fast * 1000:.1f} ms with the index, {slow * 1000:.1f} ms without", flush=True)
    (small, first, *_), (large, last, slow, _) = results[0], results[-1]
    missed = sum(result[3] for result in results)
    print(
        f"RESULT photos={large} search_vs_every_row={slow / last:.1f} growth={last / first:.2f} "
        f"rows_growth={large / small:.0f} missed={missed}"
    )
    return int(missed > 0)


def main() -> int:
    """Run it; 1 where a planted copy was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,1000000")
    return run([int(size) for size in parser.parse_args().sizes.split(",")])


_WITHIN = "bit_count(bits # CAST(%(bits)s AS bit(256))) <= %(near)s"
INDEXED = f"SELECT photo_id FROM photo_print WHERE keys && CAST(%(probes)s AS integer[]) AND {_WITHIN}"
EVERY_ROW = f"SELECT photo_id FROM photo_print WHERE {_WITHIN} AND cardinality(CAST(%(probes)s AS integer[])) > 0"

if __name__ == "__main__":
    sys.exit(main())
