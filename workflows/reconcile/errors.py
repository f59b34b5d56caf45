"""What may be refused about a bulk reconciliation. The engine's own refusals are in `engines`."""

from backend.core.errors import ZhiwangError


class ReconciliationUnfit(ZhiwangError):
    """The dataset is about no kind of which records are collected."""

    code = "reconciliation_unfit"
    status = 409
    title_zh = "该数据集与采集的数据类别无关，不能批量比对"
    title_en = "The dataset is about nothing that is collected"


class ReconciliationNoSnapshot(ZhiwangError):
    code = "reconciliation_no_snapshot"
    status = 409
    title_zh = "该数据集还没有业务数据，请先导入"
    title_en = "The dataset has no snapshot in force; import one first"


class ReconciliationSnapshotGone(ZhiwangError):
    """The rows of the run's snapshot are no longer kept: the retention rule took them."""

    code = "reconciliation_snapshot_gone"
    status = 409
    title_zh = "比对所用的业务数据已按保存期限清除，请重新发起"
    title_en = "The snapshot of the run was replaced and its time is over; ask anew"


class ReconciliationNoModel(ZhiwangError):
    """An administrator has to activate a version of `link_model`."""

    code = "reconciliation_no_model"
    status = 503
    title_zh = "没有启用的批量比对模型，请联系管理员"
    title_en = "No model of the bulk reconciliation is active"


class ReconciliationNotRunning(ZhiwangError):
    """`state` is the one it is in."""

    code = "reconciliation_not_running"
    status = 409
    title_zh = "该批量比对已结束"
    title_en = "The reconciliation has ended"


class ReconciliationNotDone(ZhiwangError):
    """There is no report before the end. `state` is the one it is in."""

    code = "reconciliation_not_done"
    status = 409
    title_zh = "批量比对尚未完成，暂无报告"
    title_en = "The reconciliation is not done, so there is no report"
