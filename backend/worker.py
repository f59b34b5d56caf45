"""The Celery worker and beat: imports every room's handlers, and logs without personal data.

Start it with `celery -A backend.worker worker` and `celery -A backend.worker beat`.
"""

from typing import Any

from celery.signals import beat_init, setup_logging, worker_init, worker_process_init

from backend import jobs
from backend.core.db import engine_for
from backend.core.logging import configure_logging
from backend.core.settings import get_settings
from backend.handlers import load_handlers
from backend.services.audit_tasks import Sealer
from backend.services.key_use import KeysUnfit, refuse_unfit_keys
from backend.tasks import BackgroundWaker, celery, spare_collector

app = celery

load_handlers()


@setup_logging.connect  # type: ignore[untyped-decorator]
def _log(**_: Any) -> None:
    configure_logging(get_settings(), process="worker")


@beat_init.connect  # type: ignore[untyped-decorator]
def _log_beat(**_: Any) -> None:
    configure_logging(get_settings(), process="beat")


@worker_init.connect  # type: ignore[untyped-decorator]
def _check_keys(**_: Any) -> None:
    """A signal swallows exceptions, but not the wish to end."""
    try:
        refuse_unfit_keys("zw_worker", note=True)
    except KeysUnfit as error:
        raise SystemExit(str(error)) from error
    # The pool's children are forks: they make connections of their own.
    engine_for("zw_worker").dispose()


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _start_child(**_: Any) -> None:
    """A pool child is a fork: connections of its parent are not its own, and it wakes others for follow-up jobs."""
    engine_for.cache_clear()
    spare_collector()
    jobs.set_waker(BackgroundWaker())
    Sealer().start()
