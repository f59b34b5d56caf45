"""Rules of the cross-check, what-ifs, and runs that check again. They belong to no place."""

import json
from typing import Any
from uuid import uuid4

from backend.seed.territory import DATA
from tests.matrix.cells import Ask, Call

RULES: Any = json.loads((DATA / "rule_set_1.json").read_text(encoding="utf-8"))


def _call(method: str, path: str, **options: Any) -> Call:
    # What nobody has asked for is not there, which a caller who may look hears like everybody else.
    return Call(lambda _: Ask(method, f"/checks/v1/{path}", options), passed={"not_found", "rule_set_active"})


CALLS = {
    "rule_sets.list": _call("GET", "rule-sets"),
    "rule_sets.read": _call("GET", "rule-sets/1"),
    "rule_sets.draft": _call("POST", "rule-sets", json={"title": "合成规则", "rules": RULES}),
    "rule_sets.activate": _call("POST", "rule-sets/1/activate", json={"reason": "returned"}),
    "rechecks.list": _call("GET", "rechecks"),
    "rechecks.cancel": _call("POST", f"rechecks/{uuid4()}/cancel"),
    "what_ifs.create": _call("POST", "what-ifs", json={"rule_version": 1}),
    "what_ifs.list": _call("GET", "what-ifs"),
    "what_ifs.read": _call("GET", f"what-ifs/{uuid4()}"),
    "what_ifs.fetch": _call("GET", f"what-ifs/{uuid4()}/file"),
    "what_ifs.cancel": _call("POST", f"what-ifs/{uuid4()}/cancel"),
}
