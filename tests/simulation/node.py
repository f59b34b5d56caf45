"""The handhelds of `handheld/`, each a Node process that speaks one JSON line for each command."""

import fcntl
import hashlib
import json
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "handheld"
OLDEST_NODE = 20
COMMAND_SECONDS = 90.0
INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def node() -> str:
    """The path of Node; skips the test where there is none, or none that is new enough."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        pytest.skip(f"Node {OLDEST_NODE} or newer with npm is needed for the RxDB clients")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"Node {OLDEST_NODE} or newer is needed for the RxDB clients, this is {version.strip()}")
    return found


def install() -> None:
    """What the lock file names, into `node_modules`, once for each state of the lock file. Safe from many processes."""
    locked = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    stamp = FOLDER / "node_modules" / ".stamp"
    with (FOLDER / "package-lock.json").open() as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == locked:
            return
        with tempfile.TemporaryDirectory() as cache:  # the user's own may belong to somebody else
            command = [*INSTALL, "--cache", cache]
            done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        stamp.write_text(locked)


class HandheldFailed(Exception):
    """A command that the handheld could not carry out, with what it said."""


class NodeProcess:
    """One Node process. With `main.mjs` it holds one handheld at a time, and can be used for the next when that is
    closed; with `uploads.mjs` it sends photos."""

    def __init__(self, program: str, script: str = "main.mjs") -> None:
        command = [program, "--no-warnings", str(FOLDER / script)]
        self._process = subprocess.Popen(
            command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._complaints: list[str] = []
        self._number = 0
        for stream, take in (
            (self._process.stdout, self._answers.put),
            (self._process.stderr, self._complaints.append),
        ):
            assert stream is not None
            threading.Thread(target=_pump, args=(stream, take), daemon=True).start()

    def begin(self, command: str, **given: Any) -> int:
        """Send a command without waiting for its answer; `finish` takes that."""
        self._number += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"number": self._number, "command": command, **given}) + "\n")
        self._process.stdin.flush()
        return self._number

    def finish(self, number: int, *, seconds: float = COMMAND_SECONDS) -> Any:
        """The answer of a command; answers come in the order of the commands."""
        try:
            answer = json.loads(self._answers.get(timeout=seconds))
        except queue.Empty:
            raise HandheldFailed(f"no answer; it said: {''.join(self._complaints)[-2000:]}") from None
        assert answer["number"] == number, "answers come in order"
        if "error" in answer:
            raise HandheldFailed(answer["error"])
        return answer["result"]

    def call(self, command: str, **given: Any) -> Any:
        """Send a command and wait for its answer."""
        return self.finish(self.begin(command, **given))

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


def _pump(stream: Any, take: Any) -> None:
    try:
        for line in stream:
            take(line)
    except ValueError:
        return  # closed by `stop`
