"""Checks entries and writes what was found: one verdict for each version of an entry and version of the rules."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Table, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import CITY_TIME, now
from backend.core.errors import ZhiwangError
from backend.core.ids import new_id
from backend.models import RuleSet, Verdict
from backend.services import audit
from backend.services.sealing import Vault
from workflows.crosscheck.entries import load
from workflows.crosscheck.evidence import parts_of
from workflows.crosscheck.facts import DATASET_OF, Decision, Entry, Source
from workflows.crosscheck.lookup import gather
from workflows.crosscheck.rules import decide
from workflows.crosscheck.ruleset import Rules

ACTOR = "workflows.crosscheck"
NEXT = "workflows.cases.consider"


class NoRuleSet(ZhiwangError):
    """The check waits, and is repeated, until an administrator activates a rule set."""

    code = "no_rule_set"
    status = 503
    title_zh = "没有启用的比对规则，请联系管理员"
    title_en = "No rule set of the cross-check is active"


def check(session: Session, sources: Iterable[Source]) -> dict[Source, str]:
    """Check versions of entries against the business records in force, by the active rule set.

    Sources that have their verdict already are left as they are. Gives the sources that cannot be checked and why.
    """
    version, rules = active_rules(session)
    loaded = load(session, _without_verdict(session, sources, version))
    if not loaded.entries:
        return loaded.refused
    gathered = gather(session, loaded.entries, rules)
    at = now().astimezone(CITY_TIME)
    decided = [(entry, decide(entry, gathered.known[entry.source], rules, at=at)) for entry in loaded.entries]
    _write(session, decided, gathered.snapshots, version, at)
    return loaded.refused


def active_rules(session: Session) -> tuple[int, Rules]:
    """The rule set in force and its version. `NoRuleSet` where none is."""
    query = select(RuleSet).where(col(RuleSet.active)).order_by(col(RuleSet.version).desc())
    active = session.exec(query).first()
    if active is None:
        raise NoRuleSet
    return active.version, _parsed(msgspec.json.encode(active.rules))


@lru_cache(maxsize=4)
def _parsed(rules: bytes) -> Rules:
    return Rules.model_validate_json(rules)


def _without_verdict(session: Session, sources: Iterable[Source], rule_version: int) -> list[Source]:
    wanted = {(source.type, source.id, source.version): source for source in sources}
    key = (col(Verdict.source_type), col(Verdict.source_id), col(Verdict.source_version))
    query = select(*key).where(tuple_(*key).in_(list(wanted)), Verdict.rule_version == rule_version)
    done = {(source_type, source_id, version) for source_type, source_id, version in session.exec(query).all()}
    return [source for key, source in wanted.items() if key not in done]


def _write(
    session: Session,
    decided: list[tuple[Entry, Decision]],
    snapshots: Mapping[str, dict[str, str]],
    rule_version: int,
    at: datetime,
) -> None:
    """One statement for all verdicts. What another run wrote meanwhile stays, with the case that follows from it."""
    vault = Vault(session)
    parts = [parts_of(entry, decision, snapshots) for entry, decision in decided]
    vault.provide(part.subject for some in parts for part in some)
    rows = []
    for (entry, decision), some in zip(decided, parts, strict=True):
        verdict_id = new_id()
        evidence = vault.seal(some, context=verdict_id.bytes)
        rows.append(_row(entry, decision, snapshots) | {"id": verdict_id, "evidence": evidence})
    common = {"rule_version": rule_version, "created_at": at}
    table: Table = Verdict.__table__  # type: ignore[attr-defined]
    statement = insert(table).values([row | common for row in rows]).on_conflict_do_nothing().returning(table.c.id)
    written = set(session.connection().execute(statement).scalars())
    _hand_on(session, [row | common for row in rows if row["id"] in written])


def _row(entry: Entry, decision: Decision, snapshots: Mapping[str, dict[str, str]]) -> dict[str, Any]:
    read = DATASET_OF.get(entry.kind, "")
    return {
        "source_type": entry.source.type,
        "source_id": entry.source.id,
        "source_version": entry.source.version,
        "kind": entry.kind,
        "grid_id": entry.grid_id,
        "verdict": decision.verdict,
        "findings": [finding.value for finding in decision.findings],
        "score": decision.score,
        "snapshots": {read: snapshots[read]} if read in snapshots else {},
    }


def _hand_on(session: Session, rows: list[dict[str, Any]]) -> None:
    """Audit what was written, and ask the case room to consider it."""
    audit.record_many(
        session,
        actor=ACTOR,
        action="checked",
        object_type="verdict",
        entries=[(str(row["id"]), _audited(row)) for row in rows],
    )
    jobs.enqueue_many(session, [jobs.NewJob(NEXT, str(row["id"]), {"verdict_id": str(row["id"])}) for row in rows])


def _audited(row: Mapping[str, Any]) -> dict[str, str | int]:
    source: UUID = row["source_id"]
    return {
        "source": f"{row['source_type']}:{source}",
        "source_version": row["source_version"],
        "rule_version": row["rule_version"],
        "verdict": row["verdict"],
    }
