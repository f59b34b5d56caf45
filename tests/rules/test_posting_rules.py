"""Who grants what: every pair of roles, written out once more."""

import itertools

import pytest

from backend.core.enums import Role
from backend.services.posting_rules import SEPARATE, may_grant, may_lock, separate

OFFICE = {Role.OPERATOR, Role.DISPATCHER, Role.HANDLER, Role.SUPERVISOR, Role.STEWARD, Role.DECLARATION_CHANNEL}
THREE = {Role.AUDITOR, Role.SECURITY_ADMIN, Role.SYSTEM_ADMIN}


def test_the_three_are_three() -> None:
    assert SEPARATE == THREE


def test_each_role_has_exactly_one_granter() -> None:
    granted = {pair for pair in itertools.product(Role, Role) if may_grant(pair[0], [pair[1]])}
    expected = {(Role.SYSTEM_ADMIN, role) for role in OFFICE | {Role.GRID_WORKER}}
    assert granted == expected | {(Role.SECURITY_ADMIN, role) for role in THREE}


def test_all_roles_of_an_account_have_to_be_the_granters() -> None:
    assert may_grant(Role.SYSTEM_ADMIN, [Role.SUPERVISOR, Role.GRID_WORKER])
    assert not may_grant(Role.SYSTEM_ADMIN, [Role.SUPERVISOR, Role.AUDITOR])


def test_the_security_administrator_locks_anybody_and_others_only_whom_they_grant() -> None:
    assert all(may_lock(Role.SECURITY_ADMIN, role) for role in Role)
    assert {role for role in Role if may_lock(Role.SYSTEM_ADMIN, role)} == OFFICE | {Role.GRID_WORKER}
    assert not any(may_lock(Role.SUPERVISOR, role) for role in Role)


@pytest.mark.parametrize(("held", "wanted"), list(itertools.product(sorted(THREE), repeat=2)))
def test_nobody_is_two_of_the_three(held: Role, wanted: Role) -> None:
    assert separate([Role.OPERATOR, held], wanted) is (held is not wanted)
    assert not separate([held], Role.OPERATOR)
