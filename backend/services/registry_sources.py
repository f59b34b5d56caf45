"""Departments' databases that the operator lets this system read (`IMPORT_SOURCES`)."""

import msgspec

from backend.core.settings import get_settings


def sources() -> dict[str, str]:
    """Connection strings by name. They hold passwords: never shown, logged, or part of an error."""
    text = get_settings().import_sources.get_secret_value()
    return msgspec.json.decode(text, type=dict[str, str]) if text else {}
