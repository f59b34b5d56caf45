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
