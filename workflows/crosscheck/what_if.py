"""What-if: a rule set is replayed over past entries, and what would change is counted. Nothing else is written.

The verdict in force of an entry is compared with what the other rules say to the version and records of today, and the
course that the routing table takes from each. A page of entries is one step, and one job that asks for the next.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
from sqlalchemy import tuple_
from sqlmodel import Session, col, select

from backend import jobs
from backend.core import statements
from backend.core.clock import CITY_TIME, now
from backend.core.enums import Course, Kind, RunState, SourceType, VerdictKind
from backend.core.errors import NotFound, ZhiwangError
from backend.models import RuleSet, Verdict, WhatIf
from backend.services import audit
from backend.services.sessions import Caller
from workflows.crosscheck import rule_desk
from workflows.crosscheck.entries import load
from workflows.crosscheck.facts import ENTRIES, Entry, Known, Source
from workflows.crosscheck.lookup import gather
from workflows.crosscheck.rule_schemas import WhatIfAsked
from workflows.crosscheck.rules import decide
from workflows.crosscheck.touched import Scope, in_scope
from workflows.routing import service as routing
from workflows.routing.rules import URGENT, Facts

STEP_JOB = "workflows.crosscheck.what_if"
ENTRIES_A_STEP = 500
SAMPLES = 5
LAST = 300
"""A question of somebody's waits behind all checks (`jobs.NewJob.priority`)."""

Key = tuple[Kind, str, VerdictKind, VerdictKind, Course, Course]


class WhatIfEnded(ZhiwangError):
    """`state` is the one it is in."""

    code = "what_if_ended"
    status = 409
    title_zh = "该推演已经结束"
    title_en = "The what-if has ended"


@dataclass(slots=True)
class _Tally:
    """What one step found, by what would change."""

    numbers: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    samples: dict[Key, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, key: Key, source_id: UUID) -> None:
        self.numbers[key] += 1
        if len(self.samples[key]) < SAMPLES:
            self.samples[key].append(str(source_id))


def ask(session: Session, *, caller: Caller, asked: WhatIfAsked) -> WhatIf:
    """Write a what-if down and have its first step made. `NotFound` for an unknown version, `RuleSetUnfit`."""
    rule_desk.rules_of(rule_desk.read(session, asked.rule_version))
    run = WhatIf(
        rule_version=asked.rule_version,
        scope=asked.scope.model_dump(mode="json"),
        asked_by=caller.account_id,
        created_at=now(),
    )
    session.add(run)
    session.flush()
    _note(session, caller, run, "what_if_asked")
    _ask_for_step(session, run.id, 0)
    return run


def cancel(session: Session, *, caller: Caller, what_if_id: UUID) -> WhatIf:
    """End a what-if; what it counted so far stays. `NotFound`, `WhatIfEnded`."""
    run = session.exec(select(WhatIf).where(WhatIf.id == what_if_id).with_for_update()).first()
    if run is None:
        raise NotFound
    if run.state is not RunState.SPREADING:
        raise WhatIfEnded(state=run.state.value)
    run.state, run.done_at = RunState.CANCELLED, now()
    session.flush()
    _note(session, caller, run, "what_if_cancelled")
    return run


def step(session: Session, what_if_id: UUID, *, number: int) -> None:
    """Look at the next entries and add them to the report. A step that was made, or whose run ended, does nothing."""
    run = session.get(WhatIf, what_if_id)
    if run is None:
        raise jobs.Discard("what_if_unknown")
    if run.state is not RunState.SPREADING or run.step != number:
        return
    page = in_scope(session, Scope.model_validate(run.scope), after=run.after, limit=ENTRIES_A_STEP)
    tally = _looked_at(session, session.get_one(RuleSet, run.rule_version), page.sources)
    moved = {
        "id": what_if_id,
        "number": number,
        "after": page.after or "",
        "entries": len(page.sources),
        "skipped": len(page.sources) - sum(tally.numbers.values()),
        "state": (RunState.DONE if page.after is None else RunState.SPREADING).value,
        "done": now() if page.after is None else None,
    }
    if not statements.rows(session, _MOVE, moved):
        return  # it was cancelled meanwhile, or another worker made this very step
    _write(session, what_if_id, tally)
    if page.after is not None:
        _ask_for_step(session, what_if_id, number + 1)


def _looked_at(session: Session, rule_set: RuleSet, sources: Sequence[Source]) -> _Tally:
    tally = _Tally()
    before = _verdicts(session, sources)
    entries = load(session, before).entries
    if not entries:
        return tally
    rules = rule_desk.rules_of(rule_set)
    gathered, table = gather(session, entries, rules), routing.table_of(session)
    at = now().astimezone(CITY_TIME)
    for entry in entries:
        was, known = before[entry.source], gathered.known[entry.source]
        will = decide(entry, known, rules, at=at)
        asked = not can_be_looked_at(entry, known)
        courses = (
            _course(table, entry, was.verdict, was.findings, asked=asked),
            _course(table, entry, will.verdict, will.findings, asked=asked),
        )
        tally.add((entry.kind, entry.grid_id or "", was.verdict, will.verdict, *courses), entry.source.id)
    return tally


def _verdicts(session: Session, sources: Iterable[Source]) -> dict[Source, Verdict]:
    """The newest verdict in force of each of these versions that has one."""
    key = (col(Verdict.source_type), col(Verdict.source_id), col(Verdict.source_version))
    named = tuple_(*key).in_([(source.type, source.id, source.version) for source in sources])
    query = select(Verdict).where(named, col(Verdict.superseded_at).is_(None)).order_by(col(Verdict.id))
    return {Source(one.source_type, one.source_id, one.source_version): one for one in session.exec(query)}


def can_be_looked_at(entry: Entry, known: Known) -> bool:
    """Whether a worker could be sent to a record: the entry itself, or what the grid has about the same as it."""
    if entry.source.type is SourceType.DECLARATION:
        return any(other.dataset == ENTRIES for other in known.others)
    return entry.kind is not Kind.EVENT and entry.source.type is SourceType.DOCUMENT and entry.grid_id is not None


def _course(
    table: routing.Table, entry: Entry, verdict: VerdictKind, findings: Iterable[str], *, asked: bool
) -> Course:
    """Where the routing table leads from a verdict, as if nothing had been asked or opened before."""
    severity = entry.fields.get("severity")
    class_code = entry.fields.get("class_code")
    facts = Facts(
        source_type=entry.source.type,
        kind=entry.kind,
        verdict=verdict,
        findings=frozenset(findings),
        class_code=class_code if isinstance(class_code, str) and class_code else None,
        severity=severity if isinstance(severity, str) and severity else None,
        urgent=severity == URGENT,
        grid_id=entry.grid_id,
        asked=asked,
    )
    decision = table.decide(facts)
    if decision is not None:
        return Course.VISIT if decision.to_worker else Course.CASE
    good = entry.kind is not Kind.EVENT and verdict in (VerdictKind.MATCH, VerdictKind.ACCEPTED)
    return Course.ACCEPTED if good else Course.NONE


def _write(session: Session, what_if_id: UUID, tally: _Tally) -> None:
    keys = sorted(tally.numbers)
    if not keys:
        return
    names = ("kinds", "grids", "befores", "afters", "courses_before", "courses_after")
    given = {name: [str(key[place]) for key in keys] for place, name in enumerate(names)}
    numbers = [tally.numbers[key] for key in keys]
    samples = [msgspec.json.encode(tally.samples[key]).decode() for key in keys]
    statements.execute(session, _COUNT, {"id": what_if_id, **given, "numbers": numbers, "samples": samples})


def _ask_for_step(session: Session, what_if_id: UUID, number: int) -> None:
    key = f"{what_if_id}:{number}"
    jobs.enqueue(session, STEP_JOB, key=key, priority=LAST, what_if_id=str(what_if_id), step=number)


def _note(session: Session, caller: Caller, run: WhatIf, action: str) -> None:
    audit.record(
        session,
        actor=str(caller.account_id),
        action=action,
        object_type="what_if",
        object_id=str(run.id),
        rule_version=run.rule_version,
    )


_MOVE = """
    UPDATE what_if SET step = step + 1, after = %(after)s::text, entries = entries + %(entries)s::integer,
                       skipped = skipped + %(skipped)s::integer, state = %(state)s::text,
                       done_at = %(done)s::timestamptz
    WHERE id = %(id)s AND step = %(number)s::integer AND state = 'spreading'
    RETURNING step
"""
_COUNT = """
    INSERT INTO what_if_count (what_if_id, kind, grid_id, before, after, course_before, course_after, number, samples)
    SELECT %(id)s, kind, grid_id, before, after, course_before, course_after, number, CAST(samples AS json)
    FROM unnest(%(kinds)b::text[], %(grids)b::text[], %(befores)b::text[], %(afters)b::text[],
                %(courses_before)b::text[], %(courses_after)b::text[], %(numbers)b::integer[], %(samples)b::text[])
         AS row (kind, grid_id, before, after, course_before, course_after, number, samples)
    ON CONFLICT (what_if_id, kind, grid_id, before, after, course_before, course_after)
    DO UPDATE SET number = what_if_count.number + excluded.number
"""
