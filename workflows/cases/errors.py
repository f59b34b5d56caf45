"""Refusals of the case room."""

from backend.core.errors import ZhiwangError


class CaseActionNotAllowed(ZhiwangError):
    """`because` is `state`, `role` or the condition on the person that does not hold; `allowed` what may be done."""

    code = "case_action_not_allowed"
    status = 409
    title_zh = "案件当前阶段或您的身份不允许此操作"
    title_en = "The case's stage, or your part in it, does not allow this action"


class CaseActionIncomplete(ZhiwangError):
    """`needs` names what is missing; `reasons` lists the reasons there are, where one is missing."""

    code = "case_action_incomplete"
    status = 422
    title_zh = "操作缺少必填内容，请补充后再提交"
    title_en = "The action needs more than was given"


class CaseDepartmentUnknown(ZhiwangError):
    code = "case_department_unknown"
    status = 409
    title_zh = "没有这个承办单位，请重新选择"
    title_en = "There is no such department"


class VisitDone(ZhiwangError):
    """`result` is what came of it."""

    code = "visit_done"
    status = 409
    title_zh = "该核实任务已办结"
    title_en = "The look on site has been answered, or is needed no more"


class SettlementReplaced(ZhiwangError):
    code = "settlement_replaced"
    status = 409
    title_zh = "该决定已被新的决定取代，请刷新后再试"
    title_en = "The settlement is in force no more; read the entry's again"


class SettlementNotPossible(ZhiwangError):
    """`because`: `same`, `case_open`, `nothing_routes` or `nobody_to_ask`."""

    code = "settlement_not_possible"
    status = 409
    title_zh = "不能改为该处理方式"
    title_en = "The entry cannot be settled so"
