"""What a record gets from its duplicate, and that it can be given back."""

from hypothesis import given
from hypothesis import strategies as st

from backend.core.enums import Kind
from backend.kinds import KINDS
from backend.kinds.base import Document
from sync.join_rules import changed, joined, restored

PERSON, HOUSE = KINDS[Kind.PERSON], KINDS[Kind.HOUSE]


def test_the_survivor_keeps_what_it_has_and_gets_what_it_lacks() -> None:
    mine = {"grid_id": "a", "name": "甲", "phone": "1", "sex": None}
    other = {"grid_id": "b", "name": "乙", "sex": "male", "employer": "x", "captured_at": "t", "education": None}
    assert joined(PERSON, mine, other) == {**mine, "sex": "male", "employer": "x"}
    assert joined(PERSON, mine, other, take=["name"])["name"] == "乙"


def test_members_of_both_come_together_and_the_survivors_stand() -> None:
    mine = {"tenants": [{"id": "p", "name": "甲"}], "hazards": ["a"]}
    other = {"tenants": [{"id": "p", "name": "x"}, {"id": "q"}], "hazards": ["b"]}
    result = joined(HOUSE, mine, other)
    assert result["tenants"] == [{"id": "p", "name": "甲"}, {"id": "q"}]
    assert result["hazards"] == ["a"], "a list that is one value is not mixed"


values = st.sampled_from(["a", "b", None, 1])
documents = st.dictionaries(st.sampled_from(["name", "phone", "sex", "grid_id"]), values, max_size=4)


@given(documents, documents, documents)
def test_what_a_join_changed_is_given_back_unless_somebody_changed_it(
    mine: Document, other: Document, later: Document
) -> None:
    after = joined(PERSON, mine, other)
    assert restored(mine, after, after) == mine
    touched = set(changed(mine, after))
    untouched = {name: value for name, value in later.items() if name not in touched}
    now = {**after, **untouched}
    assert restored(mine, after, now) == {**mine, **untouched}
    for name in touched:
        assert restored(mine, after, {**after, name: "somebody else's"}) is None
