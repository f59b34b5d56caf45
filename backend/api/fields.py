"""Kinds of fields that bodies and queries share."""

from typing import Annotated

from pydantic import Field

PlainText = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of text. Control characters are refused: PostgreSQL cannot store NUL, and nobody types the others."""
