"""Which words in a citizen's text mean which event class. A city replaces the file."""

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_name("data") / "keywords.csv"
DEFAULT = "*"


@dataclass(frozen=True, slots=True)
class Keywords:
    """`pairs` of word and class code in one scheme; `default` is the class of a text with none of the words."""

    scheme: str
    pairs: tuple[tuple[str, str], ...]
    default: str


@lru_cache(maxsize=1)
def keywords() -> Keywords:
    """The table of this installation."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = [(row["scheme"], row["word"], row["class_code"]) for row in csv.DictReader(file)]
    pairs = tuple((word, code) for _, word, code in rows if word != DEFAULT)
    return Keywords(rows[0][0], pairs, next(code for _, word, code in rows if word == DEFAULT))
