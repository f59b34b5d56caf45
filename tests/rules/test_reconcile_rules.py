"""The model of likeness as data, what is chosen of scored pairs, how grids are packed, and charts that run nothing."""

import json
from xml.etree import ElementTree as ET

import pytest
from pydantic import ValidationError

from backend.core.enums import Kind, ReconciliationPhase
from backend.core.settings import PROJECT_ROOT
from backend.services.registry_specs import SPECS
from workflows.reconcile.charts import Bar, bars
from workflows.reconcile.features import fields_of, frame, written
from workflows.reconcile.rules import Models, Pair, chosen, common_code, compared, next_phase, packed, settings_of

MODEL = json.loads((PROJECT_ROOT / "backend" / "seed" / "data" / "link_model_1.json").read_text(encoding="utf-8"))


def pair(document: str, record: int, weight: float, probability: float = 0.99) -> Pair:
    return Pair(document=document, record=record, weight=weight, probability=probability)


def links(*pairs: Pair) -> set[tuple[str, int]]:
    return {(one.document, one.record) for one in chosen(pairs, accept=0.95, margin=3)}


def test_every_dataset_has_a_model_whose_shares_sum_to_one() -> None:
    models = Models.model_validate(MODEL)
    for spec in SPECS.values():
        assert spec.kind is not None
        model = models.of(spec.kind)
        for one in model.comparisons:
            assert sum(level.m for level in one.levels) + one.m == pytest.approx(1, abs=1e-6), (spec.code, one.name)
            assert sum(level.u for level in one.levels) + one.u == pytest.approx(1, abs=1e-3), (spec.code, one.name)


def test_every_field_of_a_model_is_a_column_of_its_dataset() -> None:
    models = Models.model_validate(MODEL)
    for spec in SPECS.values():
        assert spec.kind is not None
        columns, model = {column.name for column in spec.columns}, models.of(spec.kind)
        assert {feature.of for feature in model.features.values()} | model.compared.keys() <= columns, spec.code


def test_a_model_that_names_no_feature_or_holds_sql_is_refused() -> None:
    for changed in ({"blocking": [["nobody"]]}, {"features": {"a; drop table x": {"of": "name"}}}):
        with pytest.raises(ValidationError):
            Models.model_validate(MODEL | {"person": MODEL["person"] | changed})


def test_levels_become_conditions_that_both_engines_read() -> None:
    settings = settings_of(Models.model_validate(MODEL).of(Kind.COMPONENT))
    (place,) = [one for one in settings["comparisons"] if one["output_column_name"] == "place"]
    assert [level["sql_condition"] for level in place["comparison_levels"]] == [
        "lat_l IS NULL OR lat_r IS NULL OR lon_l IS NULL OR lon_r IS NULL",
        "abs(lat_l - lat_r) <= 500 AND abs(lon_l - lon_r) <= 500",
        "abs(lat_l - lat_r) <= 3000 AND abs(lon_l - lon_r) <= 3000",
        "ELSE",
    ]


def test_a_link_is_likely_and_the_best_of_both_its_ends_by_the_margin() -> None:
    assert links(pair("a", 1, 20), pair("a", 2, 10), pair("b", 2, 20)) == {("a", 1), ("b", 2)}
    assert links(pair("a", 1, 20, probability=0.9)) == set(), "not likely enough"
    assert links(pair("a", 1, 20), pair("a", 2, 18)) == set(), "two records come into question"
    assert links(pair("a", 1, 20), pair("b", 1, 18)) == set(), "two documents do"
    assert links(pair("a", 1, 20), pair("b", 1, 17)) == {("a", 1)}, "the margin itself is enough"


def test_neighbouring_grids_share_a_partition_until_it_is_full() -> None:
    assert packed([("a", 3), ("b", 3), ("c", 9), ("d", 1)], 6) == {"a": 0, "b": 0, "c": 1, "d": 2}
    assert packed([], 6) == {}


def test_who_sees_what_all_grids_lie_in_sees_the_run() -> None:
    assert common_code(["440310001", "440310002", "440305001"]) == "4403"
    assert common_code(["440310001"]) == "440310001"


def test_phases_follow_one_another_to_the_end() -> None:
    seen = [phase := ReconciliationPhase.KEYS]
    while (following := next_phase(phase)) is not None:
        seen.append(phase := following)
    assert seen == list(ReconciliationPhase)


def test_two_ways_of_writing_are_no_disagreement() -> None:
    methods = {"name": "plain", "phone": "digits", "registered_address": "address", "sex": "plain"}
    mine = {"name": "张 三丰", "phone": "+86 138-0000-1234", "registered_address": "示例路１号2幢", "sex": "male"}
    theirs = {"name": "张三丰", "phone": "13800001234", "registered_address": "示例路1号2栋"}
    judged = compared(fields_of(methods, mine), fields_of(methods, theirs))
    assert judged == {"name": False, "phone": False, "registered_address": False}, "sex is filled on one side only"
    assert compared({"name": "张"}, {"name": "章"}) == {"name": True}


def test_sounds_surnames_and_numbers_are_taken_out_of_texts() -> None:
    assert (written("sound", "张三丰"), written("surname", "欧阳锋")) == ("zhang san feng", "欧阳")
    assert written("numbers", "示例路１号02栋301") == "1 2 301"
    assert [written("integer", value) for value in (7, True, "7")] == [7, None, None]
    model = Models.model_validate(MODEL).of(Kind.PERSON)
    row = frame(model, [("k", {"name": "张三", "birth_date": ""})]).row(0, named=True)
    assert (row["row_key"], row["surname"], row["birth"], row["phone"]) == ("k", "张", None, None)


def test_a_chart_shows_shares_as_lengths_and_escapes_what_it_is_given() -> None:
    drawn = bars('<a> & "b"', ["x", "y"], [Bar("<script>", [0.5, 0.25], "3 / 4")])
    root = ET.fromstring(drawn)
    widths = [float(one.get("width", "0")) for one in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths == [10, 10, 165, 82.5]
    assert "<script>" not in drawn
    assert "style" not in drawn
    assert "nothing to show" in bars("t", [], [])
