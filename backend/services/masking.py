"""Personal values as they are shown by default: 张**, 4403**********001X, 138****1234.

Fields that a kind declares public are shown as they are. All others are masked, those without a mask of their own as
a whole, so that a field nobody thought of is hidden rather than shown.
"""

from collections.abc import Callable, Mapping
from typing import Any

from backend.core.enums import Kind
from backend.kinds import KINDS, Document
from backend.kinds.base import PUBLIC_KEYS, Member
from backend.services.records import declared, surname

HIDDEN = "***"
_ADDRESS_KEPT = 6


def mask_name(name: str) -> str:
    """The family name, and a star for each further character: 张三丰 → 张**."""
    kept = surname(name) if len(name) > 1 else ""
    return kept + "*" * (len(name) - len(kept))


def mask_id_number(number: str) -> str:
    """The first and last four characters; fewer of a short number, at most a quarter on each side."""
    return _mask_middle(number, 4, 4)


def mask_phone(phone: str) -> str:
    """The first three and the last four digits of a mobile number; fewer of a short one."""
    return _mask_middle(phone, 3, 4)


def mask_address(address: str) -> str:
    """The beginning, which names a division at most."""
    return address[: min(_ADDRESS_KEPT, len(address) // 3)] + HIDDEN


def mask_date(day: str) -> str:
    """The year of a date: 1990-**-**."""
    return f"{day[:4]}-**-**"


def mask_house_code(code: str) -> str:
    """The district of a house code."""
    return _mask_middle(code, 6, 0)


def shown(kind: Kind, field: str, value: Any) -> Any:
    """A value of a record's field, given as a dotted path, as an office role sees it."""
    name, _, inside = field.partition(".")
    if value is None or name in KINDS[kind].public:
        return _shown_public(name, inside, value)
    leaf = field.rpartition(".")[2]
    if leaf in _NOT_IDENTIFYING:
        return value
    mask = _MASKS.get(leaf)
    return mask(value) if mask and isinstance(value, str) else HIDDEN


def masked_fields(kind: Kind, fields: Document) -> Document:
    """The fields of a record as an office role sees them. A person inside a record is masked part by part.

    What the kind does not declare is left out: the very name of such a field is some client's text.
    """
    known = KINDS[kind].model.model_fields
    return {name: _masked(kind, name, value) for name, value in fields.items() if name in known}


def _masked(kind: Kind, name: str, value: Any) -> Any:
    if name not in KINDS[kind].nested:
        return shown(kind, name, value)
    if isinstance(value, list):
        return [_masked_person(kind, name, item) for item in value]
    return _masked_person(kind, name, value)


def _masked_person(kind: Kind, name: str, person: Any) -> Any:
    if not isinstance(person, dict):
        return shown(kind, name, person)
    known = Member.model_fields
    return {leaf: shown(kind, f"{name}.{leaf}", value) for leaf, value in person.items() if leaf in known}


def _shown_public(name: str, inside: str, value: Any) -> Any:
    """A public value without what a client added to it: that was sealed, as it may say anything about anybody."""
    if not inside:
        return declared(name, value)
    key = next((step for step in inside.split(".") if not step.isdecimal()), "")
    return value if value is None or name not in PUBLIC_KEYS or key in PUBLIC_KEYS[name] else HIDDEN


def _mask_middle(text: str, first: int, last: int) -> str:
    """Star all but the ends; of a text too short for four stars between them, keep no more than a quarter each."""
    if len(text) < first + last + 4:
        first, last = min(first, len(text) // 4), min(last, len(text) // 4)
    return text[:first] + "*" * (len(text) - first - last) + text[len(text) - last :]


_NOT_IDENTIFYING = frozenset({"sex", "residence_matches_registration", "relation", "id_type"})
_MASKS: Mapping[str, Callable[[str], str]] = {
    "name": mask_name,
    "id_number": mask_id_number,
    "phone": mask_phone,
    "birth_date": mask_date,
    "registered_address": mask_address,
    "address": mask_address,
    "house_code": mask_house_code,
}
