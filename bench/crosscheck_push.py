"""From a push to its verdict at a steady pace: the real API, worker and beat over the population of `bench.crosscheck`.

Handhelds push one entry at a time, so many a second all together; a watcher looks which verdicts can be seen. The
time of an entry runs from the moment its push was due, so that a push that waits behind another one counts in full.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from bench.crosscheck_labels import Labelled
from bench.crosscheck_ours import row_of
from bench.stack import OwnStack
from bench.sync_load import Line, together
from bench.sync_ours import Ours, pushes, took
from tests.live import Live

LOOK_EVERY_S = 0.1
LATE_S = 60.0
"""So long the watcher waits for verdicts after the last push."""
WARM_S = 5.0
"""What is due in the first seconds, while caches fill and the worker makes its connections, is not counted."""


@dataclass(frozen=True, slots=True)
class Paced:
    """`p50` and `p99` in seconds; `rate` at which pushes were answered; the mean number of unchecked entries in the
    first and the last third of the time."""

    p50: float
    p99: float
    rate: float
    early_backlog: float
    late_backlog: float

    @property
    def steady(self) -> bool:
        """Whether the backlog does not grow, beyond what chance gives to a handful."""
        return self.late_backlog <= 1.5 * self.early_backlog + 10


@dataclass
class _Times:
    """Moments of the monotonic clock by document: when its push was due and answered, and its verdict seen."""

    due: dict[UUID, float] = field(default_factory=dict)
    answered: dict[UUID, float] = field(default_factory=dict)
    seen: dict[UUID, float] = field(default_factory=dict)

    def paced(self) -> Paced:
        start, end = min(self.due.values()) + WARM_S, max(self.due.values())
        taken = sorted(self.seen[one] - due for one, due in self.due.items() if due >= start)
        third = (end - start) / 3
        return Paced(
            p50=taken[len(taken) // 2],
            p99=taken[len(taken) * 99 // 100],
            rate=(len(self.due) - 1) / (max(self.answered.values()) - min(self.due.values())),
            early_backlog=self._backlog(start, start + third),
            late_backlog=self._backlog(end - third, end),
        )

    def _backlog(self, start: float, end: float) -> float:
        """The mean number of entries that are answered and have no verdict yet."""
        answered, seen = sorted(self.answered.values()), sorted(self.seen.values())
        moments = [start + (end - start) * step / 100 for step in range(101)]
        return sum(bisect_right(answered, one) - bisect_right(seen, one) for one in moments) / len(moments)


def paced(stack: OwnStack, side: Ours, entries: Sequence[Labelled], *, rate: float) -> Paced:
    """Push the entries at the pace, while a worker of the product runs, and look after their verdicts."""
    rows = [row_of(entry, side.grids[place % len(side.grids)]) for place, entry in enumerate(entries)]
    folder = stack.folder / "paced"
    folder.mkdir(exist_ok=True)
    live = Live(folder, stack.environment(side.database, LOG_LEVEL="WARNING"))
    times = _Times()
    try:
        live.start_worker()
        live.start_beat()
        watcher = threading.Thread(target=_watch, args=(stack, side.database, times, len(rows)), daemon=True)
        begin = time.monotonic() + 3.0
        times.due |= {UUID(row["id"]): begin + place / rate for place, row in enumerate(rows)}
        watcher.start()
        together([_writer(side, rows, place, times) for place in range(len(side.handhelds))])
        watcher.join(LATE_S)
    finally:
        live.stop()
    if len(times.seen) < len(rows):
        raise RuntimeError(f"{len(rows) - len(times.seen)} entries have no verdict after {LATE_S:.0f} s")
    return times.paced()


def _writer(side: Ours, rows: Sequence[dict[str, object]], place: int, times: _Times) -> Callable[[], None]:
    """One handheld: each of its pushes when it is due, or at once where it is late."""
    mine = rows[place :: len(side.handhelds)]
    messages = pushes(side.handhelds[place], mine, size=1)

    def run() -> None:
        with Line(side.ports[place % len(side.ports)]) as line:
            for row, message in zip(mine, messages, strict=True):
                document = UUID(str(row["id"]))
                time.sleep(max(0.0, times.due[document] - time.monotonic()))
                took(*line.call(message))
                times.answered[document] = time.monotonic()

    return run


def _watch(stack: OwnStack, database: str, times: _Times, number: int) -> None:
    with stack.superuser(database) as connection:
        while len(times.seen) < number:
            waiting = [one for one in list(times.answered) if one not in times.seen]
            if waiting:
                rows = connection.execute(_SEEN, {"ids": waiting}).fetchall()
                moment = time.monotonic()
                times.seen |= dict.fromkeys((UUID(str(document)) for (document,) in rows), moment)
            time.sleep(LOOK_EVERY_S)


_SEEN = "SELECT source_id FROM verdict WHERE source_type = 'document' AND source_id = ANY(%(ids)s::uuid[])"
