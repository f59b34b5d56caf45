"""Everything that must hold, as `make test` runs it: each part to its end, then one summary.

The last line is pytest's own closing line, for machines that look for it. Standard library only, and no part of
the product: it must be able to say what is broken when the product cannot even be imported.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PYTEST_CLOSING = re.compile(r"^=* ?(\d+ [a-z]+|no tests ran).* in [\d.]+s")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")

CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ruff check", (str(BIN / "ruff"), "check", ".")),
    ("ruff format", (str(BIN / "ruff"), "format", "--check", ".")),
    ("mypy", (sys.executable, "-m", "mypy")),
    ("import contracts", (str(BIN / "lint-imports"),)),
    ("forbidden text", (sys.executable, "tests/forbidden_text.py")),
)
# Two processes, each with servers of its own: half the waiting on the two cores this is meant for.
TESTS = ("pytest", (sys.executable, "-m", "pytest", "-n", "2"))


@dataclass(frozen=True, slots=True)
class Result:
    """How one part went, and the end of what it said."""

    name: str
    passed: bool
    seconds: float
    end: str

    def __str__(self) -> str:
        return f"  {'ok    ' if self.passed else 'FAILED'}  {self.name:<18} {self.seconds:7.1f} s"


def run_part(name: str, command: Sequence[str]) -> Result:
    """Run a part to its end and show what it says while it says it."""
    print(f"\n── {name}", flush=True)
    began, end = time.monotonic(), b""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if sys.stdout.isatty():
        environment["FORCE_COLOR"] = "1"
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout
        while raw := os.read(process.stdout.fileno(), 65536):
            os.write(sys.stdout.fileno(), raw)
            end = (end + raw)[-4096:]
    return Result(name, process.returncode == 0, time.monotonic() - began, end.decode(errors="replace"))


def closing_line(end: str) -> str:
    """Pytest's closing line, e.g. `12 passed in 3.45s`, without colours; empty where there is none."""
    lines = [COLOURS.sub("", line).strip() for line in end.splitlines()]
    return next((line for line in reversed(lines) if PYTEST_CLOSING.match(line)), "")


def main(arguments: Sequence[str]) -> int:
    """Run the parts, the slow one last; the exit code is 0 when all of them passed."""
    with_tests = "--without-tests" not in arguments
    results = [run_part(*part) for part in (*CHECKS, *((TESTS,) if with_tests else ()))]
    failed = [result.name for result in results if not result.passed]
    print("\n── 汇总 · summary")
    print("\n".join(map(str, results)))
    print(f"  {'未通过 · failed: ' + ', '.join(failed) if failed else '全部通过 · everything passed'}")
    closing = closing_line(results[-1].end)
    if closing:
        print(closing)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
