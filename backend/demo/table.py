"""The day's numbers as a table, and the equations between what was done and what the API says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.table import Table

from backend.core.enums import Outcome
from backend.demo import ledger
from backend.demo.ledger import Account
from backend.demo.overview import Overview
from workflows.notify.templates import WORDS

OUTCOMES = {
    Outcome.APPLIED: "生效",
    Outcome.MERGED: "合并",
    Outcome.CONFLICT: "冲突",
    Outcome.UNCHANGED: "无变化",
    Outcome.QUARANTINED: "隔离",
}
PHOTO_STATES = {"expected": "待上传", "received": "已收到", "processed": "已处理", "failed": "无法处理"}
REPORT_STATES = {"assembling": "待补充", "submitted": "已提交"}
VERDICTS = {
    "match": "一致",
    "differs": "字段不一致",
    "sources_differ": "多源不一致",
    "name_differs": "名称不一致",
    "ambiguous": "无法确定",
    "not_found": "查无记录",
    "id_self_inconsistent": "证件号自身有误",
    "address_unknown": "地址未登记",
    "out_of_grid": "不在本网格",
    "flag_conflict": "人户一致标记不符",
    "moved": "已迁移或移位",
    "duplicate": "重复",
    "rental_hazard": "出租屋隐患",
    "organisation_closed": "已注销仍经营",
    "component_unknown": "部件未登记",
    "class_unknown": "类别不明",
    "accepted": "予以采信",
}


@dataclass(frozen=True, slots=True)
class Done:
    """What the demo did itself: the handhelds' accounts with the server's answers, and the rest as sums.

    `live` is what the handhelds hold at the end of what was entered today, `cases` the cases they learnt of.
    `taken_back` counts changes that were taken back after a lost answer, `as_before` those of them that are gone.
    """

    accounts: list[Account]
    photos: int
    reports: int
    told: int
    live: int
    unlike: int
    cases: int
    acted: int
    seen_closed: int
    taken_back: int = 0
    as_before: int = 0


@dataclass(frozen=True, slots=True)
class Equation:
    """Two numbers that must be equal, with their names; as text, with both of them."""

    title: str
    left_name: str
    left: int
    right_name: str
    right: int

    @property
    def holds(self) -> bool:
        return self.left == self.right

    def __str__(self) -> str:
        sign = "=" if self.holds else "≠"
        return f"{self.title}: {self.left_name} {self.left} {sign} {self.right_name} {self.right}"


def equations(done: Done, added: Overview) -> Iterator[Equation]:
    """Everything that must hold at the end of the day, whatever failed in between."""
    yield from _of_mutations(done.accounts, added)
    yield from _of_photos_and_reports(done, added)
    checked = ledger.written_versions(done.accounts) + added.count("reports", "submitted")
    yield Equation(
        "一版本一结论 one verdict each", "版本与上报 entries", checked, "结论 verdicts", added.count("verdicts")
    )
    yield Equation("在册记录 records", "终端所存 on handhelds", done.live, "系统 system", added.count("entries"))
    yield Equation("撤回的修改 taken back", "撤回 edits", done.taken_back, "恢复原值 as before", done.as_before)
    yield _none("同网格终端不一致 handhelds of a grid differ", done.unlike)
    yield Equation(
        "案件分队列 cases", "各队列之和 sum of queues", added.all_cases, "总数 total", added.cases_in_summary
    )
    yield Equation("案件下发 cases on handhelds", "终端所见 seen", done.cases, "系统 system", added.all_cases)
    yield Equation("结案回传 closed cases come back", "结案 closed", done.acted, "终端所见 seen", done.seen_closed)
    yield _none("失败任务 dead jobs", added.count("jobs", "dead"))
    yield _none("终端积压 unsent changes", added.count("devices", "waiting_changes"))


def _of_mutations(accounts: list[Account], added: Overview) -> Iterator[Equation]:
    sent = sum(len(account.sent) for account in accounts)
    yield Equation("变更逐条入账 every mutation once", "发出 sent", sent, "入账 accounted", added.count("mutations"))
    expected = ledger.expected_outcomes(accounts)
    for outcome, word in OUTCOMES.items():
        found = added.count("mutations", outcome)
        yield Equation(f"{word} {outcome}", "应为 must be", expected[outcome], "实为 is", found)
    yield _none("终端逐条对账不符 differences in handhelds' own lists", sum(len(one.misnamed()) for one in accounts))
    yield _none("意外结果 outcomes other than they must be", len(ledger.surprises(accounts)))
    records = ledger.conflict_records(accounts)
    yield Equation("冲突记录 conflict records", "终端所见 told", records, "系统 system", added.count("conflicts"))


def _of_photos_and_reports(done: Done, added: Overview) -> Iterator[Equation]:
    processed, submitted = added.count("photos", "processed"), added.count("reports", "submitted")
    yield Equation("照片 photos", "发出 sent", done.photos, "已处理 processed", processed)
    yield _none("未处理的照片 photos not processed", added.count("photos") - processed)
    yield Equation("市民上报 citizens' reports", "发出 sent", done.reports, "已提交 submitted", submitted)
    yield _none("多余的上报 reports too many", added.count("reports") - submitted)
    yield Equation("市民收到回复 citizens told", "上报 reports", done.reports, "收到 told", done.told)


def _none(title: str, found: int) -> Equation:
    """Something of which there must be none."""
    return Equation(title, "应为 must be", 0, "实为 is", found)


def table(added: Overview) -> Table:
    """What the day added, as the API counts it."""
    made = Table("类别", "项目", "数量", title="演示日 · the demo day", title_justify="left")
    made.columns[2].justify = "right"
    outcomes = {f"{word} {outcome}": added.count("mutations", outcome) for outcome, word in OUTCOMES.items()}
    _section(made, "变更 mutations", outcomes)
    _section(made, "照片 photos", _named(added.groups["photos"], PHOTO_STATES))
    _section(made, "市民上报 reports", _named(added.groups["reports"], REPORT_STATES))
    verdicts = dict(sorted(added.groups["verdicts"].items(), key=lambda item: (-item[1], item[0])))
    _section(made, "结论 verdicts", _named(verdicts, VERDICTS))
    for queue, states in sorted(added.cases.items()):
        title = f"案件 cases\n{added.queue_names.get(queue, '')}\n{queue}"
        _section(made, title, _named(states, WORDS["state"]))
    return made


def _named(states: Mapping[str, int], words: Mapping[str, str]) -> dict[str, int]:
    """The same numbers under names in both languages."""
    return {f"{words.get(state, '')} {state}".strip(): number for state, number in states.items()}


def _section(made: Table, title: str, numbers: Mapping[str, int]) -> None:
    for place, (name, number) in enumerate(numbers.items()):
        made.add_row("" if place else title, name, str(number))
    if numbers:
        made.add_section()
