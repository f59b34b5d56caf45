"""recordlinkage's side of `bench.crosscheck`, in its own environment: PEOPLE TUNING ENTRIES as CSV, one JSON object out.

A logistic regression over the comparisons is trained on the tuning entries, whose truth it is told. What is timed is
what an entry costs: finding the pairs by the same blocking keys, comparing them, and the classifier's answer.
"""

import json
import sys
import time
from typing import Any

import pandas
import recordlinkage
from recordlinkage.index import Block

BLOCKING = (
    ["id_number"],
    ["phone"],
    ["birth_date", "surname"],
    ["name", "numbers"],
    ["sound", "birth_date"],
    ["address", "birth_date"],
)
ROUNDS = 2


def _read(path: str) -> Any:
    return pandas.read_csv(path, dtype=str, keep_default_na=False, na_values=[""]).set_index("unique_id")


def _pairs(entries: Any, people: Any) -> Any:
    """Pairs that agree in one of the blocking keys. A missing value agrees with nothing."""
    index = recordlinkage.Index()
    for keys in BLOCKING:
        index.add(Block(keys))
    return index.index(entries, people)


def _compared(pairs: Any, entries: Any, people: Any) -> Any:
    compare = recordlinkage.Compare()
    compare.exact("name", "name", label="name")
    compare.exact("sound", "sound", label="sound")
    compare.string("name", "name", method="damerau_levenshtein", label="name_like")
    compare.exact("id_number", "id_number", label="id")
    compare.string("id_number", "id_number", method="damerau_levenshtein", label="id_like")
    compare.exact("birth_date", "birth_date", label="birth")
    compare.string("birth_date", "birth_date", method="damerau_levenshtein", label="birth_like")
    compare.exact("phone", "phone", label="phone")
    compare.string("phone", "phone", method="damerau_levenshtein", label="phone_like")
    compare.exact("numbers", "numbers", label="numbers")
    compare.string("address", "address", method="jarowinkler", label="address_like")
    compare.exact("sex", "sex", label="sex")
    found = compare.compute(pairs, entries, people)
    # Of a child without a phone nothing is known, which is neither alike nor unlike.
    known = entries["phone"].reindex(found.index.get_level_values(0)).notna().to_numpy()
    known &= people["phone"].reindex(found.index.get_level_values(1)).notna().to_numpy()
    found["phone_known"] = known.astype(float)
    return found


def _step(entries: Any, people: Any, classifier: Any) -> list[tuple[int, str, float]]:
    """Place of the entry, record, and probability of each pair."""
    compared = _compared(_pairs(entries, people), entries, people)
    shares = classifier.prob(compared)
    return [(int(entry), record, share) for (entry, record), share in zip(compared.index, shares, strict=True)]


def main(people_path: str, tuning_path: str, entries_path: str) -> None:
    people, tuning, entries = map(_read, (people_path, tuning_path, entries_path))
    pairs = _pairs(tuning, people)
    truth = tuning["truth"].reindex(pairs.get_level_values(0)).to_numpy() == pairs.get_level_values(1).to_numpy()
    classifier = recordlinkage.LogisticRegressionClassifier()
    classifier.fit(_compared(pairs, tuning, people), pairs[truth])
    told: dict[str, Any] = {"tuning": _step(tuning, people, classifier), "seconds": {"all": []}}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        told["links"] = _step(entries, people, classifier)
        told["seconds"]["all"].append(time.perf_counter() - began)
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
