"""Kinds of fields that bodies and queries share."""

import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import AwareDatetime, BeforeValidator, Field

PlainText = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of text. Control characters are refused: PostgreSQL cannot store NUL, and nobody types the others."""


def _written_out(value: Any) -> Any:
    """Pydantic also takes a bare number, as seconds since 1970; nobody means that, so it is a fault."""
    if isinstance(value, int | float) or (isinstance(value, str) and re.fullmatch(r"[\s\d.+-]+", value)):
        raise ValueError("not a date and time as ISO 8601 writes them")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""A moment as ISO 8601 writes it, with its offset from UTC."""

ClockReading = Annotated[datetime, BeforeValidator(_written_out)]
"""A moment as a device's clock writes it, which may not know its offset."""

After = Annotated[UUID | None, Query(description="`next` of the page before")]
"""Where a page begins: after the last row of the one before."""

REQUIRED = "x-required"
"""In `json_schema_extra` of a parameter that may be missing for FastAPI, because its absence has a code of its own: the
document says that it is required."""
