"""The labelled entries of `bench.crosscheck`: what a handheld would push, and whose record it is.

Of every ten entries six are right, three have mistakes in id number, name, phone or address, one is about somebody who
is not in the population: half of these are strangers, half live with people who are, under their address, some as
brothers and sisters of a child that is known. A handheld fills in birth date and sex from the id number that was
typed, so that a mistake in it goes on into them. All by a seed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Any

from backend.seed.synthetic import citizen_id
from bench.crosscheck_people import MEMBERS, person
from bench.crosscheck_typos import other_writing, wrong_address, wrong_name, wrong_number

Fields = dict[str, Any]

FIELDS = ("id_type", "id_number", "name", "sex", "birth_date", "phone", "registered_address")
TYPOS, ABSENT = 0.3, 0.1
REWRITTEN = 0.3
"""Of addresses without a mistake so many are written in another way than the record's."""
LEFT_OUT = {"phone": 0.1, "registered_address": 0.05, "id_number": 0.04}
"""Of all entries so many come without it."""
SIBLINGS, TWINS, SHARED_CHARACTER, SAME_PHONE = 0.5, 0.06, 0.5, 0.3
"""Of people new in a household so many are siblings, of these twins, and with a shared character; a parent's phone."""
FITTING = 0.1
"""Of mistakes in an id number so many fit its check character: by chance one in eleven does."""
NEW_PHONE = 0.15
"""Of wrong phones so many are another number altogether."""
EARLIEST, LATEST = date(1900, 1, 1), date(2025, 12, 31)
"""Birth dates that a handheld reads off an id number."""
HOW_MANY = ((1, 0.6), (2, 0.3), (3, 0.1))
"""With how many fields wrong, and how often."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """An entry; `truth` is the id number of its record, None where there is none. `wrong` names the fields with
    mistakes."""

    fields: Fields
    truth: str | None
    wrong: frozenset[str] = frozenset()


def labelled(seed: str, *, entries: int, total: int) -> list[Labelled]:
    """Entries about a population of `total` people, each person at most once, in random order."""
    random = Random(f"crosscheck/{seed}/{entries}/{total}")
    typos, absent = round(entries * TYPOS), round(entries * ABSENT)
    known = random.sample(range(total), k=entries - absent)
    made = [_with_mistakes(random, index) for index in known[:typos]]
    made += [_right(random, index) for index in known[typos:]]
    made += [_stranger(random, total + place) for place in range(absent // 2)]
    made += [_housemate(random, random.randrange(total), total + place) for place in range(absent // 2, absent)]
    random.shuffle(made)
    return made


def _right(random: Random, index: int) -> Labelled:
    fields = _entry(index)
    truth = fields["id_number"]
    _as_told(random, fields)
    return Labelled(fields, truth)


def _stranger(random: Random, index: int) -> Labelled:
    fields = _entry(index)
    _as_told(random, fields)
    return Labelled(fields, None)


def _housemate(random: Random, neighbour: int, index: int) -> Labelled:
    """Somebody new in a household that is known: a brother or sister of its first child, or a tenant."""
    home = neighbour - neighbour % MEMBERS
    fields, known = _entry(index), person(home + random.randrange(2))
    fields["registered_address"] = known["registered_address"]
    if random.random() < SIBLINGS:
        fields |= _sibling(random, fields, person(home + 2))
    if random.random() < SAME_PHONE and "phone" in known:
        fields["phone"] = known["phone"]
    _as_told(random, fields)
    return Labelled(fields, None)


def _sibling(random: Random, fields: Fields, child: Fields) -> Fields:
    """The surname, often a character of the name, and the place of birth of a child; sometimes its twin."""
    number, name = fields["id_number"], child["name"][0] + fields["name"][1:]
    if len(name) > 2 and len(child["name"]) > 2 and random.random() < SHARED_CHARACTER:
        name = child["name"][:-1] + name[-1]
    if random.random() < TWINS:
        born, digits = child["birth_date"], f"{child['id_number'][:14]}{999 - int(child['id_number'][14:17]):03d}"
    else:
        born, digits = fields["birth_date"], child["id_number"][:6] + number[6:17]
    sex = "male" if int(digits[16]) % 2 else "female"
    return {"name": name, "birth_date": born, "id_number": citizen_id(digits), "sex": sex}


def _entry(index: int) -> Fields:
    known = person(index)
    return {name: known[name] for name in FIELDS if name in known}


def _as_told(random: Random, fields: Fields) -> None:
    """What was not asked is left out; the address is often in another writing."""
    for name, share in LEFT_OUT.items():
        if random.random() < share:
            fields.pop(name, None)
    if random.random() < REWRITTEN and "registered_address" in fields:
        fields["registered_address"] = other_writing(random, fields["registered_address"])


def _with_mistakes(random: Random, index: int) -> Labelled:
    fields = _entry(index)
    truth = fields["id_number"]
    (number,) = random.choices([count for count, _ in HOW_MANY], weights=[share for _, share in HOW_MANY])
    wrong = random.sample([name for name in _MISTAKES if name in fields], k=number)
    for name in wrong:
        _MISTAKES[name](random, fields)
    _as_told(random, fields)
    return Labelled(fields, truth, frozenset(wrong))


def _mistake_in_id(random: Random, fields: Fields) -> None:
    """The check character is seldom wrong in such a way that it fits the mistake."""
    right = fields["id_number"]
    typed = wrong_number(random, right[:17])
    typed = citizen_id(typed) if len(typed) == 17 and random.random() < FITTING else typed + right[17]
    fields["id_number"] = typed
    if len(typed) == 18:
        fields.update(_read_off(typed))


def _read_off(number: str) -> Mapping[str, str]:
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return {}
    if not EARLIEST <= born <= LATEST:
        return {}
    return {"birth_date": born.isoformat(), "sex": "male" if int(number[16]) % 2 else "female"}


def _mistake_in_name(random: Random, fields: Fields) -> None:
    fields["name"] = wrong_name(random, fields["name"])


def _mistake_in_phone(random: Random, fields: Fields) -> None:
    if random.random() < NEW_PHONE:
        fields["phone"] = f"1{random.randrange(3, 10)}{random.randrange(10**9):09d}"
    else:
        fields["phone"] = wrong_number(random, fields["phone"], first=1)


def _mistake_in_address(random: Random, fields: Fields) -> None:
    fields["registered_address"] = wrong_address(random, fields["registered_address"])


_MISTAKES: Mapping[str, Callable[[Random, Fields], None]] = {
    "id_number": _mistake_in_id,
    "name": _mistake_in_name,
    "phone": _mistake_in_phone,
    "registered_address": _mistake_in_address,
}
