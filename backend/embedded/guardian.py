"""Cleans up behind a supervisor that died without doing so itself, e.g. by kill -9.

Run as a script of its own (standard library only, so that it is small), it reads lines from the supervisor:

    watch PID SIGNAL group|process     note a child
    forget PID                         its end was seen
    folder PATH                        a socket folder to remove

The end of the input means that the supervisor is gone: every child still noted gets its signal, a stubborn one
SIGKILL, and the folders are removed. The kernel's own request (`PR_SET_PDEATHSIG`) only reaches direct children;
the pool of a Celery worker is reached through its process group. The guardian also inherits the supervisor's lock,
so the next run waits until it has finished.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Ward:
    """A child to end: the signal it gets, and whether its whole process group gets it."""

    pid: int
    number: int
    group: bool

    def send(self, number: int) -> bool:
        """Send a signal; whether somebody was there to get it."""
        try:
            (os.killpg if self.group else os.kill)(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def lives(self) -> bool:
        """Whether it still does anything: the dead of a supervisor that is gone may wait long to be buried."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return sys.platform != "linux" and self.send(0)


class Guardian:
    """The supervisor's end: starts the script and tells it what there is to clean up."""

    def __init__(self, lock: int | None = None) -> None:
        self._script = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            pass_fds=() if lock is None else (lock,),
        )

    def watch(self, pid: int, number: signal.Signals, *, group: bool) -> None:
        """End this child if we die."""
        self._tell(f"watch {pid} {int(number)} {'group' if group else 'process'}")

    def forget(self, pid: int) -> None:
        """This child ended before us."""
        self._tell(f"forget {pid}")

    def folder(self, path: Path) -> None:
        """Remove this folder if we die. Its name has no line breaks: it is made by `places.socket_dir`."""
        self._tell(f"folder {path}")

    def dismiss(self) -> None:
        """All is cleaned up: end without doing anything."""
        self._script.kill()
        self._script.wait()

    def _tell(self, line: str) -> None:
        # A guardian that somebody killed is no reason to stop the stack.
        if self._script.stdin:
            with contextlib.suppress(OSError):
                self._script.stdin.write(line.encode() + b"\n")
                self._script.stdin.flush()


def end_all(wards: list[Ward]) -> None:
    """Signal every child, wait for all of them, kill who stays."""
    for ward in wards:
        ward.send(ward.number)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(ward.lives() for ward in wards) and time.monotonic() < deadline:
        time.sleep(0.05)
    for ward in wards:
        ward.send(signal.SIGKILL)


def remove(folder: Path) -> None:
    """Remove a socket folder and the sockets in it."""
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()


def main() -> None:
    """Take notes until the supervisor is gone, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wards: dict[int, Ward] = {}
    folders: list[Path] = []
    for line in sys.stdin:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "watch":
            pid, wanted, kind = rest.split()
            wards[int(pid)] = Ward(int(pid), int(wanted), kind == "group")
        elif verb == "forget":
            wards.pop(int(rest), None)
        else:
            folders.append(Path(rest))
    end_all(list(wards.values()))
    for folder in folders:
        remove(folder)


if __name__ == "__main__":
    main()
