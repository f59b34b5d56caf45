"""The peers of `bench.media`, from their own packages under `bench/peers`: sharp and pyvips."""

import shutil
import subprocess
import venv
from collections.abc import Sequence

from backend.core.settings import PROJECT_ROOT

PEERS = PROJECT_ROOT / "bench" / "peers"
VIPS = PEERS / ".vips"
SHARP = PEERS / "sharp"


class Missing(Exception):
    """A peer cannot be installed here. The text says what is missing."""


def install() -> None:
    """Put the pinned packages of both into folders that Git ignores. `Missing` without node and npm."""
    if not any(VIPS.glob("lib/python*/site-packages/pyvips")):
        shutil.rmtree(VIPS, ignore_errors=True)
        print("… installing pyvips", flush=True)
        venv.create(VIPS, with_pip=True)
        pip = [str(VIPS / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _run([*pip, "-r", str(PEERS / "vips.txt")])
    if not (SHARP / "node_modules" / "sharp").exists():
        if shutil.which("npm") is None or shutil.which("node") is None:
            raise Missing("node and npm")
        print("… installing sharp", flush=True)
        _run(["npm", "ci", "--no-audit", "--no-fund", "--prefix", str(SHARP)])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Missing(f"{command[0]}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
