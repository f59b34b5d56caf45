"""Structured logs: one JSON line an event, with the request or job id, and no personal data.

Personal data stay out by construction: events are fixed words, values are ids, codes and counts. Exceptions are
logged by type and place, because their texts may quote what somebody typed.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from backend.core.settings import Settings


def _place_of_error(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace an exception by its type and stack places; never its message or arguments."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        event["at"] = [f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno}:{frame.name}" for frame in frames]
    return event


def configure_logging(settings: Settings, *, process: str) -> None:
    """Set up structlog and route the standard library's warnings through the same renderer."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _place_of_error,
    ]
    level = logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of a module; events are short fixed phrases, values go in as keywords."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


@contextmanager
def log_context(**values: str) -> Iterator[None]:
    """Add ids to every log line inside the block."""
    with structlog.contextvars.bound_contextvars(**values):
        yield
