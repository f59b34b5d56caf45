"""Clean copies of photos by pyvips, as its documentation has it done well: shrunk on load, decoded once, one thread.

Arguments: folder of photos, folder for the copies, repetitions, WebP method.
"""

import sys
from pathlib import Path

import pyvips


def copies(content: bytes, effort: int) -> dict[str, bytes]:
    large = pyvips.Image.thumbnail_buffer(content, 1600, height=1600, size="down").copy_memory()
    thumb = large.thumbnail_image(400, height=400, size="down").copy_memory()
    return {
        "large.jpeg": large.jpegsave_buffer(Q=90, keep="none", subsample_mode="on"),
        "large.webp": large.webpsave_buffer(Q=82, effort=effort, keep="none"),
        "thumb.jpeg": thumb.jpegsave_buffer(Q=82, keep="none", subsample_mode="on"),
        "thumb.webp": thumb.webpsave_buffer(Q=82, effort=effort, keep="none"),
    }


def main() -> None:
    photos, out, repeats, effort = sys.argv[1:5]
    pyvips.cache_set_max(0)
    for _ in range(int(repeats)):
        for path in sorted(Path(photos).iterdir()):
            for name, content in copies(path.read_bytes(), int(effort)).items():
                (Path(out) / f"{path.stem}-{name}").write_bytes(content)


main()
