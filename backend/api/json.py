"""JSON answers written by msgspec: documents are plain values already, so no model stands between."""

from typing import Any

import msgspec
from fastapi.responses import Response


def json_response(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json", headers=headers)
