"""Who grants which role. Pure; what the database holds besides is in `backend.models.accounts.Posting`.

The system administrator makes the accounts of offices and grid workers, the security administrator those of the three
roles that watch each other. So nobody who runs the system can make himself its auditor, nor the other way round.
"""

from collections.abc import Iterable, Mapping

from backend.core.enums import Role

SEPARATE = frozenset({Role.AUDITOR, Role.SECURITY_ADMIN, Role.SYSTEM_ADMIN})
"""Three people (三员分立): one account never holds two of them, not even one after the other."""

GRANTED_BY: Mapping[Role, frozenset[Role]] = {
    Role.SYSTEM_ADMIN: frozenset(Role) - SEPARATE,
    Role.SECURITY_ADMIN: SEPARATE,
}


def may_grant(actor: Role, roles: Iterable[Role]) -> bool:
    """Whether this role hands out, changes and takes back all of these."""
    return set(roles) <= GRANTED_BY.get(actor, frozenset())


def may_lock(actor: Role, role: Role | None) -> bool:
    """Whether this role may lock an account out: who grants its role may, and the security administrator always."""
    return actor is Role.SECURITY_ADMIN or (role is not None and may_grant(actor, [role]))


def separate(held: Iterable[Role], wanted: Role) -> bool:
    """Whether an account with these roles in its history would mix two of the three by taking another one."""
    return wanted in SEPARATE and bool(SEPARATE.intersection(held) - {wanted})
