"""A handheld's own account: every distinct mutation it sent, and what must become of it.

A mutation is (document, op, content). Sent twice, after a lost answer, it is still one.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from backend.core.enums import Outcome, QuarantineCode
from backend.demo.client import Json

Name = tuple[str, str]
"""A document's id and the op of one write to it."""


@dataclass(frozen=True, eq=False)
class Contest:
    """Edits of one document on several handhelds: known is what they come to together, not who comes first."""

    name: str
    outcomes: Counter[Outcome]

    @classmethod
    def of(cls, name: str, *outcomes: Outcome) -> "Contest":
        """One outcome for each contestant, in any order."""
        return cls(name, Counter(outcomes))


Expected = Outcome | QuarantineCode | Contest


@dataclass(frozen=True, slots=True)
class Sent:
    """One distinct mutation, and what must become of it. `NUL` and the like travel as they are: nothing is checked."""

    id: str
    op: str
    deleted: bool
    expected: Expected

    @property
    def name(self) -> Name:
        return self.id, self.op


@dataclass(frozen=True, slots=True)
class Said:
    """What `GET /sync/v1/outcomes` says became of one mutation."""

    outcome: Outcome
    code: str = ""
    rev: int | None = None
    conflicts: int = 0


@dataclass
class Ledger:
    """All that one handheld sent. What is expected of a mutation is said when it is written; else it is applied."""

    _expected: dict[str, Expected] = field(default_factory=dict)
    _sent: dict[str, Sent] = field(default_factory=dict)

    def expect(self, document: Json, expected: Expected) -> None:
        """Say what must become of the write that left the document like this."""
        self._expected[_content(document)] = expected

    def note(self, rows: Iterable[Json]) -> None:
        """Take note of rows before they are sent."""
        for row in rows:
            document = row["newDocumentState"]
            content = _content(document)
            expected = self._expected.get(content, Outcome.APPLIED)
            self._sent.setdefault(content, Sent(document["id"], document["op"], document["_deleted"], expected))

    @property
    def sent(self) -> list[Sent]:
        """The distinct mutations, in the order in which they were first sent."""
        return list(self._sent.values())


@dataclass(frozen=True, slots=True)
class Account:
    """One handheld's account next to the server's."""

    handheld: str
    sent: list[Sent]
    said: dict[Name, list[Said]]

    def misnamed(self) -> list[Name]:
        """Mutations that the server does not name exactly as often as they were sent (once, but for a reused op)."""
        sent = Counter(entry.name for entry in self.sent)
        said = Counter({name: len(entries) for name, entries in self.said.items()})
        return sorted((sent - said) + (said - sent))

    def answers(self) -> Iterator[tuple[Sent, Said | None]]:
        """Each mutation with what was said of it. Of two under one op, the refused one is the one meant to be."""
        for entry in self.sent:
            refused = isinstance(entry.expected, QuarantineCode)
            found = [said for said in self.said.get(entry.name, []) if (said.outcome is Outcome.QUARANTINED) is refused]
            yield entry, found[0] if found else None


def read_said(mutations: Iterable[Json], quarantined: Iterable[Json]) -> dict[Name, list[Said]]:
    """The server's account by mutation. A refused row stands in the quarantine, whether or not in the ledger, too."""
    said: dict[Name, list[Said]] = {}
    for entry in mutations:
        if entry["outcome"] != Outcome.QUARANTINED:
            told = Said(Outcome(entry["outcome"]), rev=entry["rev"], conflicts=len(entry["conflicts"]))
            said.setdefault((entry["id"], entry["op"]), []).append(told)
    for entry in quarantined:
        said.setdefault((entry["id"], entry["op"]), []).append(Said(Outcome.QUARANTINED, code=entry["code"]))
    return said


def surprises(accounts: Iterable[Account]) -> list[str]:
    """Mutations of which something else became than must, one line each."""
    found: list[str] = []
    contests: dict[Contest, Counter[Outcome]] = {}
    for account in accounts:
        for sent, said in account.answers():
            if isinstance(sent.expected, Contest):
                contests.setdefault(sent.expected, Counter())[said.outcome if said else Outcome.QUARANTINED] += 1
            elif said is None or sent.expected not in (said.outcome, said.code):
                became = (said.code or said.outcome) if said else "nothing"
                found.append(f"{account.handheld} {sent.id}: {sent.expected} ≠ {became}")
    found += [
        f"{contest.name}: {_listed(contest.outcomes)} ≠ {_listed(became)}"
        for contest, became in contests.items()
        if became != contest.outcomes
    ]
    return found


def expected_outcomes(accounts: Iterable[Account]) -> Counter[Outcome]:
    """How many of each outcome the whole day must come to."""
    total: Counter[Outcome] = Counter()
    contests: set[Contest] = set()
    for sent in (entry for account in accounts for entry in account.sent):
        if isinstance(sent.expected, Contest):
            contests.add(sent.expected)
        else:
            total[sent.expected if isinstance(sent.expected, Outcome) else Outcome.QUARANTINED] += 1
    return sum((contest.outcomes for contest in contests), total)


def written_versions(accounts: Iterable[Account]) -> int:
    """How many versions that can be checked the mutations wrote: all but the tombstones.

    A mutation that changed nothing names a version that another one wrote, so versions are counted and not mutations.
    """
    written: set[tuple[str, int]] = set()
    tombstones: set[tuple[str, int]] = set()
    for sent, said in (answer for account in accounts for answer in account.answers()):
        if said is None or said.rev is None:
            continue
        written.add((sent.id, said.rev))
        if sent.deleted and said.outcome is Outcome.APPLIED:
            tombstones.add((sent.id, said.rev))
    return len(written - tombstones)


def conflict_records(accounts: Iterable[Account]) -> int:
    """How many conflict records the handhelds were told of."""
    return sum(said.conflicts for account in accounts for entries in account.said.values() for said in entries)


def _content(document: Json) -> str:
    """What tells one mutation from another: all that is pushed but `rev` and the library's own keys."""
    kept = {key: value for key, value in document.items() if key == "_deleted" or not key.startswith("_")}
    kept.pop("rev", None)
    return json.dumps(kept, sort_keys=True)


def _listed(outcomes: Counter[Outcome]) -> str:
    return " + ".join(sorted(outcome.value for outcome in outcomes.elements()))
