"""What schemathesis has to be told to build bodies that are no JSON."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def octets(_: Any, value: Any) -> bytes:
    """The bytes of a part of a photo."""
    return value if isinstance(value, bytes) else str(value).encode()
