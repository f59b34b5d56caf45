"""All that the rules need to know about a batch of entries, in a number of statements that its size does not change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core import statements
from backend.core.enums import Kind
from backend.core.errors import Unavailable
from backend.models import Document, EventClass
from backend.services import population, records, registry, territory
from backend.services.registry import CurrentSnapshot
from backend.services.sealing import Vault
from workflows.crosscheck.addresses import gazetteer_of
from workflows.crosscheck.elsewhere import Elsewhere
from workflows.crosscheck.facts import DATASET_OF, Candidate, Entry, Home, Known, Source, place_of
from workflows.crosscheck.others import neighbours_of, twins_of
from workflows.crosscheck.ruleset import Rules
from workflows.crosscheck.similarity import Scorer

SnapshotRef = dict[str, str]
"""A snapshot as a verdict names it: `snapshot_id` and `taken_at`."""


class SnapshotChanged(Unavailable):
    """A dataset got a new snapshot in the middle of a check, which is simply repeated."""

    code = "snapshot_changed"
    title_zh = "业务数据正在更新，请稍后重试"
    title_en = "Business records changed during the check; it is repeated"


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is known per entry, and by kind the snapshots that were read, per dataset."""

    known: Mapping[Source, Known]
    snapshots: Mapping[Kind, Mapping[str, SnapshotRef]]


def gather(session: Session, entries: Sequence[Entry], rules: Rules, *, vault: Vault | None = None) -> Gathered:
    """Look up business records, houses, twins, neighbours, grids, classes, and other sources' words of all entries.

    `vault` keeps the keys that are read, for the evidence to be sealed with.
    `SnapshotChanged` where a load ended meanwhile: a verdict names the snapshots that it is based on.
    """
    current = registry.current_snapshots(session)
    vault = vault or Vault(session)
    scorer = Scorer(rules.likeness, lambda: gazetteer_of(_units(session)))
    homes = _homes(session, entries, scorer)
    people = _People(rules, scorer, homes, vault)
    indexes = {entry.source: records.indexes(entry.kind, dict(entry.fields)) for entry in entries}
    candidates = people.candidates(session, entries, indexes) | _keyed(session, entries, indexes, rules, scorer)
    twins = twins_of(session, entries, indexes)
    others = Elsewhere(rules, scorer, homes, current, vault).others(session, entries, indexes)
    neighbours = neighbours_of(session, _of_kind(entries, Kind.EVENT), rules.event)
    classes = _classes(session, entries, rules)
    known = {
        entry.source: Known(
            datasets=frozenset(current),
            candidates=tuple(candidates.get(entry.source, ())),
            home=homes.get(entry.source),
            point_grids=_point_grids(session, entry),
            class_known=entry.kind is not Kind.EVENT or entry.fields.get("class_code") in classes,
            neighbours=tuple(neighbours.get(entry.source, ())),
            twins=tuple(twins.get(entry.source, ())),
            others=tuple(others.get(entry.source, ())),
        )
        for entry in entries
    }
    if registry.current_snapshots(session) != current:
        raise SnapshotChanged
    return Gathered(known, {kind: _read_for(kind, current, rules) for kind in {entry.kind for entry in entries}})


def _read_for(kind: Kind, current: Mapping[str, CurrentSnapshot], rules: Rules) -> dict[str, SnapshotRef]:
    """The snapshots that a verdict on a kind is based on."""
    elsewhere = rules.elsewhere(kind)
    return {
        code: {"snapshot_id": str(one.snapshot_id), "taken_at": one.taken_at.isoformat()}
        for code, one in current.items()
        if code == DATASET_OF.get(kind) or (elsewhere and one.kind is kind)
    }


def _units(session: Session) -> tuple[tuple[str, str], ...]:
    return tuple((code, name) for code, name in statements.rows(session, _UNITS))


def _of_kind(entries: Iterable[Entry], *kinds: Kind) -> list[Entry]:
    return [entry for entry in entries if entry.kind in kinds]


def _homes(session: Session, entries: Sequence[Entry], scorer: Scorer) -> dict[Source, Home]:
    """The houses that people's entries name, as far as they have arrived."""
    named = {entry.source: _uuid(entry.fields.get("house_id")) for entry in _of_kind(entries, Kind.PERSON)}
    wanted = {house_id for house_id in named.values() if house_id}
    if not wanted:
        return {}
    query = select(Document.id, Document.body).where(col(Document.id).in_(wanted), Document.kind == Kind.HOUSE)
    bodies = dict(session.exec(query.where(col(Document.deleted).is_(False))).all())
    registered = {entry.source: entry.fields.get("registered_address") for entry in entries}
    return {
        source: _home(bodies[house_id], registered[source], scorer)
        for source, house_id in named.items()
        if house_id in bodies
    }


def _home(body: Mapping[str, Any], registered: str | None, scorer: Scorer) -> Home:
    address = body.get("address")
    return Home(body.get("house_code"), address, _near(scorer, address, registered))


def _near(scorer: Scorer, a: str | None, b: str | None) -> float | None:
    return round(scorer.score("address", a, b), 4) if a and b else None


@dataclass(frozen=True, slots=True)
class _People:
    """Finds the population records that people's entries may be about, and compares them."""

    rules: Rules
    scorer: Scorer
    homes: Mapping[Source, Home]
    vault: Vault

    def candidates(
        self, session: Session, entries: Sequence[Entry], indexes: Mapping[Source, records.Indexes]
    ) -> dict[Source, list[Candidate]]:
        """By the id number, else by all other keys (`backend.services.population`)."""
        people = _of_kind(entries, Kind.PERSON)
        wanted = [indexes[entry.source] for entry in people]
        found = population.find_people(session, wanted, vault=self.vault) if people else []
        return {
            entry.source: [self._candidate(entry, own, record) for record in some]
            for entry, own, some in zip(people, wanted, found, strict=True)
        }

    def _candidate(self, entry: Entry, own: records.Indexes, record: registry.Found) -> Candidate:
        exact = own.id_index is not None and own.id_index.hex() == record.record_key
        home = self.homes.get(entry.source)
        near_home = _near(self.scorer, home.address, record.fields.get("registered_address")) if home else None
        scores = self.scorer.scores(self.rules.person.compared, entry.fields, record.fields)
        return Candidate(record.fields, scores, exact, near_home)


def _keyed(
    session: Session,
    entries: Sequence[Entry],
    indexes: Mapping[Source, records.Indexes],
    rules: Rules,
    scorer: Scorer,
) -> dict[Source, list[Candidate]]:
    """The records of houses, organisations and components by their own codes."""
    compared = {
        Kind.HOUSE: rules.house.compared,
        Kind.ORGANISATION: rules.organisation.compared,
        Kind.COMPONENT: rules.component.compared,
    }
    candidates: dict[Source, list[Candidate]] = {}
    for kind, how in compared.items():
        keys = {entry.source: indexes[entry.source].natural_key for entry in _of_kind(entries, kind)}
        wanted = sorted({key for key in keys.values() if key})
        found = registry.find_by_keys(session, DATASET_OF[kind], wanted) if wanted else {}
        for entry in _of_kind(entries, kind):
            record = found.get(keys[entry.source] or "")
            if record is not None:
                scores = scorer.scores(how, entry.fields, record.fields)
                candidates[entry.source] = [Candidate(record.fields, scores, exact=True)]
    return candidates


def _classes(session: Session, entries: Sequence[Entry], rules: Rules) -> set[str]:
    """The class codes among the entries' that the city's scheme knows."""
    codes = {str(entry.fields.get("class_code")) for entry in _of_kind(entries, Kind.EVENT)}
    query = select(EventClass.code).where(EventClass.scheme == rules.event.scheme, col(EventClass.code).in_(codes))
    return set(session.exec(query).all()) if codes else set()


def _point_grids(session: Session, entry: Entry) -> tuple[str, ...] | None:
    """The grid a house was seen in by its GPS point, as the rules want it."""
    place = place_of(entry.fields) if entry.kind is Kind.HOUSE else None
    if place is None:
        return None
    grid_id = territory.grid_at(session, *place)
    return (grid_id,) if grid_id else ()


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(str(text)) if text else None
    except ValueError:
        return None


_UNITS = "SELECT CAST(code AS text), CAST(name AS text) FROM territory_unit ORDER BY code"
