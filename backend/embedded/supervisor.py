"""Keeps a set of children running: restarts the one that ended, gives up on the one that keeps ending."""

import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from backend.embedded.children import EmbeddedError, describe_exit, kill_group, last_lines, spawn, stop_process
from backend.embedded.guardian import Guardian

MAX_FAILURES = 5
FAILURE_WINDOW_SECONDS = 60.0
TICK_SECONDS = 0.1


class Service(Protocol):
    """Something with one process: a server of `backend.embedded` or a program of ours."""

    @property
    def name(self) -> str: ...
    @property
    def log(self) -> Path: ...
    @property
    def process(self) -> subprocess.Popen[bytes] | None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def poll(self) -> int | None: ...


@dataclass
class Program:
    """One of our own programs as a child; kill -9 of it at any moment loses nothing, so that is its death signal."""

    name: str
    arguments: Sequence[str | Path]
    log: Path
    directory: Path
    environment: Mapping[str, str] | None = None
    grace: float = 10.0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it is not waited for."""
        self.process = spawn(
            self.arguments,
            log=self.log,
            death_signal=signal.SIGKILL,
            environment=self.environment,
            directory=self.directory,
        )

    def stop(self) -> None:
        """Ask it to end, then kill it and whatever it started."""
        if self.process:
            stop_process(self.process, signal.SIGTERM, grace=self.grace)

    def poll(self) -> int | None:
        """The exit code once it ended; whatever it started is then killed, as nobody else would."""
        code = self.process.poll() if self.process else None
        if code is not None and self.process:
            kill_group(self.process.pid)
        return code


class GaveUp(Exception):
    """A child failed too often within the window. Carries what a person needs to see."""

    def __init__(self, service: Service, reason: str) -> None:
        super().__init__(f"{service.name}: {reason}")
        self.service = service
        self.reason = reason
        self.log_end = last_lines(service.log)


class Stopped(Exception):
    """Somebody asked the stack to stop."""


@dataclass
class _Kept:
    """A service under watch, and when it failed lately."""

    service: Service
    death_signal: signal.Signals
    group: bool
    failures: deque[float] = field(default_factory=deque)
    restart_at: float | None = None


Report = Callable[[Service, str, int], None]
"""Called for each failure with the service, why it ended, and how many failures there were within the window."""


class Supervisor:
    """Watches services from the main thread, without threads of its own.

    A signal handler calls `ask_to_stop`; every wait of the supervisor then ends with `Stopped`.
    """

    def __init__(
        self,
        *,
        report: Report,
        guardian: Guardian | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stopping = False
        self._report = report
        self._guardian = guardian
        self._clock = clock
        self._kept: list[_Kept] = []

    def add(self, service: Service, *, death_signal: signal.Signals = signal.SIGKILL, group: bool = True) -> None:
        """Start a service and keep it running. What its first start raises is the caller's to handle."""
        kept = _Kept(service, death_signal, group)
        self._start(kept)
        self._kept.append(kept)

    def tick(self) -> None:
        """Look at every service once; restart what ended. `GaveUp` where one ended too often."""
        for kept in self._kept:
            if kept.restart_at is None:
                code = kept.service.poll()
                if code is not None:
                    self._forget(kept.service)
                    self._failed(kept, describe_exit(code))
            if kept.restart_at is not None and self._clock() >= kept.restart_at:
                self._restart(kept)

    def wait(self, done: Callable[[], bool], *, seconds: float | None = None) -> bool:
        """Keep everything running until `done()`; `False` when the time is over first. `Stopped` on request."""
        deadline = None if seconds is None else self._clock() + seconds
        while not done():
            if self.stopping:
                raise Stopped
            self.tick()
            time.sleep(TICK_SECONDS)
            if deadline is not None and self._clock() >= deadline:
                return False
        return True

    def ask_to_stop(self) -> None:
        """Safe in a signal handler: only a flag, as a lock could be held by the very code it interrupts."""
        self.stopping = True

    def hurry(self) -> None:
        """Kill every service now, while `stop` waits for one; safe in a signal handler too."""
        for kept in self._kept:
            if kept.service.process:
                kept.service.process.kill()

    def stop(self) -> None:
        """Stop every service, the last one started first."""
        for kept in reversed(self._kept):
            kept.service.stop()
            self._forget(kept.service)
        self._kept.clear()

    def _start(self, kept: _Kept) -> None:
        kept.service.start()
        if self._guardian and kept.service.process:
            self._guardian.watch(kept.service.process.pid, kept.death_signal, group=kept.group)

    def _restart(self, kept: _Kept) -> None:
        kept.restart_at = None
        try:
            self._start(kept)
        except (EmbeddedError, OSError) as error:
            self._failed(kept, str(error))

    def _failed(self, kept: _Kept, reason: str) -> None:
        """Note a failure: the first is answered at once, later ones after a second."""
        now = self._clock()
        kept.failures.append(now)
        while kept.failures[0] <= now - FAILURE_WINDOW_SECONDS:
            kept.failures.popleft()
        self._report(kept.service, reason, len(kept.failures))
        if len(kept.failures) >= MAX_FAILURES:
            raise GaveUp(kept.service, reason)
        kept.restart_at = now if len(kept.failures) == 1 else now + 1.0

    def _forget(self, service: Service) -> None:
        if self._guardian and service.process:
            self._guardian.forget(service.process.pid)


def python(*arguments: str) -> list[str]:
    """The command of a module run by the Python we run on."""
    return [sys.executable, "-m", *arguments]
