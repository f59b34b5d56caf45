"""What other sources than the base dataset say about the very human or thing of an entry.

A source is one function: for many entries at once it finds what it says about them, in a number of statements that
their number does not change. It goes by the entry's own identity (`id_index`, `natural_key`), never by likeness: what
is no more than alike is for the base dataset's rules to weigh.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlmodel import Session

from backend.services import records, registry
from backend.services.sealing import Vault
from workflows.crosscheck import declared
from workflows.crosscheck.facts import Entry, Home, Other, Said, Source, told
from workflows.crosscheck.ruleset import Rules
from workflows.crosscheck.similarity import Scorer


class Asked(NamedTuple):
    """An entry of a kind that the rules compare with other sources, and what it is found by."""

    entry: Entry
    indexes: records.Indexes


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """All other sources, as one rule set looks into them. `homes` are the houses that people's entries name, `current`
    the snapshots of datasets in force."""

    rules: Rules
    scorer: Scorer
    homes: Mapping[Source, Home]
    current: Mapping[str, registry.CurrentSnapshot]
    vault: Vault

    def others(
        self, session: Session, entries: Sequence[Entry], indexes: Mapping[Source, records.Indexes]
    ) -> dict[Source, list[Other]]:
        """What the sources say, by dataset and moment, compared with each entry."""
        asked = [Asked(entry, indexes[entry.source]) for entry in entries if self.rules.elsewhere(entry.kind)]
        found: dict[Source, list[Other]] = defaultdict(list)
        if asked:
            for said in sorted(self._said(session, asked), key=lambda one: (one.dataset, one.at)):
                found[said.entry.source].append(self._compared(said))
        return found

    def _said(self, session: Session, asked: Sequence[Asked]) -> Iterator[Said]:
        """Each source in turn."""
        yield from _in_datasets(session, asked, self.current, self.vault)
        yield from declared.words(session, asked, self.vault)

    def _compared(self, said: Said) -> Other:
        how = self.rules.elsewhere(said.entry.kind)
        mine = told(said.entry, self.homes.get(said.entry.source))
        scores = self.scorer.scores(how, mine, said.fields)
        return Other(said.dataset, said.at.isoformat(), said.fields, scores)


def _in_datasets(
    session: Session, asked: Sequence[Asked], current: Mapping[str, registry.CurrentSnapshot], vault: Vault
) -> Iterator[Said]:
    """Datasets of departments' own that are about a kind (`registry_catalogue`)."""
    wanted = [
        (one.entry, code, (snapshot.snapshot_id, key))
        for one in asked
        for code, snapshot in current.items()
        if snapshot.kind is one.entry.kind and (key := _record_key(one.indexes))
    ]
    found = registry.find_in_snapshots(session, [place for *_, place in wanted], vault=vault)
    for entry, code, place in wanted:
        record = found.get(place)
        if record is not None:
            yield Said(entry, code, record.taken_at, record.fields)


def _record_key(indexes: records.Indexes) -> str | None:
    return indexes.id_index.hex() if indexes.id_index else indexes.natural_key
