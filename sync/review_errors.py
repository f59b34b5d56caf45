"""Refusals of the desk of conflicts and quarantined rows."""

from backend.core.errors import ZhiwangError


class ReviewNotAllowed(ZhiwangError):
    """`because` is `state`, `role` or the condition on the person that does not hold; `allowed` what may be done."""

    code = "review_not_allowed"
    status = 409
    title_zh = "当前状态或您的身份不允许此操作，请刷新后再试"
    title_en = "Where it stands, or your part in it, does not allow this step"


class ReviewReasonUnknown(ZhiwangError):
    """`reasons` are those that the step may be given."""

    code = "review_reason_unknown"
    status = 409
    title_zh = "请从列出的理由中选择一项"
    title_en = "The step needs one of its own reasons"


class ValueGone(ZhiwangError):
    """The chosen side holds nothing any more: the person it was about was erased. `conflict` names the conflict."""

    code = "conflict_value_gone"
    status = 409
    title_zh = "所选的值已依法删除或不存在，请选择其他值"
    title_en = "The chosen value was erased or is not there; choose another one"


class FieldStewarded(ZhiwangError):
    """A department owns the field (一数一源). Its value, or the one that stands, anybody at the desk may choose."""

    code = "field_stewarded"
    status = 409
    title_zh = "该字段以部门业务数据为准，须由数据管理员处理"
    title_en = "A department owns this field: only a data steward may write a collected value over it"


class FieldChanged(ZhiwangError):
    """A resolution can only be taken back while the field is as it left it. `version` is the record's current one."""

    code = "field_changed"
    status = 409
    title_zh = "该字段在处理之后又被修改，不能撤回"
    title_en = "The field changed since the resolution; it cannot be undone"


class RecordDeleted(ZhiwangError):
    """Fields of a deleted record cannot be set: only whether it is deleted can be decided."""

    code = "record_deleted"
    status = 409
    title_zh = "该记录已删除，请先处理其删除冲突"
    title_en = "The record was deleted; only its deletion can be decided"


class RecordUnfit(ZhiwangError):
    """What the decision would make breaks the form of the kind, or leaves the territory. `places` says where."""

    code = "record_unfit"
    status = 409
    title_zh = "处理后的记录不符合规范，请检查所列字段"
    title_en = "The record as decided would break its form; see the places"


class RowNotTaken(ZhiwangError):
    """A quarantined row cannot go in, as it is or as corrected.

    `because` is a quarantine code, or `erased` where a part of it was; `places` says where it breaks the form.
    """

    code = "row_not_taken"
    status = 409
    title_zh = "该数据仍不能入库，请更正后再试或退回"
    title_en = "The row still cannot go in; correct it, or reject it"


class NotJoinable(ZhiwangError):
    """`because`: they are of different kinds (`kind`) or the `same`, one is `deleted`, or they are `not_joined`."""

    code = "not_joinable"
    status = 409
    title_zh = "这两条记录不能合并或拆分，请刷新后再试"
    title_en = "These two records cannot be joined, or taken apart, as they stand"
