"""How long files take a decoding child, and how much memory; a program of its own, as a parent's memory would count.

Arguments: folder, turns. Prints JSON: for each file the least of its times in seconds, verdicts included, and the peak
of the child in kilobytes.
"""

import json
import math
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

from media.rules import Unusable
from media.sandbox import Decoder

MAX_PIXELS = 50_000_000


def main() -> None:
    """Measure."""
    folder, turns = Path(sys.argv[1]), int(sys.argv[2])
    decoder = Decoder(max_pixels=MAX_PIXELS)
    seconds = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content, least = path.read_bytes(), math.inf
        for _ in range(turns):
            started = time.perf_counter()
            with suppress(Unusable):
                decoder.decode(content)
            least = min(least, time.perf_counter() - started)
        seconds.append(least)
    decoder.close()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak_kb": peak}))


if __name__ == "__main__":
    main()
