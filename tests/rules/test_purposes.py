"""Every personal field has a purpose, a legal basis and an end."""

import csv
from pathlib import Path

import pytest

from backend.core.enums import Kind
from backend.core.settings import PROJECT_ROOT
from backend.kinds import KINDS
from backend.services.purposes import LEGAL_BASES, WITHOUT_RULE, declared, purposes

RULES = PROJECT_ROOT / "backend" / "seed" / "data" / "retention_rules.csv"


def rule_codes(path: Path = RULES) -> set[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["code"] for row in csv.DictReader(file)}


def test_every_field_has_exactly_one_row_and_no_other_has() -> None:
    rows = [(row.thing, row.field) for row in purposes()]
    assert sorted(rows) == sorted(declared())
    assert {"owner.id_number", "tenants.phone", "location.lat"} <= {field for _, field in rows}


def test_a_new_field_needs_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    model = KINDS[Kind.PERSON].model
    monkeypatch.setitem(model.model_fields, "religion", model.model_fields["remark"])
    assert set(declared()) - {(row.thing, row.field) for row in purposes()} == {("person", "religion")}


def test_rows_say_something_that_exists() -> None:
    for row in purposes():
        assert row.purpose, row
        assert row.legal_basis in LEGAL_BASES, row
        assert row.retention in WITHOUT_RULE | rule_codes(), row
