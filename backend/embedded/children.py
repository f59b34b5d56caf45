"""Starting, stopping and describing child processes that must not outlive us."""

import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from backend.embedded.accounts import Account

MAX_LOG_BYTES = 8 * 1024 * 1024
POLL_SECONDS = 0.05

_PR_SET_PDEATHSIG = 1


class EmbeddedError(Exception):
    """A server or stack that cannot run, with a text a person can act on (Chinese first, English second)."""


def _death_pact(death_signal: signal.Signals) -> Callable[[], None] | None:
    """What a child does before it becomes its program: ask the kernel for a signal when its parent dies.

    The library is loaded before the fork, so the child only makes two system calls. The check after the request
    closes the gap in which the parent may already have died. Only Linux has the request.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent, number = os.getpid(), int(death_signal)

    def sign() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return sign


def open_log(path: Path) -> IO[bytes]:
    """Open a child's log for appending; a large one is set aside as `.old` first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(path.with_suffix(path.suffix + ".old"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(descriptor, "ab")


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log, for a message to a person; empty where there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 16 * 1024))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def spawn(
    arguments: Sequence[str | Path],
    *,
    log: Path | None,
    death_signal: signal.Signals,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path = Path("/"),
    keep: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that a Ctrl-C in the terminal reaches only us.

    `death_signal` is what the child gets when the thread that called this ends, however it ends: call it from the
    main thread. `keep` are descriptors the child inherits. Without `log` the child writes to our own output.
    """
    user, group = (account.uid, account.gid) if account else (None, None)
    output = open_log(log) if log else None
    try:
        return subprocess.Popen(
            [os.fspath(part) for part in arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            cwd=directory,
            env=None if environment is None else dict(environment),
            pass_fds=keep,
            start_new_session=True,
            # What our children write is for this account only: photographs, imports, logs.
            umask=0o077,
            user=user,
            group=group,
            extra_groups=[] if account else None,
            preexec_fn=_death_pact(death_signal),  # noqa: PLW1509 - two system calls, nothing that could wait on a lock
        )
    finally:
        if output:
            output.close()


def wait_for_exit(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether the process ended within the time."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def stop_process(process: subprocess.Popen[bytes], stop_signal: signal.Signals, *, grace: float) -> None:
    """Ask the process to end, wait, then kill it; what is left of its process group goes with it."""
    if process.poll() is None:
        process.send_signal(stop_signal)
        if not wait_for_exit(process, grace):
            process.kill()
            process.wait()
    kill_group(process.pid)


def kill_group(group: int) -> None:
    """Kill what is left of the process group a child led, e.g. the pool of a Celery worker that was killed."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # Nobody is left, or (on macOS) only zombies are.
        return


def describe_exit(code: int) -> str:
    """An exit code for people: `signal SIGKILL` or `exit code 3`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def lock_file(path: Path, *, seconds: float) -> int | None:
    """Lock a file against other processes and return its descriptor, or `None` when it stays taken.

    The lock belongs to the open file: every process that inherits the descriptor holds it, and the last one to end
    gives it up, however it ends.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES) or time.monotonic() >= deadline:
                os.close(descriptor)
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                return None
        time.sleep(POLL_SECONDS)
