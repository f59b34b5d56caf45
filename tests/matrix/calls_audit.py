"""The audit trail."""

from tests.matrix.cells import Ask, Call

CALLS = {
    "audit.entries": Call(lambda _: Ask("GET", "/audit/v1/entries", {"params": {"limit": 1}})),
    "audit.status": Call(lambda _: Ask("GET", "/audit/v1/status")),
}
