"""The whole stack with one command: `make run`, or `python -m backend.dev`.

Starts embedded PostgreSQL and Valkey unless `DATABASE_URL` and `BROKER_URL` name others, migrates, seeds, runs the
API, the worker and beat, restarts what dies, and on the first run plays the demo day. Every program reads its
settings from the environment this module gives it.

    python -m backend.dev              run the stack
    python -m backend.dev cli ARG...   run `backend.cli` with the settings of the running stack
    python -m backend.dev restore FOLDER [--at TIME] [--replace]   bring the database back while nothing runs
"""

import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from backend.core.settings import PROJECT_ROOT, Settings, get_settings
from backend.embedded.address import Address
from backend.embedded.archive import Target
from backend.embedded.children import EmbeddedError, last_lines, spawn, stop_process
from backend.embedded.guardian import Guardian
from backend.embedded.postgres import EmbeddedPostgres
from backend.embedded.state import AlreadyRunning, StateDir
from backend.embedded.supervisor import GaveUp, Program, Service, Stopped, Supervisor, python
from backend.embedded.terminal import Step, Terminal
from backend.embedded.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from backend.commands.restore_order import RestoreOrder

READY_SECONDS = 120.0
HURRY_SECONDS = 1.0
SERVER_OPTIONS = (
    *("--http", "backend.api.server:BoundedProtocol"),
    *("--h11-max-incomplete-event-size", "131072"),
    *("--timeout-keep-alive", "5"),
    *("--no-access-log", "--no-server-header"),
)
"""Heads of requests may have 128 KiB, because the checkpoint of a pull goes into the address."""

Watch = tuple[Guardian, Supervisor]


class Failed(Exception):
    """The stack cannot start. The text is for a person, Chinese first."""


class Stack:
    """One run of the stack, from the first server to the last."""

    def __init__(self, settings: Settings, state: StateDir, terminal: Terminal, supervisor: Supervisor) -> None:
        self.settings = settings
        self.state = state
        self.terminal = terminal
        self.supervisor = supervisor
        self.address = Address(settings.host, settings.port)
        self.given = self._fixed_settings()
        self.for_commands: dict[str, str] = {}
        """What only the command line needs: PostgreSQL's programs and the login that may do everything."""

    @property
    def environment(self) -> dict[str, str]:
        """What our programs run with."""
        return {**os.environ, **self.given}

    def _fixed_settings(self) -> dict[str, str]:
        """What every child shall see, wherever we had it from."""
        generated = {} if self.settings.environment == "production" else self.state.secrets()
        missing = {name: value for name, value in generated.items() if not self._is_set(name)}
        return (
            missing
            | self._demo_settings()
            | {
                "STATE_DIR": str(self.state.path),
                "MEDIA_URL": self.settings.media_url or (self.state.path / "media").as_uri(),
                "HOST": self.settings.host,
                "PORT": str(self.settings.port),
                "PYTHONUNBUFFERED": "1",
            }
        )

    def _demo_settings(self) -> dict[str, str]:
        """Where the demo day listens as WeChat's API, unless the settings name a real official account."""
        if not self.settings.demo_accounts() or self._is_set("WECHAT_APP_SECRET"):
            return {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        return {"WECHAT_API_URL": f"http://127.0.0.1:{port}", "WECHAT_APP_SECRET": secrets.token_hex(16)}

    def _is_set(self, name: str) -> bool:
        value = getattr(self.settings, name.lower())
        return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)

    def start(self, guardian: Guardian) -> None:
        """Bring everything up, in the order in which one needs the other, and say when it is ready."""
        self._start_broker(guardian)
        self._start_database(guardian)
        self.state.keep_environment(self.given | self.for_commands)
        with self.terminal.step("更新数据库结构", "migrating the database"):
            self._must_succeed("migrate", python("alembic", "upgrade", "head"), quiet=True)
        self.terminal.line("写入基础数据", "seeding (a first run takes longer)")
        self._must_succeed("seed", python("backend.cli", "seed"))
        for program in self._programs():
            self.supervisor.add(program)
        with self.terminal.step("等待服务就绪", "waiting until the API answers") as step:
            self._wait_until_ready(step)

    def _wait_until_ready(self, step: Step) -> None:
        def ready() -> bool:
            step.tick()
            return self.address.is_ready()

        if not self.supervisor.wait(ready, seconds=READY_SECONDS):
            log = self.state.logs / "api.log"
            raise Failed(f"服务未能就绪 · the API did not get ready, see {log}\n{last_lines(log)}")

    def _start_broker(self, guardian: Guardian) -> None:
        if self.settings.broker_url:
            return
        valkey = EmbeddedValkey(self.state.path / "valkey", log=self.state.logs / "valkey.log")
        guardian.folder(valkey.socket_dir)
        with self.terminal.step("启动 Valkey", "starting Valkey"):
            self.supervisor.add(valkey, death_signal=signal.SIGTERM, group=False)
        self.given["BROKER_URL"] = valkey.celery_url()

    def _start_database(self, guardian: Guardian) -> None:
        if self.settings.database_url:
            return
        postgres = self.postgres("postgres")
        guardian.folder(postgres.socket_dir)
        with self.terminal.step("启动 PostgreSQL", "starting PostgreSQL"):
            self.supervisor.add(postgres, death_signal=signal.SIGINT, group=False)
            postgres.prepare()
        self.use(postgres)

    def postgres(self, name: str) -> EmbeddedPostgres:
        """The server over a folder of that name in the state folder."""
        archive = Path(self.settings.wal_archive).absolute() if self.settings.wal_archive else None
        log = self.state.logs / "postgres.log"
        return EmbeddedPostgres(self.state.path / name, bindir=self.settings.pg_bindir, log=log, wal_archive=archive)

    def use(self, postgres: EmbeddedPostgres) -> None:
        """Have our programs use a server."""
        self.given |= {
            "DATABASE_URL": postgres.url(user="zw_api"),
            "WORKER_DATABASE_URL": postgres.url(user="zw_worker"),
            "MIGRATION_DATABASE_URL": postgres.url(user="zw_owner"),
        }
        self.for_commands = {
            "ADMIN_DATABASE_URL": postgres.url(user="postgres", database="postgres"),
            "PG_BINDIR": str(postgres.binaries),
        }

    def restore(self, guardian: Guardian, asked: "RestoreOrder") -> None:
        """Bring the database back while nothing else runs. `Failed` says why not; then all is as it was."""
        if asked.copy:
            self._restore_cluster(guardian, asked, asked.copy)
            return
        self._start_database(guardian)
        self._command("restore", str(asked.folder), *(["--replace"] if asked.replace else []))

    def _restore_cluster(self, guardian: Guardian, asked: "RestoreOrder", copy: Path) -> None:
        """Recover beside the cluster that is there, do there what every restore has to do, and then swap the two."""
        present, beside = self.postgres("postgres"), self.postgres("postgres-restoring")
        if present.link.exists() and not asked.replace:
            raise Failed(
                "已有数据库，未作任何改动：加 REPLACE=1 则恢复到旁边再切换，原集群改名保留 · there is a database, "
                "nothing was touched: with REPLACE=1 the copy is recovered beside it, then the two are swapped"
            )
        self.for_commands = {"PG_BINDIR": str(present.binaries)}
        self._command("verify", "--for-restore", str(asked.folder))
        guardian.folder(beside.socket_dir)
        archive = Path(self.settings.wal_archive).absolute() if self.settings.wal_archive else None
        try:
            with self.terminal.step("恢复数据库集群", "recovering the cluster beside the present one"):
                beside.recover(copy, Target(archive, asked.at))
            if beside.process:
                guardian.watch(beside.process.pid, signal.SIGINT, group=False)
            self.use(beside)
            self._command("after-restore", "--folder", str(asked.folder))
            beside.stop()
        except BaseException:
            beside.destroy()
            raise
        kept = present.replace_cluster(beside, kept=time.strftime("%Y%m%d%H%M%S", time.gmtime()))
        if kept.exists():
            self.terminal.pair("原集群保留在 · the cluster that was there is kept in", str(kept))
        self.terminal.line("请尽快重新执行 backup base", "take a new `backup base` soon: the log began a new timeline")

    def _command(self, *arguments: str) -> None:
        self.given |= self.for_commands
        if self.run_command(arguments[0], python("backend.cli", "backup", *arguments)) != 0:
            raise Failed(f"未能恢复 · not restored: backup {arguments[0]}")

    def _programs(self) -> list[Program]:
        celery = ("celery", "-A", "backend.worker")
        schedule = str(self.state.path / "beat-schedule")
        listen = ("--host", self.settings.host, "--port", str(self.settings.port))
        concurrency = str(self.settings.worker_concurrency)
        return [
            self._program("worker", *celery, "worker", "--concurrency", concurrency, "-l", "WARNING", grace=20),
            self._program("api", "uvicorn", "backend.main:app", *listen, *self._server_options()),
            self._program("beat", *celery, "beat", "-s", schedule, "--pidfile", "", "-l", "WARNING", grace=5),
        ]

    def _server_options(self) -> tuple[str, ...]:
        """The same as in `docker/entrypoint`. A caller's address is the socket's unless a proxy is named."""
        proxies = os.environ.get("FORWARDED_ALLOW_IPS", "")
        graceful = ("--timeout-graceful-shutdown", "5")
        return (*SERVER_OPTIONS, "--forwarded-allow-ips", proxies, *graceful)

    def _program(self, name: str, *module: str, grace: float = 10) -> Program:
        log = self.state.logs / f"{name}.log"
        return Program(name, python(*module), log, PROJECT_ROOT, self.environment, grace)

    def run_command(self, name: str, arguments: Sequence[str], *, quiet: bool = False) -> int:
        """Run a command to its end while the stack is kept running; its exit code."""
        log = self.state.logs / f"{name}.log" if quiet else None
        process = spawn(
            arguments, log=log, death_signal=signal.SIGKILL, environment=self.environment, directory=PROJECT_ROOT
        )
        try:
            self.supervisor.wait(lambda: process.poll() is not None)
        finally:
            stop_process(process, signal.SIGTERM, grace=5)
        return process.returncode

    def _must_succeed(self, name: str, arguments: Sequence[str], *, quiet: bool = False) -> None:
        code = self.run_command(name, arguments, quiet=quiet)
        if code != 0:
            end = last_lines(self.state.logs / f"{name}.log") if quiet else ""
            raise Failed(f"步骤失败（{name}，退出码 {code}）· this step failed ({name}, exit code {code})\n{end}")

    def _url(self) -> str:
        return self.settings.public_url or self.address.url()

    def announce(self) -> None:
        """Say that it is ready, who can log in, and what to look at first."""
        url = self._url()
        self.terminal.rule("织网已就绪 · Zhiwang is ready")
        self.terminal.pair("地址 · address", url)
        self.run_command("demo-logins", python("backend.cli", "demo-logins"))
        self.terminal.pair("先看这里 · look here first", f"{url}/  {url}/docs")
        self.terminal.pair("日志 · logs", str(self.state.logs))
        self.terminal.pair("停止 · stop", "Ctrl-C")
        self.terminal.rule()

    def play_demo_once(self) -> None:
        """Play the demo day if it never was; a failing one is reported and tried again by the next run."""
        marker = self.state.path / "demo-played"
        if not self.settings.demo_accounts() or marker.exists():
            return
        self.terminal.line("首次运行：演示一天的工作", "first run: playing the demo day")
        code = self.run_command("demo", python("backend.cli", "demo"))
        if code == 0:
            marker.touch()
            self.terminal.pair("正在运行，Ctrl-C 停止 · running, Ctrl-C stops it", self._url())
        else:
            self.terminal.problem(
                f"演示失败（退出码 {code}），服务继续运行；重试：make demo · "
                f"the demo day failed (exit code {code}); the stack keeps running; try again: make demo"
            )


def _setting_and_fault(problem: ErrorDetails) -> str:
    """The setting as people write it, and what is wrong with its value, which is not repeated: it may be a secret."""
    name = ".".join(map(str, problem["loc"])).upper()
    return f"{name}: {problem['msg']}" if name else problem["msg"]


def report_failure(terminal: Terminal, service: Service, reason: str, failures: int) -> None:
    """Tell the person at the terminal that a child ended and what happens next."""
    terminal.problem(
        f"{service.name} 已退出（{reason}），正在重启，一分钟内第 {failures} 次 · "
        f"{service.name} ended ({reason}), restarting, failure {failures} within a minute"
    )


def handle_signals(supervisor: Supervisor) -> None:
    """The first signal stops in order; one that comes a second later, from an impatient person, kills."""
    first: list[float] = []

    def handle(_: int, __: FrameType | None) -> None:
        first.append(time.monotonic())
        supervisor.ask_to_stop()
        if first[-1] - first[0] > HURRY_SECONDS:
            supervisor.hurry()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)


@contextmanager
def watched(state: StateDir, terminal: Terminal, address: str, check: Callable[[], None]) -> Iterator[Watch]:
    """Take the state folder, and stop in the end whatever was started in it, however it ends."""
    state.make()
    lock = state.lock(address)
    check()
    guardian = Guardian(lock)
    supervisor = Supervisor(report=lambda *failure: report_failure(terminal, *failure), guardian=guardian)
    handle_signals(supervisor)
    try:
        yield guardian, supervisor
    finally:
        terminal.line("正在停止", "stopping")
        supervisor.stop()
        guardian.dismiss()
        os.close(lock)
        terminal.line("已全部停止", "everything has stopped")


def run_stack(settings: Settings, terminal: Terminal) -> None:
    """Run until somebody stops it. `Failed`, `GaveUp`, `EmbeddedError` and `AlreadyRunning` say why not."""
    state = StateDir(settings.state_dir.absolute())
    address = Address(settings.host, settings.port)
    with watched(state, terminal, address.url(), address.require_free) as (guardian, supervisor), suppress(Stopped):
        stack = Stack(settings, state, terminal, supervisor)
        stack.start(guardian)
        stack.announce()
        stack.play_demo_once()
        supervisor.wait(lambda: False)


def run_restore(settings: Settings, terminal: Terminal, arguments: Sequence[str]) -> None:
    """Restore a backup while the stack is stopped. Raises as `run_stack` does."""
    # Only here: starting the stack needs nothing of the product itself.
    from backend.commands.restore_order import BackupError, RestoreOrder

    if settings.database_url:
        raise Failed("使用外部数据库时请执行 cli backup restore · with a database of your own run `cli backup restore`")
    try:
        asked = RestoreOrder.read(arguments, settings)
    except BackupError as error:
        raise Failed(str(error)) from error
    state = StateDir(settings.state_dir.absolute())
    with watched(state, terminal, "make restore", lambda: None) as (guardian, supervisor):
        Stack(settings, state, terminal, supervisor).restore(guardian, asked)


def run_cli(settings: Settings, arguments: Sequence[str]) -> NoReturn:
    """Become `backend.cli` with the settings of the running stack, or with our own where they name a database.

    `Failed` where nothing is running.
    """
    state = StateDir(settings.state_dir.absolute())
    if not state.is_locked() and not settings.database_url:
        raise Failed("服务没有运行，请先执行 make run · nothing is running: make run starts it")
    kept = state.environment() if state.is_locked() else {}
    os.chdir(PROJECT_ROOT)
    os.execve(sys.executable, python("backend.cli", *arguments), {**os.environ, **kept})  # noqa: S606


def main(arguments: Sequence[str] = ()) -> int:
    """Run the stack; the exit code is 0 when a person stopped it, 1 when it could not go on."""
    terminal = Terminal()
    try:
        if arguments[:1] == ["cli"]:
            run_cli(get_settings(), arguments[1:])
        if arguments[:1] == ["restore"]:
            run_restore(get_settings(), terminal, arguments[1:])
        else:
            run_stack(get_settings(), terminal)
    except AlreadyRunning as running:
        terminal.problem(
            f"已在运行：{running.address}（进程 {running.pid}）· "
            f"already running: {running.address} (process {running.pid})"
        )
    except GaveUp as gave_up:
        terminal.problem(
            f"{gave_up.service.name} 一分钟内多次失败，已停止全部服务 · "
            f"{gave_up.service.name} failed again and again, so everything was stopped: {gave_up.reason}\n"
            f"{gave_up.service.log}\n{gave_up.log_end}"
        )
    except ValidationError as error:
        problems = "; ".join(_setting_and_fault(problem) for problem in error.errors(include_input=False))
        terminal.problem(f"配置有误 · a setting is wrong: {problems}")
    except Stopped:
        terminal.problem("已中断 · broken off")
    except (Failed, EmbeddedError, OSError) as error:
        terminal.problem(str(error))
    else:
        return 0
    return 1


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main(sys.argv[1:]))
