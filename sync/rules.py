"""The merge: what becomes of one pushed row, decided without I/O.

Everything is compared field by field against a base that the server chose (sync-protocol.md, rule 2). Mine is the
pushed row, theirs the server's current version. `mine = base` or `mine = theirs` changes nothing; `theirs = base`
takes mine; otherwise both sides changed the field, the server's value stands, and a hard conflict is recorded. Lists
that are sets of members (`Merge.BY_ID`) are merged member by member in the same way. Absent is not null.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from backend.core.enums import Hardness, Outcome
from backend.kinds.base import Document, KindSpec, Merge

DELETED = "_deleted"


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""The value of a field that a document does not have; `None` is JSON's null."""


@dataclass(frozen=True, slots=True)
class State:
    """The content of one version of a document: its fields without the envelope, and whether it is a tombstone."""

    fields: Document
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Base:
    """The version a pushed row was edited from, and which version of the server it belongs to."""

    state: State
    version: int


@dataclass(frozen=True, slots=True)
class Master:
    """The server's current version."""

    state: State
    version: int


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """Two edits that met on one field, or, when soft, one edit that was merged over a base no longer current."""

    field: str
    hardness: Hardness
    base: Any
    mine: Any
    theirs: Any
    kept: Any


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a row: the resulting content, and what to record. `changed` says whether a version is due."""

    outcome: Outcome
    result: State
    changed: bool
    conflicts: list[FieldConflict] = field(default_factory=list)


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values. Python holds 1, 1.0 and true to be equal; JSON does not hold 1 and true so."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def same_state(left: State, right: State) -> bool:
    """Whether two versions hold the same content. All tombstones are alike: their fields are blank anyway."""
    return left.deleted == right.deleted and (left.deleted or same(left.fields, right.fields))


def decide(
    spec: KindSpec,
    *,
    mine: State,
    base: Base | None,
    master: Master | None,
    ahead: bool = False,
    living: State | None = None,
) -> Decision:
    """The outcome of one row that is valid and in scope. `base` is None where the server knows none; `ahead` as
    `is_ahead` says; `living` is what a deleted master was before its delete."""
    if master is None:
        return Decision(Outcome.APPLIED, mine, changed=True)
    if same_state(mine, master.state):
        return Decision(Outcome.UNCHANGED, master.state, changed=False)
    if mine.deleted:
        return _decide_delete(base, master)
    if master.state.deleted:
        return _decide_edit_of_deleted(spec, mine, base, master, living)
    if ahead:
        return _fast_forward(spec, mine, base, master)
    return _decide_edit(spec, mine, base, master)


def is_ahead(*, rev: int | None, master: Master | None) -> bool:
    """Whether a row comes from versions that this server gave and then lost by a restore to an earlier point.

    Only then can its `rev` exceed the master's. `rev` is None where the row names a base: only a client that starts
    its sync anew names none.
    """
    return master is not None and rev is not None and rev > master.version


def noted(decision: Decision, *, mine: State, theirs: State | None) -> Decision:
    """The decision with a soft conflict for each field on which the two sides differed and nothing was recorded.
    `theirs` is the master, or what a deleted one was before.

    For a row whose base is a guess, because a restore took the version it was made from: a value that was set back, or
    that came from a lost version, looks like one that nobody touched. Nothing of that may go untold.
    """
    if mine.deleted or theirs is None or theirs.deleted:
        return decision
    kept = decision.result.fields
    told = {conflict.field for conflict in decision.conflicts}
    found = [
        FieldConflict(name, Hardness.SOFT, ABSENT, ours, others, kept.get(name, ABSENT))
        for name in _ordered(theirs.fields, mine.fields)
        if name not in told
        and not same(ours := mine.fields.get(name, ABSENT), others := theirs.fields.get(name, ABSENT))
    ]
    return replace(decision, conflicts=[*decision.conflicts, *found])


def _fast_forward(spec: KindSpec, mine: State, base: Base | None, master: Master) -> Decision:
    """The row is a successor of the master (sync-protocol.md, "After a restore"), as far as anybody can know.

    What it did not change since the version that both lines of history have stands as it is: an echo of an older lost
    version would else take back what came of it. Of two values the row's is taken. What was written since the restore
    may be among the fields it replaces, so each of them is recorded as soft. A delete is never taken this way: a lost
    tombstone may only have hidden the document from this one device.
    """
    theirs, known = master.state.fields, base.state.fields if base and not base.state.deleted else None
    fields, hard = _succeeded(spec, known, mine.fields, theirs) if known is not None else (mine.fields, [])
    before, changed = known or {}, not same(fields, theirs)
    replaced = [
        FieldConflict(name, Hardness.SOFT, before.get(name, ABSENT), now, value, now)
        for name, value in theirs.items()
        if not same(now := fields.get(name, ABSENT), value)
    ]
    if hard:
        return Decision(Outcome.CONFLICT, State(fields), changed, [*hard, *replaced])
    if same(fields, mine.fields):
        return Decision(Outcome.APPLIED, mine, changed=True, conflicts=replaced)
    return Decision(Outcome.MERGED if changed else Outcome.UNCHANGED, State(fields), changed, replaced)


def _succeeded(
    spec: KindSpec, base: Document, mine: Document, theirs: Document
) -> tuple[Document, list[FieldConflict]]:
    """The merge of a later version of a lost line. Where both sides changed a field the later value is taken; members
    of a list that both changed stay in conflict."""
    merged, hard = merge_fields(spec, base=base, mine=mine, theirs=theirs)
    fields = {conflict.field for conflict in hard} & {*mine, *theirs}
    taken = {**merged, **{name: mine.get(name, ABSENT) for name in fields}}
    left = [conflict for conflict in hard if conflict.field not in fields]
    return {name: value for name, value in taken.items() if value is not ABSENT}, left


def _decide_delete(base: Base | None, master: Master) -> Decision:
    """A delete wins only over the version it was made from: against a concurrent edit the edit stays (rule 9)."""
    if base is not None and same(base.state.fields, master.state.fields):
        return Decision(Outcome.APPLIED, State({}, deleted=True), changed=True)
    conflict = FieldConflict(DELETED, Hardness.HARD, base=False, mine=True, theirs=False, kept=False)
    return Decision(Outcome.CONFLICT, master.state, changed=False, conflicts=[conflict])


def _decide_edit_of_deleted(
    spec: KindSpec, mine: State, base: Base | None, master: Master, living: State | None
) -> Decision:
    """An edit that met a delete brings the document back, with a conflict; an unedited copy does not.

    It comes back as it last lived, with the edit merged into that: the row's own copy of what others had changed
    before the delete is stale. Where the base is not known the row is taken, and each difference noted.
    """
    if base is not None and same_state(base.state, mine):
        return Decision(Outcome.UNCHANGED, master.state, changed=False)
    conflict = FieldConflict(DELETED, Hardness.HARD, base=False, mine=False, theirs=True, kept=False)
    if living is None or base is None or base.state.deleted:
        return noted(Decision(Outcome.CONFLICT, mine, changed=True, conflicts=[conflict]), mine=mine, theirs=living)
    merged, hard = merge_fields(spec, base=base.state.fields, mine=mine.fields, theirs=living.fields)
    return Decision(Outcome.CONFLICT, State(merged), changed=True, conflicts=[conflict, *hard])


def _decide_edit(spec: KindSpec, mine: State, base: Base | None, master: Master) -> Decision:
    theirs = master.state.fields
    known = base.state.fields if base is not None and not base.state.deleted else None
    merged, hard = merge_fields(spec, base=known, mine=mine.fields, theirs=theirs)
    changed = not same(merged, theirs)
    if hard:
        return Decision(Outcome.CONFLICT, State(merged), changed, hard)
    if same(merged, mine.fields):
        return Decision(Outcome.APPLIED, mine, changed)
    soft = list(_soft_conflicts(known or {}, mine.fields, theirs, merged)) if base and known is not None else []
    return Decision(Outcome.MERGED if changed else Outcome.UNCHANGED, State(merged), changed, soft if changed else [])


def merge_fields(
    spec: KindSpec, *, base: Document | None, mine: Document, theirs: Document
) -> tuple[Document, list[FieldConflict]]:
    """The merged fields and the hard conflicts. Without a base every difference is one."""
    merged: Document = {}
    conflicts: list[FieldConflict] = []
    for name in _ordered(theirs, mine, base or {}):
        ours, others = mine.get(name, ABSENT), theirs.get(name, ABSENT)
        before = base.get(name, ABSENT) if base is not None else None
        if spec.merge_of(name) is Merge.BY_ID and base is not None:
            value, found = _merge_members(name, spec.members[name], before, ours, others)
        else:
            value, found = _merge_value(name, before, ours, others, has_base=base is not None)
        conflicts += found
        if value is not ABSENT:
            merged[name] = value
    return merged, conflicts


def _merge_value(name: str, base: Any, mine: Any, theirs: Any, *, has_base: bool) -> tuple[Any, list[FieldConflict]]:
    if same(mine, theirs) or (has_base and same(mine, base)):
        return theirs, []
    if has_base and same(theirs, base):
        return mine, []
    known = base if has_base else ABSENT
    return theirs, [FieldConflict(name, Hardness.HARD, known, mine, theirs, kept=theirs)]


def _merge_members(name: str, key: str, base: Any, mine: Any, theirs: Any) -> tuple[Any, list[FieldConflict]]:
    """Merge a list as a set of members; one that is no such list is merged as one value."""
    sides = [_members(side, key) for side in (base, mine, theirs)]
    before, ours, others = sides
    if before is None or ours is None or others is None:
        return _merge_value(name, base, mine, theirs, has_base=True)
    if not before and not ours and not others:
        return (mine if same(theirs, base) else theirs), []  # Absent, null and empty are no conflict.
    merged: list[Any] = []
    conflicts: list[FieldConflict] = []
    for member in _ordered(others, ours, before):
        value, found = _merge_member(
            f"{name}[{member}]", before.get(member, ABSENT), ours.get(member, ABSENT), others.get(member, ABSENT)
        )
        conflicts += found
        if value is not ABSENT:
            merged.append(value)
    return merged, conflicts


def _merge_member(name: str, base: Any, mine: Any, theirs: Any) -> tuple[Any, list[FieldConflict]]:
    """As for a field, but an edited member wins over a removed one (rule 9 inside a list)."""
    value, conflicts = _merge_value(name, base, mine, theirs, has_base=True)
    if conflicts and theirs is ABSENT:
        kept = mine
        return kept, [FieldConflict(name, Hardness.HARD, base, mine, theirs, kept=kept)]
    return value, conflicts


def _members(value: Any, key: str) -> dict[str, Any] | None:
    """The members of a list by their id, in order; None where it is no list of members with unique ids."""
    if value is ABSENT or value is None:
        return {}
    if not isinstance(value, list):
        return None
    members = {str(item[key]): item for item in value if isinstance(item, dict) and key in item}
    return members if len(members) == len(value) else None


def _soft_conflicts(base: Document, mine: Document, theirs: Document, merged: Document) -> Iterator[FieldConflict]:
    """Mine was edited over a base that others had changed meanwhile: every field of mine that was taken."""
    for name in _ordered(mine, base):
        ours, before = mine.get(name, ABSENT), base.get(name, ABSENT)
        if not same(ours, before):
            yield FieldConflict(name, Hardness.SOFT, before, ours, theirs.get(name, ABSENT), merged.get(name, ABSENT))


def _ordered(*documents: Document) -> list[str]:
    """The keys of all documents, each once, in the order in which they first stand."""
    return list(dict.fromkeys(key for document in documents for key in document))


def choose_base(*, last_pushed: Base | None, named: Base | None) -> Base | None:
    """The base of a row (rule 2): what this device last pushed, if that came after the version it names, else that
    version. `named` is None where the row names none, or one that the server does not know: there is no base then."""
    if last_pushed is not None and named is not None and last_pushed.version > named.version:
        return last_pushed
    return named
