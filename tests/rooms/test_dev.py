"""`python -m backend.dev` as a person uses it, over a copy of the project in which our programs are small stand-ins.

The servers are real. What is shown here is the supervisor: ready, second run, restarts, both ways to stop, kill -9.
"""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.core.settings import PROJECT_ROOT, Settings
from backend.embedded.places import throwaway_dir
from backend.embedded.postgres import EmbeddedPostgres
from backend.embedded.valkey import EmbeddedValkey

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

STAND_INS = {
    "alembic.ini": "[alembic]\nscript_location = %(here)s/alembic\n",
    "alembic/env.py": "import os\nassert 'zw_owner' in os.environ['MIGRATION_DATABASE_URL']\n",
    "alembic/versions/.keep": "",
    "backend/main.py": """
import os
from fastapi import FastAPI
app = FastAPI()
@app.get("/health/ready")
def ready():
    return {"pid": os.getpid(), "database": os.environ["DATABASE_URL"]}
""",
    "backend/api/__init__.py": "",
    "backend/api/server.py": "from uvicorn.protocols.http.h11_impl import H11Protocol as BoundedProtocol\n",
    "backend/worker.py": """
import os
from celery import Celery
app = Celery("stand-in", broker=os.environ["BROKER_URL"])
app.conf.broker_connection_retry_on_startup = True
""",
    "backend/cli.py": """
import os, sys
print("stand-in", *sys.argv[1:], os.environ["STATE_DIR"], flush=True)
if sys.argv[1] == "demo" and os.path.exists("demo-fails"):
    sys.exit(7)
""",
}


@dataclass
class Run:
    """One `python -m backend.dev` and what it has said so far."""

    process: subprocess.Popen[str]
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def hears(self, words: str, seconds: float = 60) -> bool:
        """Whether it says these words in time. Stops waiting when it ended."""
        return wait_until(lambda: words in self.said or self.process.poll() is not None, seconds) and words in self.said


@dataclass
class Project:
    """A copy of what the stack needs, in a folder with a space in its name."""

    root: Path
    port: int

    @property
    def state(self) -> Path:
        return self.root / ".zhiwang"

    def environment(self) -> dict[str, str]:
        """Ours without the settings of the tests."""
        own = {name.upper() for name in Settings.model_fields}
        return {name: value for name, value in os.environ.items() if name not in own} | {"PYTHONIOENCODING": "utf-8"}

    def start(self, **settings: str) -> Run:
        """Start a stack over this copy."""
        output = self.root / f"output-{time.monotonic_ns()}"
        with output.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "backend.dev"],
                cwd=self.root,
                env={**self.environment(), "PORT": str(self.port), **settings},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
        return Run(process, output)

    def socket_dirs(self) -> list[Path]:
        """The folders its servers use for sockets."""
        return [
            EmbeddedPostgres(self.state / "postgres").socket_dir,
            EmbeddedValkey(self.state / "valkey").socket_dir,
        ]

    def processes(self) -> dict[int, str]:
        """Everything that runs in or over this copy, by looking at all processes."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                words = _command(entry)
                if str(self.root) in words or _directory(entry).startswith(str(self.root)):
                    found[int(entry.name)] = words
        return found


def _command(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _directory(entry: Path) -> str:
    try:
        return str((entry / "cwd").readlink())
    except OSError:
        return ""


def wait_until(done: Callable[[], bool], seconds: float = 60) -> bool:
    """Look again and again, with a bound."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.05)
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    with throwaway_dir() as folder:
        root = folder / "a project"
        for part in ("core", "embedded"):
            shutil.copytree(PROJECT_ROOT / "backend" / part, root / "backend" / part)
        for name in ("__init__.py", "dev.py"):
            shutil.copy(PROJECT_ROOT / "backend" / name, root / "backend" / name)
        for name, text in STAND_INS.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        yield Project(root, free_port())


@pytest.fixture(scope="class")
def stack(project: Project) -> Iterator[Run]:
    """A stack that is ready; stopped after the last test of the class."""
    run = project.start()
    try:
        assert run.hears("Ctrl-C"), run.said
        yield run
    finally:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGTERM)
        run.process.wait(60)


def service_pids(project: Project) -> dict[str, int]:
    """The processes of the stack by the name of their role; of a worker its head, not its pool."""
    marks = {
        "api": "uvicorn backend.main",
        "worker": "backend.worker worker",
        "beat": "backend.worker beat",
        "postgres": "bin/postgres -D",
        "valkey": "valkey-server",
    }
    heads = {pid: words for pid, words in project.processes().items() if leads_its_session(pid)}
    return {role: pid for pid, words in heads.items() for role, mark in marks.items() if mark in words}


def leads_its_session(pid: int) -> bool:
    """Whether the process was started by the supervisor itself."""
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def test_the_first_run_says_all_a_newcomer_needs_and_ctrl_c_leaves_nothing(project: Project) -> None:
    run = project.start()
    assert run.hears("stand-in demo "), run.said
    assert f"http://127.0.0.1:{project.port}" in run.said
    for words in ("织网已就绪", "stand-in seed", "stand-in demo-logins", str(project.state / "logs"), "/docs"):
        assert words in run.said
    assert wait_until((project.state / "demo-played").exists)
    secrets = project.state / "secrets.json"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert len(json.loads(secrets.read_text())["WECHAT_ENCODING_AES_KEY"]) == 43

    run.process.send_signal(signal.SIGINT)

    assert run.process.wait(60) == 0, run.said
    assert wait_until(lambda: project.processes() == {}), project.processes()
    assert not any(folder.exists() for folder in project.socket_dirs())


@pytest.mark.usefixtures("stack")
class TestOnOneRunningStack:
    """What does not end the stack is shown on one."""

    def test_a_second_run_says_where_the_first_one_answers(self, project: Project, stack: Run) -> None:
        second = project.start(PORT=str(free_port()))
        assert second.process.wait(30) == 1
        assert f"already running: http://127.0.0.1:{project.port}" in second.said
        assert stack.process.poll() is None
        assert "stand-in demo " not in stack.said.replace("demo-logins", "")

    def test_the_command_line_gets_the_settings_of_the_running_stack(self, project: Project) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "backend.dev", "cli", "demo", "--fast"],
            cwd=project.root,
            env=project.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.stdout.strip() == f"stand-in demo --fast {project.state}"

    @pytest.mark.parametrize("role", ["api", "worker", "postgres", "valkey", "beat"])
    def test_a_killed_child_is_restarted_and_reported(self, project: Project, stack: Run, role: str) -> None:
        first = service_pids(project)[role]
        os.kill(first, signal.SIGKILL)
        assert stack.hears(f"{role} ended (signal SIGKILL), restarting"), stack.said
        assert wait_until(lambda: service_pids(project).get(role, first) != first)
        assert stack.process.poll() is None


def test_after_kill_9_nothing_runs_on_and_the_next_run_works(project: Project) -> None:
    run = project.start()
    assert run.hears("Ctrl-C"), run.said
    run.process.kill()
    run.process.wait()
    following = project.start()
    try:
        assert following.hears("Ctrl-C"), following.said
        alive = service_pids(project)
        assert set(alive) == {"api", "worker", "beat", "postgres", "valkey"}
    finally:
        following.process.send_signal(signal.SIGTERM)
        assert following.process.wait(60) == 0
    assert wait_until(lambda: project.processes() == {}), project.processes()
    assert not any(folder.exists() for folder in project.socket_dirs())


def test_a_port_that_is_taken_is_said_plainly(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = project.start(PORT=str(port))
        assert run.process.wait(30) == 1
    assert f"port {port} is taken by another program" in run.said
    assert "Traceback" not in run.said


def test_a_child_that_keeps_failing_stops_the_rest_with_its_reason(project: Project) -> None:
    broken = project.root / "backend" / "main.py"
    good = broken.read_text()
    broken.write_text("raise SystemExit('the API cannot start today')\n")
    try:
        run = project.start()
        assert run.process.wait(90) == 1
    finally:
        broken.write_text(good)
    assert "api failed again and again, so everything was stopped" in run.said
    assert "the API cannot start today" in run.said
    assert len(re.findall(r"api ended \(", run.said)) == 5
    assert wait_until(lambda: project.processes() == {}), project.processes()


def test_a_demo_that_fails_is_reported_and_the_stack_keeps_running(project: Project) -> None:
    (project.state / "demo-played").unlink(missing_ok=True)
    (project.root / "demo-fails").touch()
    run = project.start()
    try:
        assert run.hears("the demo day failed (exit code 7)"), run.said
        assert not (project.state / "demo-played").exists()
        assert run.process.poll() is None
    finally:
        (project.root / "demo-fails").unlink()
        run.process.send_signal(signal.SIGTERM)
        assert run.process.wait(60) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the state of another account")
def test_the_state_of_another_account_is_refused(project: Project) -> None:
    foreign = project.root / "foreign"
    foreign.mkdir()
    os.chown(foreign, 65534, 65534)
    run = project.start(STATE_DIR=str(foreign))
    assert run.process.wait(30) == 1
    assert "belongs to another account" in run.said
    assert list(foreign.iterdir()) == []
