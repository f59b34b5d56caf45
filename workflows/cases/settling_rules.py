"""Why an entry is settled as it is: codes with their plain Chinese text, as data. Pure."""

from collections.abc import Mapping

from backend.core.enums import Course

SYSTEM_REASONS: Mapping[str, str] = {
    "in_order": "核查未发现问题，按网格采集值入库",
    "declaration_in_order": "申报核对未发现问题，网格与部门的登记不变",
    "nothing_asked": "规则未要求处理",
    "rule": "按分派规则处理",
    "case_open": "已有未办结案件",
    "ended_by_a_person": "同一版本的同类问题已由人工办结",
    "confirmed_on_site": "网格员上门核实，采集无误",
}
PERSON_REASONS: Mapping[str, str] = {
    "wrong_comparison": "比对有误",
    "department_outdated": "部门数据过时",
    "seen_on_site": "现场已核实",
    "needs_a_look": "需要上门核实",
    "needs_handling": "需要立案处理",
    "decided_wrongly": "原决定有误，予以撤回",
}
REASONS: Mapping[str, str] = {**SYSTEM_REASONS, **PERSON_REASONS}

UNDONE_TO = (Course.ACCEPTED, Course.VISIT, Course.CASE, Course.NONE)
"""What a person may put in the place of a settlement; `none` only takes it back."""
