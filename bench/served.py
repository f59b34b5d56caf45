"""The real API as a process over a stack of its own, seeded with the demo's accounts, for tools that call it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from backend.core.settings import PROJECT_ROOT
from backend.dev import SERVER_OPTIONS
from bench.stack import own_stack, run_module

READY_SECONDS = 90.0
DATABASE = "served"


@dataclass(frozen=True, slots=True)
class Served:
    """A running API: where it answers, its log, and the settings it runs with."""

    url: str
    log: Path
    environment: dict[str, str]


@contextmanager
def served(**settings: str) -> Iterator[Served]:
    """Start it with settings beyond the usual ones. Everything is gone afterwards, also where we are asked to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with own_stack() as stack:
        stack.migrate(DATABASE)
        environment = stack.environment(DATABASE, **settings)
        run_module("bench.seed", environment=environment)
        listener = socket.create_server(("127.0.0.1", 0))
        running = Served(f"http://127.0.0.1:{listener.getsockname()[1]}", stack.folder / "api.log", environment)
        process = _start(running, listener)
        try:
            _wait(running, process)
            yield running
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            listener.close()


def _start(running: Served, listener: socket.socket) -> subprocess.Popen[bytes]:
    listen = ("--fd", str(listener.fileno()), *SERVER_OPTIONS, "--forwarded-allow-ips", "")
    with running.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "backend.main:app", *listen],
            cwd=PROJECT_ROOT,
            env=running.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(listener.fileno(),),
            start_new_session=True,
        )


def _wait(running: Served, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{running.url}/health/ready", timeout=5).status_code == httpx.codes.OK:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the API did not get ready:\n{running.log.read_text()[-3000:]}")
