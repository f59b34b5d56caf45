"""Values of fields that somebody gives over HTTP, one by one: what can be stored at all."""

from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator

from backend.kinds.forms import has_nul, is_shallow

MAX_DEPTH = 16
MAX_VALUE_BYTES = 64 * 1024


def _storable(value: Any) -> Any:
    """Refuse what a pushed row may not hold either: NUL, lone surrogates, NaN, what is nested too deep or too large."""
    try:
        written = msgspec.json.encode(value)
        fits = len(written) <= MAX_VALUE_BYTES and msgspec.json.decode(written) == value
    except (ValueError, OverflowError, RecursionError, TypeError) as error:
        raise ValueError("cannot be stored") from error
    if not fits or has_nul(value) or not is_shallow(value, MAX_DEPTH):
        raise ValueError("cannot be stored")
    return value


GivenValue = Annotated[Any, AfterValidator(_storable)]
