"""Clean copies of photos by the product: through the decoding child, as a worker has them made.

Arguments: folder of photos, folder for the copies, repetitions, WebP method (the product's own, whatever is said).
"""

import sys
from contextlib import suppress
from pathlib import Path

from media.rules import Unusable
from media.sandbox import Decoder

MAX_PIXELS = 50_000_000


def main() -> None:
    """Make them all."""
    photos, out, repeats = sys.argv[1:4]
    decoder = Decoder(max_pixels=MAX_PIXELS)
    with suppress(Unusable):
        decoder.decode(b"")  # its start belongs to the run without photos too
    for _ in range(int(repeats)):
        for path in sorted(Path(photos).iterdir()):
            for copy in decoder.decode(path.read_bytes()).copies:
                name = f"{copy.variant.split('.')[0]}.{copy.mime.removeprefix('image/')}"
                (Path(out) / f"{path.stem}-{name}").write_bytes(copy.content)
    decoder.close()


if __name__ == "__main__":
    main()
