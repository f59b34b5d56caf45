"""No file of the project names a path of the machine it was written on, or a package registry or its mirror.

Standard library only; `make check` runs it as a script.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SKIPPED_FOLDERS = {".git", ".venv", ".zhiwang", "node_modules", "dist", "__pycache__", "peers"}
MAX_BYTES = 5_000_000

# Written in pieces, so that this file does not name what it looks for.
REGISTRIES = (
    "pypi" + r"\.(org|python)",
    "python" + "hosted",
    "registry" + r"\.(npmjs|yarnpkg|npmmirror)",
    "npm" + r"mirror\.com",
    r"mirrors?\." + r"[a-z0-9-]+\.(com|cn|edu|org|net)",
    "--(extra-)?ind" + "ex-url|--find" + "-links",
    "arti" + r"factory\.|/dev" + "pi/",
)
MACHINE_FOLDERS = (r"(?<![\w.$}-])/" + r"(root|home|Users)/[\w.-]+", r"(?<![\w.$}-])/" + r"work/(main|shared)\b")


def patterns(root: Path = ROOT) -> re.Pattern[str]:
    """What must not occur, with the folder of this very checkout added where it is no everyday name."""
    here = [re.escape(str(root)) + r"\b"] if len(root.parts) > 3 else []
    return re.compile("|".join((*REGISTRIES, *MACHINE_FOLDERS, *here)), re.IGNORECASE)


def project_files(root: Path = ROOT) -> Iterator[Path]:
    """The files Git knows or would add; without Git, all but what is made by tools."""
    try:
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            check=True,
        ).stdout.decode()
        yield from (root / name for name in listed.split("\0") if name)
    except (OSError, subprocess.CalledProcessError):
        for path in root.rglob("*"):
            if not SKIPPED_FOLDERS.intersection(path.relative_to(root).parts):
                yield path


def findings(root: Path = ROOT) -> Iterator[str]:
    """Each place as `file:line: text`."""
    forbidden = patterns(root)
    for path in project_files(root):
        if not path.is_file() or path.is_symlink() or path.stat().st_size > MAX_BYTES:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for match in forbidden.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path.relative_to(root)}:{line}: {match[0]}"


def main() -> int:
    """Print what was found; 1 if anything was."""
    found = list(findings())
    print("\n".join(found) or "nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
