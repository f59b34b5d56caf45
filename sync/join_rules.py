"""Which values a record gets when another one turns out to be about the same thing, and which it had before. Pure."""

from collections.abc import Collection, Sequence
from typing import Any

from backend.kinds.base import Document, KindSpec, Merge
from sync.rules import ABSENT, same

OWN = frozenset({"grid_id", "captured_at"})
"""Where a record lies and when it was made is its own, whatever it is joined with."""

JOIN_REASONS = {
    "same_person": "同一人员重复登记",
    "same_house": "同一房屋重复登记",
    "same_thing": "同一对象重复登记",
}
PART_REASONS = {
    "joined_wrongly": "合并有误，恢复原记录",
    "new_information": "有新的情况，恢复原记录",
}


def joined(spec: KindSpec, survivor: Document, duplicate: Document, *, take: Collection[str] = ()) -> Document:
    """The survivor's fields with what only the duplicate knows, members of its lists included, and with the values of
    `take`, which the steward chose. An absent value and null are nothing known."""
    result = dict(survivor)
    for name, value in duplicate.items():
        if name in OWN or value is None:
            continue
        mine = survivor.get(name)
        if name in take or mine is None:
            result[name] = value
        elif spec.merge_of(name) is Merge.BY_ID:
            result[name] = _united(mine, value, spec.members[name])
    return result


def changed(before: Document, after: Document) -> list[str]:
    """The fields that differ, in a fixed order."""
    names = dict.fromkeys([*before, *after])
    return sorted(name for name in names if not _same(before.get(name, ABSENT), after.get(name, ABSENT)))


def restored(before: Document, after: Document, now: Document) -> Document | None:
    """The record as it is now, with the fields that a join changed as they were before it.

    None where one of them was changed again since.
    """
    result = dict(now)
    for name in changed(before, after):
        if not _same(now.get(name, ABSENT), after.get(name, ABSENT)):
            return None
        if name in before:
            result[name] = before[name]
        else:
            result.pop(name, None)
    return result


def _united(mine: Any, others: Any, key: str) -> Any:
    """The members of both lists, the survivor's first; of one that both have, the survivor's."""
    if not isinstance(mine, list) or not isinstance(others, list):
        return mine
    known = {str(item.get(key)) for item in mine if isinstance(item, dict)}
    more: Sequence[Any] = [item for item in others if isinstance(item, dict) and str(item.get(key)) not in known]
    return [*mine, *more]


def _same(left: Any, right: Any) -> bool:
    if left is ABSENT or right is ABSENT:
        return left is right
    return same(left, right)
