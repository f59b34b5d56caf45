"""A worker that is killed in the middle of a partition, after it wrote its links: run as a process of its own."""

import os
import signal

from backend.core.enums import ReconciliationPhase
from tests.world import drain_jobs
from workflows.reconcile import steps


def main() -> None:
    made = steps.STEPS[ReconciliationPhase.PROBABLE]

    def dies(work: steps.Work) -> str | None:
        made(work)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("nobody comes here")

    steps.STEPS[ReconciliationPhase.PROBABLE] = dies
    drain_jobs()


if __name__ == "__main__":
    main()
