"""Checks entries and writes what was found: one verdict for each version of an entry and version of the rules."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from sqlmodel import Session, col, select

from backend import jobs
from backend.core import statements
from backend.core.clock import CITY_TIME, now
from backend.core.enums import Kind, SourceType
from backend.core.errors import ZhiwangError
from backend.core.ids import new_id
from backend.models import RuleSet
from backend.services import audit, counterparts
from backend.services.sealing import Vault
from workflows.crosscheck.entries import load
from workflows.crosscheck.evidence import parts_of
from workflows.crosscheck.facts import DECLARATIONS, Decision, Entry, Source
from workflows.crosscheck.lookup import Gathered, SnapshotRef, gather
from workflows.crosscheck.rules import decide
from workflows.crosscheck.ruleset import Rules

ACTOR = "workflows.crosscheck"
NEXT = "workflows.cases.consider"

Snapshots = Mapping[Kind, Mapping[str, SnapshotRef]]
"""By kind of the entries, what a check read of each dataset."""

Requests = Mapping[Source, str | None]
"""The ids of the requests that asked for checks."""


class NoRuleSet(ZhiwangError):
    """The check waits, and is repeated, until an administrator activates a rule set."""

    code = "no_rule_set"
    status = 503
    title_zh = "没有启用的比对规则，请联系管理员"
    title_en = "No rule set of the cross-check is active"


@dataclass(frozen=True, slots=True)
class Checked:
    """A batch of checks as it is written: what was decided, on which snapshots, by which rules, when, and in which run
    where it was made again. `requests` asked for the checks, where they are not all the one of the context."""

    decided: Sequence[tuple[Entry, Decision]]
    snapshots: Snapshots
    rule_version: int
    at: datetime
    recheck_id: UUID | None = None
    requests: Requests | None = None


def check(session: Session, sources: Iterable[Source], *, requests: Requests | None = None) -> dict[Source, str]:
    """Check versions of entries against the business records in force, by the active rule set.

    Sources that have their verdict already are left as they are. Gives the sources that cannot be checked and why.
    """
    version, rules = active_rules(session)
    vault = Vault(session)
    loaded = load(session, _without_verdict(session, sources, version), vault=vault)
    if not loaded.entries:
        return loaded.refused
    gathered = gather(session, loaded.entries, rules, vault=vault)
    at = now().astimezone(CITY_TIME)
    decided = [(entry, decide(entry, gathered.known[entry.source], rules, at=at)) for entry in loaded.entries]
    write(session, Checked(decided, gathered.snapshots, version, at, requests=requests), vault=vault)
    _ask_for_counterparts(session, loaded.entries, gathered, requests or {})
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


def _ask_for_counterparts(session: Session, entries: Sequence[Entry], gathered: Gathered, requests: Requests) -> None:
    """Have declarations checked again that are about the same as a record that is new or has changed."""
    declared = [
        entry.source
        for entry in entries
        if any(other.dataset == DECLARATIONS for other in gathered.known[entry.source].others)
    ]
    asked = [counterparts.job(one.type, one.id, one.version, request_id=requests.get(one)) for one in declared]
    jobs.enqueue_many(session, asked)


def _without_verdict(session: Session, sources: Iterable[Source], rule_version: int) -> list[Source]:
    wanted = list(dict.fromkeys(sources))
    named = {
        "types": [source.type.value for source in wanted],
        "ids": [source.id for source in wanted],
        "versions": [source.version for source in wanted],
        "rules": rule_version,
    }
    rows = statements.rows(session, _IN_FORCE, named)
    done = {Source(SourceType(source_type), source_id, version) for source_type, source_id, version in rows}
    return [source for source in wanted if source not in done]


def write(session: Session, checked: Checked, *, vault: Vault | None = None) -> int:
    """One statement for all verdicts; gives how many were written. What another run wrote meanwhile stays, with the
    case that follows from it."""
    if not checked.decided:
        return 0
    vault = vault or Vault(session)
    parts = [parts_of(entry, decision, checked.snapshots[entry.kind]) for entry, decision in checked.decided]
    vault.provide(part.subject for some in parts for part in some)
    ids = [new_id() for _ in parts]
    evidence = [vault.seal(some, context=one.bytes) for one, some in zip(ids, parts, strict=True)]
    rows = statements.rows(session, _WRITE, {**_columns(checked), "ids": ids, "evidence": evidence})
    written = {verdict_id for (verdict_id,) in rows}
    made = [(one, *decided) for one, decided in zip(ids, checked.decided, strict=True) if one in written]
    _hand_on(session, checked, made)
    return len(written)


def _columns(checked: Checked) -> dict[str, Any]:
    """All values of the verdicts, a list for each column."""
    entries = [entry for entry, _ in checked.decided]
    decisions = [decision for _, decision in checked.decided]
    snapshots = {kind: _json(read) for kind, read in checked.snapshots.items()}
    return {
        "types": [entry.source.type.value for entry in entries],
        "sources": [entry.source.id for entry in entries],
        "versions": [entry.source.version for entry in entries],
        "kinds": [entry.kind.value for entry in entries],
        "grids": [entry.grid_id for entry in entries],
        "verdicts": [decision.verdict.value for decision in decisions],
        "findings": [_json([finding.value for finding in decision.findings]) for decision in decisions],
        "scores": [decision.score for decision in decisions],
        "snapshots": [snapshots[entry.kind] for entry in entries],
        "rules": checked.rule_version,
        "at": checked.at,
        "recheck": checked.recheck_id,
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _hand_on(session: Session, checked: Checked, made: Sequence[tuple[UUID, Entry, Decision]]) -> None:
    """Audit what was written, and ask the case room to consider it."""
    requests = [checked.requests.get(entry.source) for _, entry, _ in made] if checked.requests else None
    audit.record_many(
        session,
        actor=ACTOR,
        action="checked",
        object_type="verdict",
        entries=[(str(verdict_id), _audited(checked, entry, decision)) for verdict_id, entry, decision in made],
        requests=requests,
    )
    asked = zip([str(verdict_id) for verdict_id, _, _ in made], requests or [None] * len(made), strict=True)
    jobs.enqueue_many(session, [jobs.NewJob(NEXT, one, {"verdict_id": one}, request_id=by) for one, by in asked])


def _audited(checked: Checked, entry: Entry, decision: Decision) -> dict[str, str | int]:
    return {
        "source": f"{entry.source.type.value}:{entry.source.id}",
        "source_version": entry.source.version,
        "rule_version": checked.rule_version,
        "verdict": decision.verdict.value,
        **({"recheck": str(checked.recheck_id)} if checked.recheck_id else {}),
    }


_IN_FORCE = """
    SELECT CAST(v.source_type AS text), v.source_id, v.source_version
    FROM unnest(%(types)b::text[], %(ids)b::uuid[], %(versions)b::integer[]) AS wanted (type, id, version)
    JOIN verdict v ON v.source_type = wanted.type AND v.source_id = wanted.id AND v.source_version = wanted.version
    WHERE v.rule_version = %(rules)s AND v.superseded_at IS NULL
"""
_WRITE = """
    INSERT INTO verdict (id, source_type, source_id, source_version, kind, grid_id, rule_version, verdict, findings,
                         score, snapshots, evidence, created_at, recheck_id)
    SELECT id, source_type, source_id, source_version, kind, grid_id, %(rules)s, verdict, CAST(findings AS json),
           score, CAST(snapshots AS json), evidence, %(at)s, %(recheck)s::uuid
    FROM unnest(%(ids)b::uuid[], %(types)b::text[], %(sources)b::uuid[], %(versions)b::integer[], %(kinds)b::text[],
                %(grids)b::text[], %(verdicts)b::text[], %(findings)b::text[], %(scores)b::float8[],
                %(snapshots)b::text[], %(evidence)b::bytea[])
         AS made (id, source_type, source_id, source_version, kind, grid_id, verdict, findings, score, snapshots,
                  evidence)
    ON CONFLICT DO NOTHING
    RETURNING id
"""
