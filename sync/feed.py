"""The feed as the sync room knows it. It stands with the services, because an erasure writes it too (ADR 2)."""

from backend.services.feed import touch

__all__ = ["touch"]
