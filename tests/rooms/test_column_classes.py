"""What each column holds is written down: a column that nobody has thought about fails here.

Classes of `backend/models/classes.csv`: `sealed` under a subject's or a master key; `index`, a keyed hash or an id that
names a subject; `digest`, a hash that only tells equal from different; `coarse`, a place too wide for a home; `staff`,
readable personal data of people who work here; `secret`, a hash of a password; `public`, nobody's personal data;
`code`, ids and words of ours; `time`; `number`.
"""

import csv

import pytest
from sqlalchemy import create_engine, pool, text
from sqlmodel import Session

from backend.core.db import dialect_url, engine_for
from backend.core.settings import PROJECT_ROOT, get_settings

TABLE = PROJECT_ROOT / "backend" / "models" / "classes.csv"
HIDDEN = {"sealed", "index", "digest"}
READABLE = {"public", "code", "coarse", "staff", "secret", "time", "number"}

Column = tuple[str, str]


def written() -> dict[Column, tuple[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["table"], row["column"]): (row["class"], row["why"]) for row in rows}
    assert len(found) == len(rows), "a column is classed twice"
    return found


def columns() -> dict[Column, str]:
    """Every column of every table of ours, with its type."""
    query = text(
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name <> 'alembic_version'"
    )
    with Session(engine_for("zw_worker")) as session:
        return {(row.table_name, row.column_name): row.data_type for row in session.connection().execute(query)}


def test_every_column_has_exactly_one_class(session: Session) -> None:
    assert columns().keys() ^ written().keys() == set()
    assert {name for name, _ in written().values()} <= HIDDEN | READABLE


def test_a_new_column_has_to_be_classed(database: str) -> None:
    owner = create_engine(dialect_url(get_settings().migration_url()), poolclass=pool.NullPool)
    with owner.begin() as connection:
        connection.execute(text("ALTER TABLE document ADD COLUMN nickname text"))
    assert columns().keys() - written().keys() == {("document", "nickname")}


def test_what_is_sealed_is_bytes_and_bytes_are_not_readable(session: Session) -> None:
    types, classes = columns(), written()
    for column, (name, _) in classes.items():
        if name == "sealed":
            assert types[column] == "bytea", column
        if types[column] == "bytea":
            assert name in HIDDEN, column


def test_json_and_text_that_could_hold_anything_say_why_they_do_not(session: Session) -> None:
    unexplained = [
        column
        for column, kind in columns().items()
        if kind == "json" and not written()[column][1] and written()[column][0] != "public"
    ]
    assert unexplained == []
    for column, (name, why) in written().items():
        if name in {"coarse", "staff", "digest"}:
            assert why, column


@pytest.mark.parametrize(
    "column",
    [
        ("document", "sealed"),
        ("document_version", "sealed"),
        ("mutation", "pushed"),
        ("conflict", "sides"),
        ("quarantine", "payload"),
        ("verdict", "evidence"),
        ("wechat_message", "raw"),
        ("report", "sealed"),
        ("citizen", "openid"),
        ("photo", "claims"),
        ("case_step", "note"),
        ("business_record", "sealed"),
        ("unmasking", "note"),
    ],
)
def test_every_copy_of_personal_data_is_sealed(column: Column) -> None:
    assert written()[column][0] == "sealed"
