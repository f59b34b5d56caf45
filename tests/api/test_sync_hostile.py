"""Bad input against the real calls: a clear code each, never a fault of ours, never another person's document.

The strategies draw what a broken or hostile client sends: huge and deep values, doubled keys, NaN, lone surrogates,
NUL, wrong types, unknown kinds and grids, ids of others, checkpoints of nobody.
"""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.core.errors import Malformed
from sync.checkpoints import read_checkpoint
from tests.world import Handheld, Json, World, document

SECRET = "绝密姓名"
EXAMPLES = 120
HOSTILE = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

SCALARS = st.sampled_from(
    [None, True, 0, -1, 1.5, 2**53, 2**70, 10**400, 1e308, "", "\0", "\ud800", "x" * 5000, "440310001001001"]
)
NAMES = st.sampled_from(
    [
        "id",
        "op",
        "rev",
        "_deleted",
        "grid_id",
        "name",
        "photos",
        "location",
        "house_id",
        "birth_date",
        "\0",
        "\ud800",
        "",
    ]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
)
RAW = st.sampled_from(
    [
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"[" * 3000 + b"]" * 3000,
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        b'"\\ud800"',
        b'"\\u0000"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"9" * 5000,
        b'"' + b"x" * 300_000 + b'"',
        b'"a\\"]},{b"',
        b"",
        b"}",
    ]
)


class Scene:
    """A worker, what he holds, and a stranger's record that nobody may show him."""

    def __init__(self, world: World) -> None:
        self.client = world.client
        self.one = world.handheld()
        others = map(world.handheld, world.workers()[1:])
        self.stranger = next(other for other in others if set(other.grids()).isdisjoint(self.one.grids()))
        self.mine = document(self.one.grids()[0], name="合成")
        self.foreign = document(self.stranger.grids()[0], name=SECRET)
        self.one.push("person", self.mine)
        self.stranger.push("person", self.foreign)

    def check(self, answer: Any) -> None:
        """A clear code or an answer, and nothing of the stranger's."""
        assert answer.status_code < 500, answer.text[:500]
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"]
        assert SECRET not in json.dumps(answer.json(), ensure_ascii=False)

    def intact(self) -> None:
        """The stranger's record is what it was, and who works honestly still can."""
        (held,) = [one for one in self.pulled(self.stranger) if one["id"] == self.foreign["id"]]
        assert held["name"] == SECRET
        assert self.one.push("person", document(self.one.grids()[0], name="合成")) == []

    def pulled(self, handheld: Handheld) -> list[Json]:
        handheld.checkpoints.clear()
        return handheld.pull("person")


@pytest.fixture
def scene(world: World) -> Iterator[Scene]:
    found = Scene(world)
    yield found
    found.intact()


def rows(scene: Scene) -> st.SearchStrategy[Any]:
    """Rows that begin as good ones, about records of one's own, of others, or new, and are then broken."""
    ids = st.sampled_from([scene.mine["id"], scene.foreign["id"], str(uuid4()), scene.mine["id"].upper(), "x", 3, None])
    ops = st.sampled_from([scene.mine["op"], scene.foreign["op"], str(uuid4()), "x", None])
    grids = st.sampled_from([scene.mine["grid_id"], scene.foreign["grid_id"], "000000000000000", "x", None])
    state = st.fixed_dictionaries(
        {"id": ids, "op": ops, "grid_id": grids, "name": st.just("改") | VALUES},
        optional={
            "_deleted": st.booleans() | VALUES,
            "rev": VALUES,
            "photos": VALUES,
            "birth_date": VALUES,
            "x": VALUES,
        },
    )
    row = st.fixed_dictionaries({"newDocumentState": state | VALUES}, optional={"assumedMasterState": state | VALUES})
    return row | VALUES


def test_hostile_rows_never_fail_the_batch(scene: Scene) -> None:
    @HOSTILE
    @given(st.lists(rows(scene), max_size=4), st.sampled_from(["person", "house", "event"]))
    def run(drawn: list[Any], kind: str) -> None:
        body = json.dumps({"rows": drawn})
        answer = scene.client.post(f"/sync/v1/{kind}/push", content=body, headers=scene.one.headers)
        scene.check(answer)
        assert answer.status_code == 200, answer.text

    run()
    scene.check(scene.client.get("/sync/v1/outcomes", headers=scene.one.headers))


def test_one_row_of_hostile_bytes_never_costs_the_others(scene: Scene) -> None:
    """The good row after it goes in, wherever the body as a whole can be cut into rows."""

    @HOSTILE
    @given(RAW, st.sampled_from(["value", "field", "row", "doubled"]))
    def run(raw: bytes, place: str) -> None:
        good = document(scene.one.grids()[0], name="合成")
        bad = document(scene.one.grids()[0], name="坏")
        text = json.dumps(bad).encode()
        state = {
            "value": text.replace(json.dumps("坏").encode(), raw),
            "field": text[:-1] + b',"extra":' + raw + b"}",
            "row": raw,
            "doubled": text[:-1] + b',"name":' + raw + b',"id":"' + good["id"].encode() + b'"}',
        }[place]
        body = b'{"rows":[{"newDocumentState":' + state + b'},{"newDocumentState":' + json.dumps(good).encode() + b"}]}"
        answer = scene.client.post("/sync/v1/person/push", content=body, headers=scene.one.headers)
        scene.check(answer)
        if answer.status_code == 200:
            mine = {one["id"] for one in scene.pulled(scene.one) if not one["_deleted"]}
            assert place == "doubled" or good["id"] in mine
        else:
            assert answer.json()["code"] in ("not_json", "malformed")

    run()


def test_any_body_has_a_clear_code(scene: Scene) -> None:
    @HOSTILE
    @given(
        st.binary(max_size=200) | RAW | VALUES.map(lambda value: json.dumps(value).encode()),
        st.sampled_from(["/sync/v1/person/push", "/sync/v1/receipt", "/sync/v1/secret/push", "/sync/v1/case/push"]),
    )
    def run(body: bytes, path: str) -> None:
        answer = scene.client.post(path, content=body, headers=scene.one.headers)
        scene.check(answer)

    run()


def checkpoints(scene: Scene) -> st.SearchStrategy[Any]:
    grids = st.sampled_from([scene.mine["grid_id"], scene.foreign["grid_id"], "000000000000000", "x", ""])
    numbers = st.sampled_from([0, 1, -1, 2**31, 2**62, 2**63, 10**30, 1.5, None, "1", True])
    ids = st.sampled_from([str(UUID(int=0)), scene.foreign["id"], "x", None])
    return st.fixed_dictionaries(
        {
            "v": st.sampled_from([1, 1, 1, 2, "1", None]),
            "g": st.dictionaries(grids, st.tuples(numbers, numbers) | VALUES, max_size=3) | VALUES,
        },
        optional={"gone": st.dictionaries(grids, st.tuples(numbers, ids) | VALUES, max_size=3) | VALUES, "x": VALUES},
    )


def test_any_checkpoint_has_a_clear_code_and_shows_nobody_elses_record(scene: Scene) -> None:
    @HOSTILE
    @given(checkpoints(scene) | VALUES, st.sampled_from(["person", "event", "case", "task", "secret"]))
    def run(checkpoint: Any, kind: str) -> None:
        query = {"checkpoint": json.dumps(checkpoint), "limit": "500"}
        answer = scene.client.get(f"/sync/v1/{kind}/pull", params=query, headers=scene.one.headers)
        scene.check(answer)
        assert answer.status_code == 200 or answer.json()["code"] in ("malformed", "checkpoint_ahead")

    run()


def test_a_checkpoint_of_more_grids_than_a_city_has_is_refused(scene: Scene) -> None:
    some = {"v": 1, "g": {f"{number:015d}": [1, 1] for number in range(1_001)}}
    query = {"checkpoint": json.dumps(some)}
    answer = scene.client.get("/sync/v1/person/pull", params=query, headers=scene.one.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


def test_a_checkpoint_of_a_million_rows_is_none() -> None:
    """The address of a request is bounded long before; here it meets the reader itself."""
    rows = ",".join(f'"{number:015d}":[1,1]' for number in range(1_000_000))
    with pytest.raises(Malformed):
        read_checkpoint(f'{{"v":1,"g":{{{rows}}}}}')


def test_any_receipt_has_a_clear_code_and_confirms_nothing_of_others(scene: Scene) -> None:
    ids = st.sampled_from([scene.mine["id"], scene.foreign["id"], str(uuid4()), "x", None])
    hashes = st.sampled_from(["0" * 64, "f" * 63, "", None, 3])
    item = st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["person", "secret", 3]),
            "id": ids,
            "op": st.just(str(uuid4())) | ids,
            "hash": hashes,
        },
        optional={"x": VALUES},
    )

    @HOSTILE
    @given(st.dictionaries(st.sampled_from(["records", "photos", "x"]), st.lists(item | VALUES, max_size=3) | VALUES))
    def run(claimed: Any) -> None:
        answer = scene.client.post("/sync/v1/receipt", content=json.dumps(claimed), headers=scene.one.headers)
        scene.check(answer)
        if answer.status_code == 200:
            for record in answer.json()["records"]:
                assert record["state"] == "missing"

    run()


def test_any_header_has_a_clear_code(scene: Scene) -> None:
    values = ["", "x", "-1", "1e9", "9" * 400, "nan", "2026-99-99", "'; DROP TABLE document"]
    for header in ("X-Schema-Version", "X-Client-Time", "X-Waiting", "X-Sync-Epoch"):
        for value, ask in product(values, ("person/pull", "person/digest", "stream")):
            answer = scene.client.get(f"/sync/v1/{ask}", headers={**scene.one.headers, header: value})
            known = ("malformed", "epoch", "schema_too_old")
            assert answer.status_code == 200 or answer.json()["code"] in known, (header, value, answer.text)
