"""The faults of `bench.chaos`: each kills something at once, as the kernel, an operator or a power cut would.

What was killed is started again immediately, which in production is the supervisor's or the orchestrator's work.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import redis

from bench.stack import OwnStack
from tests.live import Live
from tests.world import until


@dataclass(frozen=True, slots=True)
class Running:
    """What can be killed. All methods belong to the main thread, which the servers live with."""

    stack: OwnStack
    live: Live

    def worker_child(self) -> None:
        """One process of the worker's pool; the worker itself makes another."""
        if children := _children(self.live.processes["worker"].pid):
            with suppress(ProcessLookupError):
                os.kill(max(children), signal.SIGKILL)

    def worker(self) -> None:
        """The worker with its whole pool."""
        self.live.kill("worker")
        self.live.start_worker()

    def beat(self) -> None:
        """Beat, and with it the sweeper until it is back."""
        self.live.kill("beat")
        self.live.start_beat()

    def broker(self) -> None:
        """Valkey, with whatever it had not written down."""
        process = self.stack.valkey.process
        assert process
        process.kill()
        process.wait()
        self.stack.valkey.start()

    def flushall(self) -> None:
        """All messages, those that a worker has in hand included."""
        with redis.Redis.from_url(self.stack.valkey.redis_url()) as client:
            client.flushall()

    def postgres(self) -> None:
        """An immediate stop: no farewell to sessions, and recovery from the log."""
        process = self.stack.postgres.process
        assert process
        process.send_signal(signal.SIGQUIT)
        process.wait()
        self.stack.postgres.start()


class Faults:
    """Draws the faults and says how many of each there were."""

    def __init__(self, running: Running, random: Random) -> None:
        kinds = (running.worker_child, running.worker, running.beat, running.broker, running.flushall, running.postgres)
        self._kinds: dict[str, Callable[[], None]] = {kind.__name__: kind for kind in kinds}
        self._random = random
        self.met: Counter[str] = Counter()

    def run(self, number: int, *, seconds: float) -> None:
        """So many faults, in random order, spread over so many seconds; later where a restart takes longer."""
        names = [list(self._kinds)[index % len(self._kinds)] for index in range(number)]
        self._random.shuffle(names)
        begun = time.monotonic()
        for index, name in enumerate(names):
            due = begun + seconds * (index + self._random.random()) / number
            time.sleep(max(0.0, due - time.monotonic()))
            self._kinds[name]()
            self.met[name] += 1
            if (index + 1) % 50 == 0:
                print(f"  {index + 1} faults: {dict(self.met)}", flush=True)


def _children(pid: int) -> list[int]:
    """The processes that a process has started, by their ids."""
    found: list[int] = []
    until(lambda: Path(f"/proc/{pid}").exists(), what=f"process {pid}")
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found
