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
