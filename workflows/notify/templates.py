"""What people are told, as data: plain Chinese, filled with numbers and the words of codes, no personal data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Template:
    """A title and a body; `{name}` stands for a value of the notice's payload."""

    title: str
    body: str


TEMPLATES: Mapping[str, Template] = {
    "case_changed": Template("事项有新进展", "您上报的事项（编号 {number}）{state}。"),
    "report_submitted": Template("上报成功", "您的上报已提交，我们会尽快核实处理，进展将在这里通知您。感谢您的参与！"),
    "report_incomplete": Template("请补充信息", "您的上报还缺少{missing}，请在聊天窗口中发送，然后回复“提交”。"),
    "photo_lost": Template("照片未能接收", "您发送的一张照片未能接收，请重新发送。"),
    "welcome": Template(
        "欢迎使用随手拍", "请依次发送：现场照片、位置（点“+”选择“位置”）和一句话说明，然后回复“提交”。"
    ),
    "privacy_notice": Template("个人信息处理告知", "（第{version}版）{text}"),
    "consent_missing": Template("已停止处理", "您已撤回同意，我们不再处理您新发送的内容。如需上报，请先回复“同意”。"),
    "wish_agree": Template("已记录您的同意", "感谢您的同意，您可以继续上报。随时回复“撤回同意”即可停止。"),
    "wish_withdraw": Template(
        "已撤回同意", "我们不再处理您新的上报。如需恢复，请回复“同意”；如需删除已有信息，请回复“删除我的信息”。"
    ),
    "wish_erase": Template("已收到删除申请", "您的删除申请已登记，审核后将删除您的信息，之后不再通知。"),
    "wish_see": Template("已收到查询申请", "您的信息查询申请已登记，工作人员整理后将与您联系。"),
}

WORDS: Mapping[str, Mapping[str, str]] = {
    "state": {
        "reported": "已上报",
        "accepted": "已受理",
        "registered": "已立案",
        "dispatched": "已派给处置单位",
        "handling": "正在处置",
        "checking": "正在核查处置结果",
        "closed": "已办结",
        "rejected": "经核实不予立案",
    },
    "missing": {"photo": "现场照片", "location": "位置"},
}


def render(template: str, values: Mapping[str, object]) -> Template:
    """The filled template. `KeyError` where a template or a value it needs is missing."""
    found = TEMPLATES[template]
    words = {name: _word(name, value) for name, value in values.items()}
    return Template(found.title, found.body.format_map(words))


def _word(name: str, value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "和".join(_word(name, item) for item in value)
    return WORDS.get(name, {}).get(str(value), str(value))
