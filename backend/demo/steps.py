"""The steps of the day as progress bars; people act at the same time on a few threads."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from backend.demo.client import Server
from backend.demo.overview import wait_for_rest

THREADS = 8

Act = Callable[[], object]


class Steps:
    """Runs what people do, and shows how far the day is."""

    def __init__(self, console: Console, server: Server) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console)
        self._server = server
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="demo")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is not None:
            self._server.close()  # What others are still trying ends at once.
        self._pool.shutdown(cancel_futures=True)
        self._progress.stop()

    def together(self, acts: Mapping[str, Sequence[Act]]) -> None:
        """Do all acts of all titles at the same time, spread evenly; the first error of any is raised."""
        bars = {title: self._progress.add_task(title, total=len(some)) for title, some in acts.items()}
        ordered = sorted(
            (place / len(some), title, act) for title, some in acts.items() for place, act in enumerate(some)
        )
        running: dict[Future[object], TaskID] = {self._pool.submit(act): bars[title] for _, title, act in ordered}
        for future in as_completed(running):
            future.result()
            self._progress.advance(running[future])

    def rest(self, title: str, *, seconds: float) -> None:
        """Wait until the system has no job left to run."""
        bar = self._progress.add_task(title, total=None)
        most = 0

        def show(waiting: int) -> None:
            nonlocal most
            most = max(most, waiting)
            self._progress.update(bar, total=most or 1, completed=most - waiting if most else 1)

        wait_for_rest(self._server, seconds=seconds, progress=show)
