"""The cross-check itself: from an entry and what is known about it to one verdict. Pure; the clock is an argument.

Each check of domain.md, "Three sources, one truth", is one function that yields evidence; evidence with a finding is
something wrong. Where nothing is wrong the verdict is `match` if a business record was found, else `accepted`.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from backend.core.enums import Kind, SourceType, VerdictKind
from backend.kinds import KINDS
from backend.kinds.geodesy import distance_m
from workflows.crosscheck.facts import (
    CLASSES,
    COMPONENTS,
    DATASET_OF,
    ENTRIES,
    GRIDS,
    HOUSES,
    ORGANISATIONS,
    POPULATION,
    Candidate,
    Decision,
    Entry,
    Evidence,
    Known,
    Neighbour,
    Other,
    place_of,
    told,
    value_at,
)
from workflows.crosscheck.identity import contradictions, uscc_is_valid
from workflows.crosscheck.ruleset import Compared, Rules, Search

Check = Callable[[Entry, Known, Candidate | None, Rules, datetime], Iterator[Evidence]]
"""Given the business record of the entry, where one was found."""


def decide(entry: Entry, known: Known, rules: Rules, *, at: datetime) -> Decision:
    """The verdict on one entry at a moment in city time."""
    matched = _record_of(entry, known, rules)
    evidence = (*_CHECKS[entry.kind](entry, known, matched, rules, at), *_elsewhere(entry, known, matched, rules))
    found = {item.finding for item in evidence if item.finding is not None}
    if not found:
        found = {VerdictKind.MATCH if matched else VerdictKind.ACCEPTED}
    findings = tuple(sorted(found, key=rules.priority.index))
    score = _likeness(matched.scores, _compared(entry.kind, rules))[0] if matched else None
    return Decision(findings[0], findings, evidence, score, matched)


def select(candidates: tuple[Candidate, ...], compared: Mapping[str, Compared], search: Search) -> Candidate | None:
    """The one candidate that is the person, None where none is or where it cannot be told."""
    exact = next((candidate for candidate in candidates if candidate.exact), None)
    if exact is not None:
        return exact
    ranked = _ranked(candidates, compared, search)
    if not ranked or ranked[0][0] < search.accept or ranked[0][1] < search.weight:
        return None
    alone = len(ranked) == 1 or ranked[1][0] < ranked[0][0] - search.margin
    return ranked[0][2] if alone else None


def _ranked(
    candidates: tuple[Candidate, ...], compared: Mapping[str, Compared], search: Search
) -> list[tuple[float, float, Candidate]]:
    """How probable, weight and candidate, the most probable first."""
    rate = _probability if any(how.levels for how in compared.values()) else _likeness
    rated = [(*rate(candidate.scores, compared, search), candidate) for candidate in candidates]
    return sorted(rated, key=lambda item: item[:2], reverse=True)


def _probability(scores: Mapping[str, float], compared: Mapping[str, Compared], search: Search) -> tuple[float, float]:
    """How probable it is, by the points of all fields that both sides fill, and how much these weigh together."""
    filled = [(how, scores[path]) for path, how in compared.items() if path in scores]
    points = search.prior + sum(how.points(score) for how, score in filled)
    return round(1 / (1 + 2.0**-points), 4), round(sum(how.weight for how, _ in filled), 4)


def _likeness(
    scores: Mapping[str, float], compared: Mapping[str, Compared], _: Search | None = None
) -> tuple[float, float]:
    """The weighted mean of the scores, and how much the fields behind it weigh together."""
    weight = sum(how.weight for path, how in compared.items() if path in scores)
    total = sum(how.weight * scores[path] for path, how in compared.items() if path in scores)
    return (round(total / weight, 4) if weight else 0.0), round(weight, 4)


def _compared(kind: Kind, rules: Rules) -> Mapping[str, Compared]:
    parts = {
        Kind.PERSON: rules.person.compared,
        Kind.HOUSE: rules.house.compared,
        Kind.ORGANISATION: rules.organisation.compared,
        Kind.COMPONENT: rules.component.compared,
    }
    return parts.get(kind, {})


def _record_of(entry: Entry, known: Known, rules: Rules) -> Candidate | None:
    """The business record of the entry."""
    return select(known.candidates, _compared(entry.kind, rules), rules.person.search)


def _person(entry: Entry, known: Known, record: Candidate | None, rules: Rules, at: datetime) -> Iterator[Evidence]:
    yield from _identity(entry, rules, at)
    yield from _twins(known)
    if POPULATION in known.datasets:
        if record is None:
            yield _not_found_or_ambiguous(entry, known, rules)
        else:
            yield from _fields(entry, record, rules)
            yield from _number_on_record(entry, record)
    yield from _residence(entry, known, record, rules)


def _identity(entry: Entry, rules: Rules, at: datetime) -> Iterator[Evidence]:
    """GB 11643: the id number against itself, the birth date and the sex."""
    number = value_at(entry.fields, "id_number")
    if number is None or entry.fields.get("id_type") not in rules.person.citizen_types:
        return
    stated = {"birth_date": value_at(entry.fields, "birth_date"), "sex": value_at(entry.fields, "sex")}
    for wrong in contradictions(number, **stated, today=at.date()):
        yield Evidence(wrong.field, wrong.stated, wrong.implied, 0.0, None, VerdictKind.ID_SELF_INCONSISTENT)


def _number_on_record(entry: Entry, record: Candidate) -> Iterator[Evidence]:
    """Whose record it is, where the entry says no number to compare: nothing else names it."""
    number = value_at(record.fields, "id_number")
    if number is not None and value_at(entry.fields, "id_number") is None:
        yield Evidence("id_number", None, number, None, POPULATION)


def _not_found_or_ambiguous(entry: Entry, known: Known, rules: Rules) -> Evidence:
    """No record is surely the person's: none comes near, or several do, or one on too little evidence."""
    ranked = _ranked(known.candidates, rules.person.compared, rules.person.search)
    near = [score for score, _, _ in ranked if score >= rules.person.search.possible]
    if near:
        return Evidence("candidates", None, len(near), near[0], POPULATION, VerdictKind.AMBIGUOUS)
    best = ranked[0][0] if ranked else None
    return Evidence("id_number", value_at(entry.fields, "id_number"), None, best, POPULATION, VerdictKind.NOT_FOUND)


def _residence(entry: Entry, known: Known, record: Candidate | None, rules: Rules) -> Iterator[Evidence]:
    """Where the person lives against where he is registered: a flag that says otherwise, and another house."""
    home = known.home
    if home is None:
        return
    official = record is not None and record.near_home is not None
    near = record.near_home if record is not None and official else home.near_registered
    registered = (record.fields if record is not None and official else entry.fields).get("registered_address")
    claims_same = entry.fields.get("residence_matches_registration") is True
    if claims_same and near is not None and near < rules.person.same_address:
        dataset = POPULATION if official else None
        yield Evidence("registered_address", home.address, registered, near, dataset, VerdictKind.FLAG_CONFLICT)
    elsewhere = record.fields.get("house_code") if record is not None else None
    if elsewhere and home.house_code and elsewhere != home.house_code:
        yield Evidence("house_code", home.house_code, elsewhere, 0.0, POPULATION, VerdictKind.MOVED)


def _house(entry: Entry, known: Known, record: Candidate | None, rules: Rules, _: datetime) -> Iterator[Evidence]:
    if record is not None:
        yield from _fields(entry, record, rules)
        yield from _same_grid(entry, "grid_id", record.fields.get("grid_id"), HOUSES)
    elif HOUSES in known.datasets:
        code = value_at(entry.fields, "house_code")
        yield Evidence("house_code", code, None, None, HOUSES, VerdictKind.ADDRESS_UNKNOWN)
    if known.point_grids is not None:
        yield from _same_grid(entry, "grid_of_location", next(iter(known.point_grids), ""), GRIDS)
    yield from _rental(entry, rules)
    yield from _twins(known)


def _same_grid(entry: Entry, name: str, theirs: str | None, dataset: str) -> Iterator[Evidence]:
    """`theirs` is the code of a grid, empty for a place outside all grids, None where it is not known."""
    if theirs is None or entry.grid_id is None:
        return
    same = theirs == entry.grid_id
    yield Evidence(name, entry.grid_id, theirs, float(same), dataset, None if same else VerdictKind.OUT_OF_GRID)


def _rental(entry: Entry, rules: Rules) -> Iterator[Evidence]:
    """A rented dwelling names its tenants, and not more than the limit."""
    if entry.fields.get("rental_use") not in rules.house.rented:
        return
    count, limit = len(entry.fields.get("tenants") or ()), rules.house.tenants_limit
    if count == 0 or count > limit:
        yield Evidence("tenants.count", count, limit, None, None, VerdictKind.RENTAL_HAZARD)


def _organisation(
    entry: Entry, known: Known, record: Candidate | None, rules: Rules, _: datetime
) -> Iterator[Evidence]:
    code = value_at(entry.fields, "uscc")
    if code is not None and not uscc_is_valid(code):
        yield Evidence("uscc", code, None, 0.0, None, VerdictKind.ID_SELF_INCONSISTENT)
    if record is not None:
        yield from _fields(entry, record, rules)
        yield from _still_registered(entry, record, rules)
    elif ORGANISATIONS in known.datasets:
        yield Evidence("uscc", code, None, None, ORGANISATIONS, VerdictKind.NOT_FOUND)
    yield from _twins(known)


def _still_registered(entry: Entry, record: Candidate, rules: Rules) -> Iterator[Evidence]:
    seen, status = entry.fields.get("status_seen"), record.fields.get("status")
    closed = seen in rules.organisation.operating and status in rules.organisation.ended
    finding = VerdictKind.ORGANISATION_CLOSED if closed else None
    if seen and status:
        yield Evidence("status_seen", seen, status, None, ORGANISATIONS, finding)


def _component(entry: Entry, known: Known, record: Candidate | None, rules: Rules, _: datetime) -> Iterator[Evidence]:
    if record is not None:
        yield from _fields(entry, record, rules)
        yield from _owner(entry, record)
        yield from _in_place(entry, record, rules)
    elif COMPONENTS in known.datasets:
        code = value_at(entry.fields, "component_id")
        yield Evidence("component_id", code, None, None, COMPONENTS, VerdictKind.COMPONENT_UNKNOWN)
    yield from _twins(known)


def _owner(entry: Entry, record: Candidate) -> Iterator[Evidence]:
    """Nobody on record owns the component, so nobody could be told to repair it."""
    if value_at(record.fields, "owner_unit") is None:
        mine = value_at(entry.fields, "owner_unit")
        yield Evidence("owner_unit", mine, None, None, COMPONENTS, VerdictKind.COMPONENT_UNKNOWN)


def _in_place(entry: Entry, record: Candidate, rules: Rules) -> Iterator[Evidence]:
    here, there = place_of(entry.fields), place_of(record.fields)
    if here is None or there is None:
        return
    metres, limit = distance_m(here, there), rules.component.moved_m
    finding = VerdictKind.MOVED if metres > limit else None
    yield Evidence("location.distance_m", round(metres, 1), limit, None, COMPONENTS, finding)


def _event(entry: Entry, known: Known, _record: Candidate | None, rules: Rules, _: datetime) -> Iterator[Evidence]:
    if not known.class_known:
        code = value_at(entry.fields, "class_code")
        yield Evidence("class_code", code, None, None, CLASSES, VerdictKind.CLASS_UNKNOWN)
    similar = [(metres, other) for other in known.neighbours if (metres := _similar(entry, other, rules)) is not None]
    for metres, other in sorted(similar, key=lambda found: (found[0], str(found[1].source_id))):
        nearness = round(1 - metres / rules.event.similar_m, 4)
        theirs = f"{other.source_type}:{other.source_id}"
        yield Evidence("similar", None, theirs, nearness, ENTRIES, VerdictKind.DUPLICATE)


def _similar(entry: Entry, other: Neighbour, rules: Rules) -> float | None:
    """Metres between an event and an earlier one of its class nearby in place and time; None for all others.

    Only the later of two is the duplicate, so the order in which they are checked does not matter.
    """
    here, code = place_of(entry.fields), value_at(entry.fields, "class_code")
    if here is None or entry.happened_at is None or code is None or other.class_code is None:
        return None
    earlier = (other.known_since, other.source_id) < (entry.known_since, entry.source.id)
    digits, hours = rules.event.class_digits, timedelta(hours=rules.event.similar_hours)
    same = code[:digits] == other.class_code[:digits] and abs(other.happened_at - entry.happened_at) <= hours
    metres = distance_m(here, other.place)
    return metres if earlier and same and metres <= rules.event.similar_m else None


def _fields(entry: Entry, record: Candidate, rules: Rules) -> Iterator[Evidence]:
    """One piece of evidence for each compared field; below its threshold with the finding the rule set names."""
    for path, how in _compared(entry.kind, rules).items():
        if path in record.scores:
            score = record.scores[path]
            finding = how.finding if score < how.threshold else None
            mine, theirs = value_at(entry.fields, path), value_at(record.fields, path)
            yield Evidence(path, mine, theirs, score, DATASET_OF[entry.kind], finding)


def _twins(known: Known) -> Iterator[Evidence]:
    """Other entries of the same human or thing, known before this one: a steward joins them."""
    for twin in known.twins:
        yield Evidence("entry", None, f"{SourceType.DOCUMENT}:{twin}", 1.0, ENTRIES, VerdictKind.DUPLICATE)


def _elsewhere(entry: Entry, known: Known, record: Candidate | None, rules: Rules) -> Iterator[Evidence]:
    """What other sources say about the same human or thing. Where the base dataset has no record, that they know it.

    Of a field that a department keeps its own word stands (一数一源): what somebody else says is shown and no more.
    """
    said = told(entry, known.home)
    missing = record is None and DATASET_OF.get(entry.kind) in known.datasets
    for other in known.others:
        if missing:
            yield Evidence("elsewhere", None, True, None, other.dataset, other=other)
        for path, how in rules.elsewhere(entry.kind).items():
            if path in other.scores:
                score = other.scores[path]
                wrong = score < how.threshold and not _is_kept(entry.kind, path, record, other)
                finding = how.finding if wrong else None
                mine, theirs = value_at(said, path), value_at(other.fields, path)
                yield Evidence(path, mine, theirs, score, other.dataset, finding, other)


def _is_kept(kind: Kind, path: str, record: Candidate | None, other: Other) -> bool:
    """Whether the department whose field it is has said its value, and the other source is not that department's."""
    keeper = KINDS[kind].stewarded.get(path.partition(".")[0])
    said = record is not None and value_at(record.fields, path) is not None
    return said and keeper is not None and keeper != other.dataset


_CHECKS: Mapping[Kind, Check] = {
    Kind.PERSON: _person,
    Kind.HOUSE: _house,
    Kind.ORGANISATION: _organisation,
    Kind.COMPONENT: _component,
    Kind.EVENT: _event,
}
