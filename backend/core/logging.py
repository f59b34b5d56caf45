"""Structured logs: one JSON line an event, with the request or job id, and no personal data.

Personal data stay out by construction: events are fixed words, values are ids, codes and counts. Exceptions are
logged by type and place, because their texts may quote what somebody typed. As a last net, a value that looks like an
identity number or a mobile number is withheld, and the line says so: such a line is a bug to be mended.
"""

import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from backend.core.settings import Settings

WITHHELD = "[withheld]"
_ID_NUMBER = r"[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[0-9Xx]"
_MOBILE = r"(?:\+?86[- ]?)?1[3-9]\d{9}"
_PERSONAL = re.compile(rf"(?<![0-9A-Za-z])(?:{_ID_NUMBER}|{_MOBILE})(?![0-9A-Za-z])")
"""Shapes of GB 11643 numbers and of mobile numbers, standing alone: ids of ours (UUIDs, hashes) have neither."""


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


def _withhold(value: Any) -> tuple[Any, bool]:
    """The value without what looks personal, at any depth, and whether there was any."""
    if isinstance(value, str):
        clean, number = _PERSONAL.subn(WITHHELD, value)
        return clean, number > 0
    if isinstance(value, dict):
        pairs = [(_withhold(key), _withhold(item)) for key, item in value.items()]
        return {key[0]: item[0] for key, item in pairs}, any(key[1] or item[1] for key, item in pairs)
    if isinstance(value, list | tuple | set | frozenset):
        items = [_withhold(item) for item in value]
        return [item for item, _ in items], any(found for _, found in items)
    if value is None or isinstance(value, bool | float):
        return value, False
    return (WITHHELD, True) if _PERSONAL.search(str(value)) else (value, False)


def _last_net(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Withhold what looks like a person's number; the line then names itself with `withheld`."""
    found = False
    for name, value in event.items():
        if name not in {"_record", "_from_structlog"}:
            event[name], personal = _withhold(value)
            found = found or personal
    if found:
        event["withheld"] = True
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
        _last_net,
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
    # The server configures loggers of its own before this; its lines and its tracebacks take the same way. Its access
    # log stays off: paths hold ids of people's records.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.getLogger("uvicorn").propagate = True
    logging.getLogger("uvicorn.access").propagate = False
    logging.getLogger("uvicorn.access").disabled = True


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of a module; events are short fixed phrases, values go in as keywords."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


@contextmanager
def log_context(**values: str) -> Iterator[None]:
    """Add ids to every log line inside the block."""
    with structlog.contextvars.bound_contextvars(**values):
        yield
