"""How alike two values are, from 0 to 1: names by characters and by sound, numbers by typing errors, addresses by part.

Apart from `rules`, because rapidfuzz and pinyin are no part of the standard library.
"""

import unicodedata
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA

from backend.services.blocking import plain_name, sound_of
from workflows.crosscheck.addresses import Gazetteer, divisions_agree, is_part_of
from workflows.crosscheck.facts import value_at
from workflows.crosscheck.ruleset import Agreement, Likeness


class Scorer:
    """Scores by the likeness settings of one rule set, with the division names of one city."""

    def __init__(self, likeness: Likeness, gazetteer: Callable[[], Gazetteer]) -> None:
        """`gazetteer` is asked for once, when the first two addresses differ."""
        self._likeness = likeness
        self._ask = gazetteer

    @cached_property
    def _gazetteer(self) -> Gazetteer:
        return self._ask()

    def scores(
        self, compared: Mapping[str, Agreement], mine: Mapping[str, Any], theirs: Mapping[str, Any]
    ) -> dict[str, float]:
        """The likeness of each compared field that both sides fill. Numbers of different id types are not compared."""
        found: dict[str, float] = {}
        for path, how in compared.items():
            a, b = value_at(mine, path), value_at(theirs, path)
            if a is None or b is None:
                continue
            if how.method == "id_number" and mine.get("id_type") != theirs.get("id_type"):
                continue
            found[path] = 1.0 if a == b else round(self.score(how.method, a, b), 4)
        return found

    def score(self, method: str, a: Any, b: Any) -> float:
        """The likeness of two values by one method. What is no text can only be equal or not."""
        if method == "exact" or not (isinstance(a, str) and isinstance(b, str)):
            return float(a == b)
        if method in ("name", "text"):
            return self._by_character_and_sound(a, b)
        if method == "address":
            return self._address(a, b)
        plain = _capitals if method == "id_number" else _digits
        return self._number(plain(a), plain(b))

    def _by_character_and_sound(self, a: str, b: str) -> float:
        a, b = plain_name(a), plain_name(b)
        if a == b:
            return 1.0
        sound = fuzz.ratio(sound_of(a), sound_of(b)) / 100 * self._likeness.homophone
        return max(fuzz.ratio(a, b) / 100, sound)

    def _number(self, a: str, b: str) -> float:
        """1 for equal numbers, less for each typing error or swapped pair, 0 from `id_edits` errors on."""
        return max(0.0, 1 - OSA.distance(a, b) / self._likeness.id_edits)

    def _address(self, a: str, b: str) -> float:
        """The weighted mean of the parts that both addresses have."""
        left, right = self._gazetteer.parse(a), self._gazetteer.parse(b)
        parts: list[tuple[float, float]] = []
        if left.division and right.division:
            parts.append((self._likeness.division, float(divisions_agree(left.division, right.division))))
        if left.words and right.words:
            parts.append((self._likeness.wording, self._by_character_and_sound(left.words, right.words)))
        if left.numbers or right.numbers:
            parts.append((self._likeness.numbers, self._numbers(left.numbers, right.numbers)))
        total = sum(weight for weight, _ in parts)
        return sum(weight * score for weight, score in parts) / total if total else float(a == b)

    def _numbers(self, a: tuple[str, ...], b: tuple[str, ...]) -> float:
        if a == b:
            return 1.0
        return self._likeness.less_precise if is_part_of(a, b) else 0.0


def _digits(text: str) -> str:
    digits = "".join(character for character in unicodedata.normalize("NFKC", text) if character.isdigit())
    return digits.removeprefix("86") if len(digits) == 13 else digits


def _capitals(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().upper()
