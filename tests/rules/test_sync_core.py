"""The sync's decisions without I/O: what a caller is shown, and how far he is."""

import json
from decimal import Decimal
from unittest.mock import create_autospec
from uuid import UUID

import pytest

from backend.core.enums import Kind
from backend.core.ids import new_id
from sync.checkpoints import Checkpoint, FeedReader, Lost, next_page, read_checkpoint
from sync.core import visible
from sync.known import Known, Version
from sync.rules import State

GRID = "440310001001001"


@pytest.mark.parametrize("hidden", [False, True])
def test_a_document_that_was_hidden_when_it_was_read_is_no_empty_document_in_a_grid_regained_since(
    hidden: bool,
) -> None:
    """Its content was never read: shown as it stands it would blank the caller's copy."""
    state = State({} if hidden else {"grid_id": GRID, "address": "合成路1号"})
    known = Known(new_id(), Kind.HOUSE, Version(3, UUID(int=7), GRID, state), hidden=hidden)
    shown = visible(Kind.HOUSE, known, grids=frozenset({GRID}), op=UUID(int=8))
    assert shown["_deleted"] is hidden
    assert shown["address"] == ("" if hidden else "合成路1号")


def test_a_checkpoint_comes_back_as_it_was_from_a_client_whose_numbers_are_floats() -> None:
    """As JavaScript's are, which writes 2**62 as 4611686018427388000: too much when it comes back."""
    lost = {GRID: Lost(2, was_there=True)}
    reader = create_autospec(FeedReader, instance=True)
    reader.left.return_value = []
    _, place = next_page(Checkpoint(), held={}, lost=lost, reader=reader, limit=10)
    written = json.dumps(place.to_wire())
    through = json.dumps(json.loads(written, parse_int=lambda digits: int(Decimal(repr(float(digits))))))
    assert read_checkpoint(through) == place
