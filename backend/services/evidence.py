"""Evidence of verdicts as it is opened, for the cross-check that wrote it and for whoever decides by it."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from backend.services.sealing import Part, Vault, place, subjects_in

Item = dict[str, Any]
"""One piece as it is opened: field, score, dataset, taken_at, finding; `mine` and `theirs` where there are any."""


def open_evidence(vault: Vault, sealed: Mapping[UUID, bytes | None]) -> dict[UUID, list[Item]]:
    """The evidence of verdicts by their id, with one read of keys. Values of erased humans are missing."""
    vault.load(subjects_in(sealed.values()))
    return {verdict_id: _items(vault.open(blob, context=verdict_id.bytes)) for verdict_id, blob in sealed.items()}


def _items(parts: Iterable[Part]) -> list[Item]:
    placed = place({}, parts)
    return [item for _, item in sorted(placed.items()) if "field" in item]
