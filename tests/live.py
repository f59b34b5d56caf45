"""The product as it runs: API, Celery worker and beat as processes of their own, over the test run's servers.

The API listens on a port that the operating system chose; its socket is opened here and handed over, so no port is
guessed. Every process leads a group of its own, so that `kill` takes a whole worker and nothing else.
"""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from backend.core.settings import PROJECT_ROOT
from backend.dev import SERVER_OPTIONS
from tests.world import until

STOP_SECONDS = 20.0


@dataclass
class Live:
    """A running stack. Logs of each process go to `folder`. `application` and `worker` are modules of the product, or
    stand before them to look closer."""

    folder: Path
    environment: dict[str, str]
    application: str = "backend.main:app"
    worker: str = "backend.worker"
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    listener: socket.socket | None = None

    @property
    def url(self) -> str:
        """The address of the API."""
        assert self.listener is not None
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def start_api(self) -> None:
        """Start the API and wait until it is ready; after a kill it takes the same port again."""
        if self.listener is None:
            self.listener = socket.create_server(("127.0.0.1", 0))
        descriptor = self.listener.fileno()
        command = ["uvicorn", self.application, "--fd", str(descriptor), *SERVER_OPTIONS, "--log-level", "warning"]
        self._start("api", command, descriptors=(descriptor,))
        until(self._answers, seconds=60, what=f"API ready; see {self.folder / 'api.log'}")

    def start_worker(self) -> None:
        """Start a Celery worker with two pool children."""
        command = ["celery", "-A", self.worker, "worker", "--concurrency", "2", "-l", "WARNING"]
        self._start("worker", [*command, "--without-gossip", "--without-mingle"])

    def start_beat(self) -> None:
        """Start beat, which sends the sweeper."""
        self._start("beat", ["celery", "-A", self.worker, "beat", "-s", str(self.folder / "beat"), "-l", "WARNING"])

    def kill(self, name: str) -> None:
        """End a process and all its children at once, as `kill -9` and the out-of-memory killer do."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End everything, whatever state it is in."""
        for name in list(self.processes):
            self.kill(name)
        if self.listener is not None:
            self.listener.close()

    def _answers(self) -> bool:
        assert self.processes["api"].poll() is None, (self.folder / "api.log").read_text()[-2000:]
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        return False

    def _start(self, name: str, command: list[str], *, descriptors: tuple[int, ...] = ()) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=PROJECT_ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
                start_new_session=True,
            )
