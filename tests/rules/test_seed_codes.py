"""The seeded code tables agree with each other: what one file names, another one holds."""

import json
from typing import Any

from backend.core.enums import ClockKind, Kind, VerdictKind
from backend.seed.territory import DATA, divisions, rows_of

NO_CASE = {VerdictKind.MATCH, VerdictKind.ACCEPTED}


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DATA / "routing_rules.json").read_text(encoding="utf-8"))
    return found


def test_every_standard_names_a_class_of_its_scheme_and_a_known_clock() -> None:
    classes = {(row["scheme"], row["code"]) for row in rows_of("event_classes.csv")}
    kinds = {str(kind) for kind in Kind} | {""}
    for row in rows_of("registration_standards.csv"):
        assert row["limit_clock"] in set(ClockKind)
        assert int(row["limit_amount"]) > 0
        if row["scheme"] == "verification":
            assert row["class_code"] in kinds
        elif row["class_code"]:
            assert (row["scheme"], row["class_code"]) in classes


def test_every_class_has_a_default_standard() -> None:
    standards = {(row["scheme"], row["class_code"]) for row in rows_of("registration_standards.csv")}
    for row in rows_of("event_classes.csv"):
        if not row["parent_code"]:
            assert (row["scheme"], row["code"]) in standards


def test_every_subclass_belongs_to_a_class_that_its_code_begins_with() -> None:
    classes = {(row["scheme"], row["code"]) for row in rows_of("event_classes.csv")}
    for row in rows_of("event_classes.csv"):
        if row["parent_code"]:
            assert row["code"].startswith(row["parent_code"])
            assert (row["scheme"], row["parent_code"]) in classes


def test_every_routing_rule_names_a_queue_a_standard_and_known_verdicts() -> None:
    queues = {row["code"] for row in rows_of("case_queues.csv")} | {"district", "worker"}
    standards = {(row["scheme"], row["code"]) for row in rows_of("registration_standards.csv")}
    assert [rule["id"] for rule in rules()] == sorted({rule["id"] for rule in rules()})
    for rule in rules():
        assert rule["queue"] in queues
        assert tuple(rule["standard"]) in standards
        assert set(rule["when"]["verdict"]) <= set(VerdictKind)
        assert rule["when"].keys() <= {"kind", "verdict", "class_prefix", "severity", "urgent", "source_type"}


def test_every_verdict_that_needs_action_reaches_some_queue_and_no_other_does() -> None:
    for kind in (Kind.PERSON, Kind.HOUSE, Kind.ORGANISATION, Kind.COMPONENT):
        reached = {v for rule in rules() if rule["when"].get("kind") in (None, kind) for v in rule["when"]["verdict"]}
        assert reached == set(VerdictKind) - NO_CASE, kind


def test_every_event_that_is_accepted_reaches_a_queue_whatever_its_class() -> None:
    last = [rule for rule in rules() if rule["when"].get("kind") == "event" and "accepted" in rule["when"]["verdict"]][
        -1
    ]
    assert last["when"].keys() == {"kind", "verdict"}


def test_each_district_has_a_queue_of_its_own() -> None:
    queues = {row["code"]: row["territory_code"] for row in rows_of("case_queues.csv")}
    for unit in divisions():
        if unit.level == "district":
            assert queues[f"12345-{unit.code}"] == unit.code


def test_queues_and_datasets_name_known_departments() -> None:
    departments = {row["code"] for row in rows_of("departments.csv")}
    for row in (*rows_of("case_queues.csv"), *rows_of("datasets.csv")):
        assert row["department_code"] in departments
