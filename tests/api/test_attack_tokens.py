"""A small part of `make attack-tokens`, over the app itself: nothing but a genuine token of the caller is taken."""

import random

import pytest

from backend.services.sessions import token_key
from bench.attack_tokens import Attackers
from tests.world import World


@pytest.fixture
def attackers(world: World) -> Attackers:
    return Attackers(world, secret=token_key())


def test_forged_altered_and_misused_tokens_are_refused(attackers: Attackers) -> None:
    attackers.access_tokens()
    assert attackers.tally.accepted == []
    assert attackers.tally.tried > 300


def test_stolen_and_replayed_refresh_tokens_are_refused(attackers: Attackers) -> None:
    attackers.stolen_refresh_tokens()
    attackers.replayed_refresh_tokens(3)
    attackers.replayed_office_tokens()
    assert attackers.tally.accepted == []
    assert attackers.tally.tried > 30


def test_enrolment_codes_are_good_once(attackers: Attackers) -> None:
    attackers.enrolment_codes(guesses=20, draw=random.Random(1))
    assert attackers.tally.accepted == []
    assert attackers.tally.tried >= 4 + 7 + 19


def test_a_revoked_device_begins_nothing_more(attackers: Attackers) -> None:
    attackers.revoked_devices(times=2, draw=random.Random(2))
    assert attackers.tally.accepted == []
    assert attackers.tally.by_attack["revoked device"] >= 12


def test_a_genuine_token_would_be_counted(attackers: Attackers) -> None:
    """The tally can be wrong in one way only."""
    token = attackers.world.office("supervisor")["Authorization"].removeprefix("Bearer ")
    attackers._bearer("planted", "genuine", token)
    assert attackers.tally.accepted == ["planted: genuine (200)"]
