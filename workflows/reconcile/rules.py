"""What is alike and how much that says: the model of the probabilistic step, read from data, and what follows from it.

Likeness is weighed as Fellegi and Sunter do: each level of a comparison has the share of true pairs (`m`) and of
unrelated pairs (`u`) that reach it. A level is one of three words that DuckDB and Spark understand alike, so a model
holds no SQL. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.core.enums import Kind, ReconciliationPhase

Share = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[a-z_]{1,32}$")]
Method = Literal["plain", "sound", "surname", "digits", "capitals", "address", "numbers", "integer"]

LINKED_KINDS = frozenset({Kind.PERSON, Kind.HOUSE, Kind.ORGANISATION, Kind.COMPONENT})
MINE, THEIRS = "collected", "snapshot"
KEY = "row_key"


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Feature(_Data):
    """A value to compare: the field it comes from (dotted inside a compound one), and how it is written."""

    of: str
    method: Method = "plain"


class Level(_Data):
    """`equal`: the same; `edits`: at most so many typing errors; `near`: integers at most so far apart. All of `of`."""

    how: Literal["equal", "edits", "near"]
    of: tuple[Name, ...]
    most: int = Field(default=0, ge=0)
    m: Share
    u: Share


class Comparison(_Data):
    """Levels from the best to the least; what reaches none has the shares `m` and `u`. Null tells nothing."""

    name: Name
    levels: tuple[Level, ...]
    m: Share
    u: Share


class KindModel(_Data):
    """How records of one kind are linked.

    A pair is scored where all features of one of the `blocking` lists are equal. It is a link from the probability
    `accept` on, where it is the best of both its ends by `margin` bits. `prior` is the chance that a record and a
    document of one partition are the same. `nearby`: at most so many records of other grids are taken in for each key
    of a document. `compared` are the fields whose disagreement is reported, and how they are written for that.
    """

    features: dict[Name, Feature]
    blocking: tuple[tuple[Name, ...], ...]
    comparisons: tuple[Comparison, ...]
    prior: Share
    accept: Share
    margin: float = Field(ge=0)
    nearby: int = Field(ge=0, le=1000)
    compared: dict[str, Method]

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        used = {name for block in self.blocking for name in block}
        used |= {name for one in self.comparisons for level in one.levels for name in level.of}
        if unknown := used - self.features.keys():
            raise ValueError(f"no such features: {sorted(unknown)}")
        return self


class Models(_Data):
    """The models of one version, by kind."""

    person: KindModel
    house: KindModel
    organisation: KindModel
    component: KindModel

    def of(self, kind: Kind) -> KindModel:
        """`KeyError` for a kind that is none of `LINKED_KINDS`."""
        found: dict[Kind, KindModel] = {
            Kind.PERSON: self.person,
            Kind.HOUSE: self.house,
            Kind.ORGANISATION: self.organisation,
            Kind.COMPONENT: self.component,
        }
        return found[kind]


def common_code(grids: Sequence[str]) -> str:
    """What all these grid codes begin with."""
    first, last = min(grids), max(grids)
    same = next((place for place, (a, b) in enumerate(zip(first, last, strict=True)) if a != b), len(first))
    return first[:same]


def next_phase(phase: ReconciliationPhase) -> ReconciliationPhase | None:
    """The phase after this one, None after the last."""
    phases = list(ReconciliationPhase)
    place = phases.index(phase) + 1
    return phases[place] if place < len(phases) else None


def settings_of(model: KindModel) -> dict[str, Any]:
    """The model as Splink's settings dictionary. Names are of `[a-z_]` only, so they can stand in SQL."""
    return {
        "link_type": "link_only",
        "unique_id_column_name": KEY,
        "probability_two_random_records_match": model.prior,
        "retain_matching_columns": False,
        "retain_intermediate_calculation_columns": False,
        "blocking_rules_to_generate_predictions": [
            {"blocking_rule": " AND ".join(f"l.{name} = r.{name}" for name in block)} for block in model.blocking
        ],
        "comparisons": [
            {"output_column_name": one.name, "comparison_levels": _levels(one)} for one in model.comparisons
        ],
    }


def _levels(comparison: Comparison) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for level in comparison.levels for name in level.of)
    unknown = " OR ".join(f"{name}_l IS NULL OR {name}_r IS NULL" for name in names)
    levels = [
        {"sql_condition": _condition(level), "m_probability": level.m, "u_probability": level.u}
        for level in comparison.levels
    ]
    rest = {"sql_condition": "ELSE", "m_probability": comparison.m, "u_probability": comparison.u}
    return [{"sql_condition": unknown, "is_null_level": True}, *levels, rest]


def _condition(level: Level) -> str:
    forms = {
        "equal": "{0}_l = {0}_r",
        "edits": "levenshtein({0}_l, {0}_r) <= {1}",
        "near": "abs({0}_l - {0}_r) <= {1}",
    }
    return " AND ".join(forms[level.how].format(name, level.most) for name in level.of)


class Pair(_Data):
    """A document and a record that were scored; `weight` is log2 of the odds, from which the probability follows."""

    document: str
    record: int
    weight: float
    probability: float


def chosen(pairs: Iterable[Pair], *, accept: float, margin: float) -> list[Pair]:
    """The pairs that are links: likely enough, and the best of both ends by a margin, so nothing is linked twice."""
    likely = sorted(
        (pair for pair in pairs if pair.probability >= accept),
        key=lambda pair: (-pair.weight, pair.document, pair.record),
    )
    of_document: dict[str, list[Pair]] = {}
    of_record: dict[int, list[Pair]] = {}
    for pair in likely:
        of_document.setdefault(pair.document, []).append(pair)
        of_record.setdefault(pair.record, []).append(pair)
    ends = [(of_document[pair.document], of_record[pair.record], pair) for pair in likely]
    return [pair for mine, theirs, pair in ends if _leads(mine, pair, margin) and _leads(theirs, pair, margin)]


def _leads(ranked: Sequence[Pair], pair: Pair, margin: float) -> bool:
    return ranked[0] is pair and (len(ranked) == 1 or ranked[1].weight <= pair.weight - margin)


def packed(sizes: Sequence[tuple[str, int]], most: int) -> dict[str, int]:
    """A partition number for each grid: neighbours in the order given, so many rows in each.

    A grid that is larger than that by itself has a partition of its own.
    """
    parts: dict[str, int] = {}
    part, rows = 0, 0
    for grid, size in sizes:
        if rows and rows + size > most:
            part, rows = part + 1, 0
        parts[grid] = part
        rows += size
    return parts


def compared(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, bool]:
    """Of the fields that both sides fill: whether they differ. Values as `features.written` gives them."""
    both = [name for name in mine if mine[name] is not None and theirs.get(name) is not None]
    return {name: mine[name] != theirs[name] for name in both}
