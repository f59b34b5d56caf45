"""The supervisor restarts what ends and gives up on what keeps ending."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.embedded.children import EmbeddedError
from backend.embedded.supervisor import MAX_FAILURES, GaveUp, Program, Service, Stopped, Supervisor

SLEEPER = [sys.executable, "-S", "-c", "import signal; print('up', flush=True); signal.pause()"]
CRASHER = [sys.executable, "-S", "-c", "print('cannot go on', flush=True); raise SystemExit(3)"]
WITH_CHILD = [
    sys.executable,
    "-S",
    "-c",
    "import os, signal; pid = os.fork(); print(pid, flush=True) if pid else None; signal.pause()",
]

MakeProgram = Callable[..., Program]


class Reports(list[tuple[str, str, int]]):
    """Keeps what the supervisor reports."""

    def __call__(self, service: Service, reason: str, failures: int) -> None:
        self.append((service.name, reason, failures))


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def supervisor(reports: Reports) -> Iterator[Supervisor]:
    made = Supervisor(report=reports)
    yield made
    made.stop()


@pytest.fixture
def program(tmp_path: Path) -> MakeProgram:
    def make(name: str, arguments: list[str]) -> Program:
        return Program(name, arguments, tmp_path / f"{name}.log", tmp_path, grace=5)

    return make


def pid_of(service: Service) -> int:
    assert service.process
    return service.process.pid


def test_a_killed_child_is_restarted_and_reported(
    supervisor: Supervisor, reports: Reports, program: MakeProgram
) -> None:
    sleeper = program("sleeper", SLEEPER)
    supervisor.add(sleeper)
    first = pid_of(sleeper)

    os.kill(first, signal.SIGKILL)

    assert supervisor.wait(lambda: pid_of(sleeper) != first, seconds=10)
    assert reports == [("sleeper", "signal SIGKILL", 1)]


def test_five_failures_within_a_minute_stop_the_stack_with_the_reason(
    supervisor: Supervisor, reports: Reports, program: MakeProgram
) -> None:
    sleeper = program("sleeper", SLEEPER)
    supervisor.add(sleeper)
    supervisor.add(program("crasher", CRASHER))

    with pytest.raises(GaveUp) as caught:
        supervisor.wait(lambda: False, seconds=60)

    assert caught.value.service.name == "crasher"
    assert caught.value.reason == "exit code 3"
    assert caught.value.log_end.splitlines()[-1] == "cannot go on"
    assert [failures for _, _, failures in reports] == list(range(1, MAX_FAILURES + 1))
    supervisor.stop()
    assert sleeper.poll() is not None


def test_failures_further_apart_than_a_minute_are_restarted_for_ever(reports: Reports, program: MakeProgram) -> None:
    moment = [0.0]
    supervisor = Supervisor(report=reports, clock=lambda: moment[0])
    crasher = program("crasher", CRASHER)
    supervisor.add(crasher)
    try:
        for _ in range(2 * MAX_FAILURES):
            assert crasher.process
            crasher.process.wait()
            moment[0] += 20
            supervisor.tick()
    finally:
        supervisor.stop()
    assert max(failures for _, _, failures in reports) < MAX_FAILURES


def test_a_restart_that_cannot_even_start_counts_as_a_failure(reports: Reports, program: MakeProgram) -> None:
    class Broken(Program):
        def start(self) -> None:
            if self.process:
                raise EmbeddedError("no room left")
            super().start()

    moment = [0.0]
    supervisor = Supervisor(report=reports, clock=lambda: moment[0])
    base = program("broken", CRASHER)
    broken = Broken(base.name, base.arguments, base.log, base.directory)
    supervisor.add(broken)
    assert broken.process
    broken.process.wait()

    def keep_ticking() -> None:
        for _ in range(MAX_FAILURES + 1):
            supervisor.tick()
            moment[0] += 2

    with pytest.raises(GaveUp, match="no room left"):
        keep_ticking()
    supervisor.stop()


def test_what_a_killed_child_started_is_killed_too(
    supervisor: Supervisor, reports: Reports, program: MakeProgram
) -> None:
    parent = program("parent", WITH_CHILD)
    supervisor.add(parent)
    assert supervisor.wait(lambda: bool(parent.log.read_text().strip()), seconds=10)
    grandchild = int(parent.log.read_text().split()[0])

    os.kill(pid_of(parent), signal.SIGKILL)

    assert supervisor.wait(lambda: is_gone(grandchild), seconds=10)
    assert supervisor.wait(lambda: len(reports) == 1, seconds=10)


def is_gone(pid: int) -> bool:
    """No such process, or one that only waits to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_request_to_stop_ends_every_wait(supervisor: Supervisor) -> None:
    supervisor.ask_to_stop()
    with pytest.raises(Stopped):
        supervisor.wait(lambda: False, seconds=5)


def test_services_stop_in_the_reverse_order(supervisor: Supervisor, program: MakeProgram) -> None:
    order: list[str] = []

    class Noted(Program):
        def stop(self) -> None:
            order.append(self.name)
            super().stop()

    for name in ("valkey", "postgres", "worker", "api", "beat"):
        base = program(name, SLEEPER)
        supervisor.add(Noted(base.name, base.arguments, base.log, base.directory))
    supervisor.stop()

    assert order == ["beat", "api", "worker", "postgres", "valkey"]
