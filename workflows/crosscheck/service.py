"""Checks entries and writes what was found: one verdict for each version of an entry and version of the rules."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from backend.core.enums import Kind
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

Snapshots = Mapping[str, dict[str, str]]
"""By dataset, the snapshot that a check read: its id and when it was taken."""


class NoRuleSet(ZhiwangError):
    """The check waits, and is repeated, until an administrator activates a rule set."""

    code = "no_rule_set"
    status = 503
    title_zh = "没有启用的比对规则，请联系管理员"
    title_en = "No rule set of the cross-check is active"


@dataclass(frozen=True, slots=True)
class Checked:
    """A batch of checks as it is written: what was decided, on which snapshots, by which rules, when, and in which run
    where it was made again."""

    decided: Sequence[tuple[Entry, Decision]]
    snapshots: Snapshots
    rule_version: int
    at: datetime
    recheck_id: UUID | None = None


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
    write(session, Checked(decided, gathered.snapshots, version, at))
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
    query = select(*key).where(
        tuple_(*key).in_(list(wanted)),
        Verdict.rule_version == rule_version,
        col(Verdict.superseded_at).is_(None),
    )
    done = {(source_type, source_id, version) for source_type, source_id, version in session.exec(query).all()}
    return [source for key, source in wanted.items() if key not in done]


def write(session: Session, checked: Checked) -> int:
    """One statement for all verdicts; gives how many were written. What another run wrote meanwhile stays, with the
    case that follows from it."""
    if not checked.decided:
        return 0
    vault = Vault(session)
    parts = [parts_of(entry, decision, checked.snapshots) for entry, decision in checked.decided]
    vault.provide(part.subject for some in parts for part in some)
    common = {"rule_version": checked.rule_version, "created_at": checked.at, "recheck_id": checked.recheck_id}
    rows = []
    for (entry, decision), some in zip(checked.decided, parts, strict=True):
        verdict_id = new_id()
        evidence = vault.seal(some, context=verdict_id.bytes)
        rows.append(common | _row(entry, decision, checked.snapshots) | {"id": verdict_id, "evidence": evidence})
    table: Table = Verdict.__table__  # type: ignore[attr-defined]
    statement = insert(table).values(rows).on_conflict_do_nothing().returning(table.c.id)
    written = set(session.connection().execute(statement).scalars())
    _hand_on(session, [row for row in rows if row["id"] in written])
    return len(written)


def named(kind: Kind, snapshots: Snapshots) -> dict[str, dict[str, str]]:
    """The snapshots that a verdict on a kind is based on."""
    read = DATASET_OF.get(kind, "")
    return {read: snapshots[read]} if read in snapshots else {}


def _row(entry: Entry, decision: Decision, snapshots: Snapshots) -> dict[str, Any]:
    return {
        "source_type": entry.source.type,
        "source_id": entry.source.id,
        "source_version": entry.source.version,
        "kind": entry.kind,
        "grid_id": entry.grid_id,
        "verdict": decision.verdict,
        "findings": [finding.value for finding in decision.findings],
        "score": decision.score,
        "snapshots": named(entry.kind, snapshots),
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
        **({"recheck": str(row["recheck_id"])} if row["recheck_id"] else {}),
    }
