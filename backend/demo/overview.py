"""The numbers of the whole system as its API gives them, before and after, and when it has come to rest."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from backend.demo.client import Json, Office, Server, taken

POLL_SECONDS = 0.3
TIMERS = frozenset({"workflows.channels.settle"})
"""Jobs that wait on purpose: the end of the window in which a citizen may add to a report."""

States = dict[str, int]


class Restless(Exception):
    """Jobs were still waiting when patience ran out. Carries how many, by name."""

    def __init__(self, waiting: States) -> None:
        super().__init__(", ".join(f"{name} {number}" for name, number in sorted(waiting.items())))


@dataclass(frozen=True, slots=True)
class Overview:
    """Counts by group and state, cases by queue and state, and what the cases' own summary says."""

    groups: dict[str, States]
    cases: dict[str, States]
    cases_in_summary: int
    queue_names: dict[str, str]

    def since(self, before: "Overview") -> "Overview":
        """What was added, with states in which nothing changed left out."""
        return Overview(
            {group: _added(states, before.groups.get(group, {})) for group, states in self.groups.items()},
            {queue: _added(states, before.cases.get(queue, {})) for queue, states in self.cases.items()},
            self.cases_in_summary - before.cases_in_summary,
            self.queue_names,
        )

    def count(self, group: str, *states: str) -> int:
        """The sum over some states of a group, or over all."""
        found = self.groups.get(group, {})
        return sum(found.get(state, 0) for state in states) if states else sum(found.values())

    @property
    def all_cases(self) -> int:
        """The sum over queues and states."""
        return sum(sum(states.values()) for states in self.cases.values())


def look(server: Server, office: Office) -> Overview:
    """The numbers now."""
    counts: Json = taken(server.call("GET", "/overview/v1/counts")).json()
    cases = counts.pop("cases")
    summary = office.get("/cases/v1/summary")
    names = {queue["code"]: queue["name"] for queue in summary["queues"]}
    return Overview(counts, cases, summary["total"], names)


def waiting_jobs(server: Server) -> States:
    """Jobs that are to be run or are running, by name; those that wait on purpose are left out."""
    text = taken(server.call("GET", "/metrics")).text
    waiting: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples if family.name == "zhiwang_jobs" else ():
            if sample.labels["state"] in ("ready", "running") and sample.labels["name"] not in TIMERS:
                waiting[sample.labels["name"]] += int(sample.value)
    return dict(waiting)


def wait_for_rest(server: Server, *, seconds: float, progress: Callable[[int], None]) -> None:
    """Wait until no job is left to be run; each is told to `progress`. `Restless` after the given time.

    A job row is written in the transaction of what it is about, so that once all answers have come, no jobs means
    that nothing more will happen.
    """
    end = time.monotonic() + seconds
    while waiting := waiting_jobs(server):
        progress(sum(waiting.values()))
        if time.monotonic() > end:
            raise Restless(waiting)
        time.sleep(POLL_SECONDS)
    progress(0)


def _added(after: States, before: States) -> States:
    names = after.keys() | before.keys()
    return {name: added for name in sorted(names) if (added := after.get(name, 0) - before.get(name, 0))}
