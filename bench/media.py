"""`make bench-media`: clean copies of photos next to naive Pillow, pyvips and sharp, all in one run on one machine.

Each side is a program of its own that makes the same four copies of the same 12-megapixel photos with one thread:
1600 and 400 pixels, JPEG and WebP, at the same qualities. What counts is processor time, less that of a run without
photos. Sides take turns within each round, and ratios are medians over rounds. Peers decode at a reduced scale and
once, as their documentation has it; the product's time includes its decoding child, fingerprint and placeholder.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from backend.core.settings import PROJECT_ROOT
from bench import media_peers
from bench.media_pictures import ssim
from media.containers import inspect
from media.images import LARGE_PX, THUMB_PX, WEBP_METHOD
from media.raster import load

COPIES = ("large.jpeg", "large.webp", "thumb.jpeg", "thumb.webp")
TARGETS = {"photos_vs_naive": 2.5, "photos_vs_pyvips": 1.2, "photos_vs_sharp": 1.2, "ssim": 0.98, "peak_mb": 150.0}
"""What is to be reached: at least that much, for the last at most."""
MEGABYTE = 1024


@dataclass
class Side:
    """A program that makes the copies, and what it took: processor seconds a photo, a number a round."""

    name: str
    command: list[str]
    seconds: list[float] = field(default_factory=list)
    peak_kb: int = 0

    def run(self, photos: Path, out: Path, repeats: int) -> float:
        """Processor seconds of the program and all its children, for all photos so many times."""
        command = [*self.command, str(photos), str(out), str(repeats), str(WEBP_METHOD)]
        environment = {"PATH": os.environ["PATH"], "VIPS_CONCURRENCY": "1", "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{self.name} ended with {process.returncode}")
        self.peak_kb = max(self.peak_kb, usage.ru_maxrss)
        return usage.ru_utime + usage.ru_stime

    def measure(self, photos: Path, out: Path, repeats: int) -> None:
        """One round."""
        idle = self.run(photos, out, 0)
        count = len(list(photos.iterdir())) * repeats
        self.seconds.append((self.run(photos, out, repeats) - idle) / count)


def sides() -> dict[str, Side]:
    """All sides of JPEGs."""
    python = sys.executable
    found = [
        Side("ours", [python, "-m", "bench.media_ours"]),
        Side("naive", [python, "-m", "bench.media_naive"]),
        Side("pyvips", [str(media_peers.VIPS / "bin" / "python"), str(media_peers.PEERS / "vips.py")]),
        Side("sharp", ["node", str(media_peers.PEERS / "sharp.mjs")]),
    ]
    return {side.name: side for side in found}


def check_copies(side: Side, photos: Path, out: Path) -> float:
    """That a side made all copies in the sizes asked for; gives the likeness of its worst large JPEG."""
    worst = 1.0
    for path in sorted(photos.iterdir()):
        for name in COPIES:
            with Image.open(out / f"{path.stem}-{name}") as copy:
                copy.load()
                if max(copy.size) != (LARGE_PX if name.startswith("large") else THUMB_PX):
                    raise RuntimeError(f"{side.name}: {name} is {copy.size}")
        with Image.open(out / f"{path.stem}-large.jpeg") as copy:
            worst = min(worst, ssim(copy, reference(path)))
    return worst


def reference(path: Path) -> Image.Image:
    """A photo decoded whole and scaled by Pillow's Lanczos."""
    with Image.open(path) as whole:
        scale = LARGE_PX / max(whole.size)
        size = (round(whole.width * scale), round(whole.height * scale))
        return whole.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def likeness(photos: Path) -> float:
    """Of our pixels before they are encoded, the worst over all photos: what decoding small costs."""
    worst = 1.0
    for path in photos.iterdir():
        content = path.read_bytes()
        ours = load(content, inspect(content), longest=LARGE_PX, max_pixels=50_000_000).image
        worst = min(worst, ssim(ours, reference(path)))
    return worst


def make_photos(folder: Path, count: int) -> tuple[Path, Path]:
    """Folders of JPEGs and of HEICs.

    Made by a program of its own: what this process has in memory would count as the peak of those it starts.
    """
    subprocess.run([sys.executable, "-m", "bench.media_pictures", str(folder), str(count), "1"], check=True)
    jpegs = folder / "jpeg"
    size = statistics.fmean(path.stat().st_size for path in jpegs.iterdir()) / 1e6
    print(f"{count} photos of 12 megapixels, {size:.1f} MB each", flush=True)
    return jpegs, folder / "heic"


def compare(found: dict[str, Side], photos: Path, folder: Path, rounds: int, repeats: int) -> dict[str, float]:
    """Rounds in turn; gives medians of the ratios to our side."""
    for side in found.values():
        (folder / side.name).mkdir(exist_ok=True)
    for number in range(rounds):
        for side in found.values():
            side.measure(photos, folder / side.name, repeats)
        line = "  ".join(f"{side.name} {side.seconds[-1] * 1000:.0f} ms" for side in found.values())
        print(f"round {number + 1}: {line}", flush=True)
    ours = found["ours"].seconds
    return {
        name: statistics.median(theirs / own for theirs, own in zip(side.seconds, ours, strict=True))
        for name, side in found.items()
        if name != "ours"
    }


def main() -> int:
    """Run it; 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    try:
        media_peers.install()
    except media_peers.Missing as missing:
        print(f"✗ {missing}")
        return 1
    with tempfile.TemporaryDirectory(prefix="zhiwang-bench-") as place:
        return _run(Path(place), options)


def _run(folder: Path, options: argparse.Namespace) -> int:
    jpegs, heics = make_photos(folder, options.photos)
    found = sides()
    ratios = compare(found, jpegs, folder, options.rounds, options.repeats)
    both = {name: side for name, side in sides().items() if name in ("ours", "naive")}
    heic = compare(both, heics, folder, options.rounds, 1)
    quality = {side.name: check_copies(side, jpegs, folder / side.name) for side in found.values()}
    print("large JPEGs against a full-size Lanczos:", "  ".join(f"{k} {v:.4f}" for k, v in quality.items()))
    print("peak of the largest process:", "  ".join(f"{k} {v.peak_kb // MEGABYTE} MB" for k, v in found.items()))
    figures = {
        "photos_vs_naive": ratios["naive"],
        "photos_vs_pyvips": ratios["pyvips"],
        "photos_vs_sharp": ratios["sharp"],
        "heic_vs_naive": heic["naive"],
        "ssim": likeness(jpegs),
        "ssim_jpeg": quality["ours"],
        "peak_mb": found["ours"].peak_kb / MEGABYTE,
        "peak_mb_heic": both["ours"].peak_kb / MEGABYTE,
    }
    print(
        "RESULT", " ".join(f"{name}={value:.{3 if name.startswith('ssim') else 2}f}" for name, value in figures.items())
    )
    return int(any(not reached(name, figures[name]) for name in TARGETS))


def reached(name: str, value: float) -> bool:
    """Whether a figure is good enough."""
    return value <= TARGETS[name] if name == "peak_mb" else value >= TARGETS[name]


if __name__ == "__main__":
    sys.exit(main())
