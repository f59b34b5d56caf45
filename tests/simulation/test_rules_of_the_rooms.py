"""Rules that live around the core, where no history of the model looks, switched off in this process: the test that
shows each rule alone goes red (docs/sync-protocol.md, "Which test proves it").

The proving tests are called as they stand, so nothing here says a second time what a rule is for.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from backend.core.enums import QuarantineCode
from backend.services import photos, records
from sync import core, projection, pull, service
from sync.core import Batch
from sync.known import Known
from sync.streams import Stream
from tests.api import (
    test_media_photos,
    test_sync_client,
    test_sync_dangling,
    test_sync_order,
    test_sync_stream,
    test_sync_versions,
)
from tests.world import World, drain_jobs

Plant = Callable[[pytest.MonkeyPatch], None]
Proof = Callable[[World, Path, pytest.MonkeyPatch], None]


def without_locks(patch: pytest.MonkeyPatch) -> None:
    """Rule 10: ids are read without a lock. The unique constraints, the second wall, let one of two pushes fail."""
    patch.setattr(service, "lock", lambda *_: None)


def one_form_for_all(patch: pytest.MonkeyPatch) -> None:
    """Rule 11: older clients are sent documents in the current form."""
    for module in (core, pull):
        patch.setattr(module, "in_form", lambda _, document, __: document)


def absent_is_removed(patch: pytest.MonkeyPatch) -> None:
    """Rule 11: a field that the client's form lacks counts as deleted."""

    patch.setattr(projection, "lift", lambda _, fields, *__, **___: fields)


def houses_first(patch: pytest.MonkeyPatch) -> None:
    """Rule 12: a person whose house is not there is refused."""
    houses: set[str] = set()
    refusal, apply = core._refusal, core._apply

    def refused(batch: Batch, known: Known, row: Any) -> QuarantineCode | None:
        home = row.state.fields.get("house_id")
        return QuarantineCode.INVALID if home not in {*houses, None} else refusal(batch, known, row)

    def applied(batch: Batch, known: Known, *given: Any, **named: Any) -> None:
        houses.add(str(known.id))
        apply(batch, known, *given, **named)

    patch.setattr(core, "_refusal", refused)
    patch.setattr(core, "_apply", applied)


def without_links(patch: pytest.MonkeyPatch) -> None:
    """Rule 12: what a record refers to is not kept where it can be found."""
    patch.setattr(records, "link_index", lambda *_: None)


def deaf(patch: pytest.MonkeyPatch) -> None:
    """Rule 14: no stream is poked, neither when PostgreSQL tells of a commit nor by the look at each heartbeat."""
    patch.setattr(Stream, "poke", lambda _: None)


def without_manifest(patch: pytest.MonkeyPatch) -> None:
    """Rule 15: the photos that a record names are not noted as parts of it."""
    patch.setattr(photos, "link_photos", lambda *_, **__: None)


def a_clients_test(world: World, folder: Path, patch: pytest.MonkeyPatch) -> None:
    with test_sync_client.devices_of(world, folder) as make:
        test_sync_client.test_a_person_may_arrive_before_the_house_he_lives_in(make)


def of_versions(world: World, folder: Path, patch: pytest.MonkeyPatch) -> None:
    test_sync_versions.test_an_older_client_neither_sees_nor_loses_what_it_does_not_know(
        test_sync_versions.pair_of(world)
    )


def of_two_at_once(world: World, folder: Path, patch: pytest.MonkeyPatch) -> None:
    test_sync_order.test_a_create_repeated_while_the_first_is_under_way_is_one(world, patch)


def of_references(world: World, folder: Path, patch: pytest.MonkeyPatch) -> None:
    test_sync_dangling.test_a_reference_dangles_until_its_house_comes_and_again_when_it_goes(world)


def of_pokes(world: World, folder: Path, patch: pytest.MonkeyPatch) -> None:
    test_sync_stream.test_a_push_pokes_who_holds_its_grid(world)


def of_completeness(world: World, folder: Path, patch: pytest.MonkeyPatch) -> None:
    test_media_photos.test_a_record_names_a_photo_before_or_after_it_arrives(world.handheld(), drain_jobs)


CASES: Sequence[tuple[Plant, Proof, str]] = (
    (without_locks, of_two_at_once, "50[03]"),
    (one_form_for_all, of_versions, "isdisjoint"),
    (absent_is_removed, of_versions, "inflow_reason"),
    (houses_first, a_clients_test, "not enough values"),
    (without_links, of_references, r"assert \[\] =="),
    (deaf, of_pokes, "no word of the push"),
    (without_manifest, of_completeness, r"\(3, 0, False\)"),
)


@pytest.mark.parametrize(("plant", "proof", "said"), CASES)
def test_a_rule_switched_off_turns_its_test_red(
    plant: Plant, proof: Proof, said: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, LookupError, ValueError), match=said):
        proof(world, tmp_path, monkeypatch)
