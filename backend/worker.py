"""The Celery worker and beat: imports every room's handlers, and logs without personal data.

Start it with `celery -A backend.worker worker` and `celery -A backend.worker beat`.
"""

from typing import Any

from celery.signals import beat_init, setup_logging, worker_process_init

from backend import jobs
from backend.core.db import engine_for
from backend.core.logging import configure_logging
from backend.core.settings import get_settings
from backend.handlers import load_handlers
from backend.services.audit_tasks import Sealer
from backend.tasks import BackgroundWaker, celery

app = celery

load_handlers()


@setup_logging.connect  # type: ignore[untyped-decorator]
def _log(**_: Any) -> None:
    configure_logging(get_settings(), process="worker")


@beat_init.connect  # type: ignore[untyped-decorator]
def _log_beat(**_: Any) -> None:
    configure_logging(get_settings(), process="beat")


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _start_child(**_: Any) -> None:
    """A pool child is a fork: connections of its parent are not its own, and it wakes others for follow-up jobs."""
    engine_for.cache_clear()
    jobs.set_waker(BackgroundWaker())
    Sealer().start()
