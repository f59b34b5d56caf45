"""Brings seed data into the database: code tables and territory, demo accounts, and the departments' CSV drops."""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import chinese_calendar
from sqlalchemy import Engine, Table
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, SQLModel

from backend.core.clock import CITY_TIME, now
from backend.core.db import transaction
from backend.core.enums import LoadMode
from backend.core.settings import get_settings
from backend.models import (
    CalendarDay,
    CaseQueue,
    Dataset,
    Department,
    EventClass,
    FeedCounter,
    Grid,
    LinkModel,
    PhotoRuleSet,
    PrivacyNotice,
    RegistrationStandard,
    RetentionRule,
    RoutingRule,
    RuleSet,
    ServerState,
    TerritoryUnit,
)
from backend.seed import territory
from backend.seed.accounts import DemoLogin, demo_logins, seed_accounts
from backend.seed.drops import Progress, write_drops
from backend.services import registry
from backend.services.key_use import note_index_key
from backend.services.registry_specs import SPECS

GRIDS_START = datetime(2026, 1, 1, tzinfo=CITY_TIME).astimezone(UTC)
FIRST_DAY, LAST_DAY = date(2025, 1, 1), date(2026, 12, 31)
RULE_SET = "rule_set_1.json"
PHOTO_RULES = "photo_rules_1.json"
LINK_MODEL = "link_model_1.json"

Row = Mapping[str, Any]

__all__ = [
    "DemoLogin",
    "Imported",
    "Progress",
    "demo_logins",
    "import_file",
    "seed_accounts",
    "seed_all",
    "seed_code_tables",
    "street_office",
    "write_drops",
]


@dataclass(frozen=True, slots=True)
class Imported:
    """What a load of a file came to. `failure` is a code where the records there were stayed current."""

    snapshot_id: UUID
    accepted: int
    rejected: int
    failure: str | None


def seed_all(engine: Engine, *, scale: float, progress: Progress) -> None:
    """Code tables, demo accounts, and the synthetic drops of a scale through the product's own import.

    Safe to repeat: a dataset that has a current snapshot is not loaded again. In production only the code tables and
    the territory are written: nobody there wants synthetic people, or accounts whose password is printed.
    """
    with transaction(engine) as session:
        progress("code tables", 0, 1)
        seed_code_tables(session)
        seed_accounts(session)
        progress("code tables", 1, 1)
        loaded = registry.current_snapshots(session)
    if get_settings().environment == "production" or SPECS.keys() <= loaded.keys():
        return
    drops = write_drops(get_settings().state_dir / "drops", scale, progress)
    for code, path in drops.items():
        if code not in loaded:
            import_file(engine, dataset=code, path=path, progress=progress)


def import_file(
    engine: Engine,
    *,
    dataset: str,
    path: Path,
    fewer: bool = False,
    mode: LoadMode = LoadMode.FULL,
    progress: Progress | None = None,
) -> Imported:
    """Load a file as the dataset's new snapshot, in a transaction of its own. `NotFound` for an unknown dataset.

    `fewer`: half as many rows, or a column less, are meant. `mode`: a whole file, or what changed.
    """

    def count(done: int, total: int) -> None:
        if progress is not None:
            progress(f"import {dataset}", done, total)

    with transaction(engine) as session:
        snapshot = registry.import_path(
            session, dataset, path, actor="command_line", fewer=fewer, mode=mode, progress=count
        )
        return Imported(snapshot.id, snapshot.accepted, snapshot.rejected, snapshot.failure)


def seed_code_tables(session: Session) -> None:
    """Write all code tables and the territory. Safe to repeat: wording is brought up to date, history stays.

    Grids, feed counters, the rule set and the server's epoch are written once and never changed from here: a grid
    may have ended, a rule version has given verdicts, and an epoch stands for one line of history.
    """
    _write(session, TerritoryUnit, _territory_units())
    _write(session, Department, _departments())
    _write(session, Grid, _grids(), keep=True)
    _write(session, FeedCounter, ({"grid_id": grid.id, "seq": 0} for grid in territory.grids()), keep=True)
    _write(session, EventClass, ({**row, "parent_code": row["parent_code"] or None} for row in _csv("event_classes")))
    _write(session, CaseQueue, _csv("case_queues"))
    _write(session, RegistrationStandard, _standards())
    _write(session, RoutingRule, _routing_rules())
    _write(session, RetentionRule, _retention_rules(), keep=True)
    _write(session, PrivacyNotice, _privacy_notices(), keep=True)
    _write(session, CalendarDay, _calendar())
    _write(session, Dataset, _datasets(), keep=True)
    _write(session, RuleSet, [_rule_set(RULE_SET)], keep=True)
    _write(session, PhotoRuleSet, [_rule_set(PHOTO_RULES)], keep=True)
    _write(session, LinkModel, [_rule_set(LINK_MODEL)], keep=True)
    _write(session, ServerState, [{"name": "epoch", "value": secrets.token_hex(8)}], keep=True)
    note_index_key(session)


def street_office(street_code: str) -> str:
    """The department code of a street's office."""
    return f"street-{street_code}"


def _write(session: Session, model: type[SQLModel], rows: Iterable[Row], *, keep: bool = False) -> None:
    """Insert rows; where the key exists, update the other columns, or with `keep` leave the row as it is."""
    values = list(rows)
    table: Table = model.__table__  # type: ignore[attr-defined]
    statement = insert(table)
    others = {name: statement.excluded[name] for name in values[0] if name not in table.primary_key.columns}
    keys = [column.name for column in table.primary_key.columns]
    if keep or not others:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    else:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=others)
    session.connection().execute(statement, values)


def _datasets() -> Iterator[Row]:
    """What departments say of them later stays."""
    for row in _csv("datasets"):
        yield {**row, "columns": [], "refresh_days": int(row["refresh_days"])}


def _csv(name: str) -> Sequence[Row]:
    return territory.rows_of(f"{name}.csv")


def _territory_units() -> Iterable[Row]:
    for unit in territory.divisions():
        yield {
            "code": unit.code,
            "scheme": territory.SCHEME,
            "level": unit.level,
            "name": unit.name,
            "parent_code": unit.parent_code,
        }


def _departments() -> Iterable[Row]:
    yield from _csv("departments")
    for unit in territory.divisions():
        if unit.level == "street":
            yield {"code": street_office(unit.code), "name": _office_name(unit.name), "territory_code": unit.code}


def _office_name(street: str) -> str:
    return f"{street}办事处" if street.endswith("街道") else f"{street}管理处"


def _grids() -> Iterable[Row]:
    for grid in territory.grids():
        yield {
            "id": grid.id,
            "name": grid.name,
            "community_code": grid.community_code,
            "responsible_unit": street_office(grid.id[:9]),
            "polygon": grid.geojson(),
            "synthetic": True,
            "starts_at": GRIDS_START,
        }


def _standards() -> Iterable[Row]:
    for row in _csv("registration_standards"):
        yield {**row, "limit_amount": int(row["limit_amount"]), "urgent": row["urgent"] == "1"}


def _privacy_notices() -> Iterable[Row]:
    """Written once: people were told these words."""
    for row in _csv("privacy_notices"):
        published = datetime.fromisoformat(row["published_at"])
        yield {**row, "version": int(row["version"]), "published_at": published}


def _retention_rules() -> Iterable[Row]:
    """Written once: how long things are kept is the city's to change."""
    return [{**row, "days": int(row["days"])} for row in _csv("retention_rules")]


def _routing_rules() -> Iterable[Row]:
    for rule in json.loads((territory.DATA / "routing_rules.json").read_text(encoding="utf-8")):
        scheme, code = rule["standard"]
        yield {
            "id": rule["id"],
            "position": rule["id"],
            "name": rule["name"],
            "conditions": rule["when"],
            "queue_code": rule["queue"],
            "standard_scheme": scheme,
            "standard_code": code,
            "active": True,
        }


def _calendar() -> Iterable[Row]:
    """Every day of the years the package knows for certain; other years count as Monday to Friday."""
    for offset in range((LAST_DAY - FIRST_DAY).days + 1):
        day = FIRST_DAY + timedelta(days=offset)
        free, holiday = chinese_calendar.get_holiday_detail(day)
        name = chinese_calendar.Holiday(holiday).chinese if holiday else ""
        yield {"day": day, "is_working": not free, "name": name if free or not name else f"{name}调休上班"}


def _rule_set(name: str) -> Row:
    rules = json.loads((territory.DATA / name).read_text(encoding="utf-8"))
    return {"version": 1, "active": True, "rules": rules, "created_at": now()}
