"""Mistakes as people make them who write down names, numbers and addresses in Chinese. Seeded by the caller.

Names: a character that sounds the same or looks alike, one left out, two swapped. Numbers: a wrong digit, two swapped,
one left out. Addresses: other writings of the same place, which are no mistake, and mistakes: a wrong number, a road
that sounds the same, the last part left out.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from random import Random

from pypinyin import lazy_pinyin

from backend.seed import names

LOOKALIKES = (
    "未末 己已 士土 日曰 治冶 晴睛 婷停 萍苹 明朋 杨扬 莹营 陈阵 刚钢 琪棋 丽俪 洋样 祥样 峰蜂 伟玮 倩清 杰木 超起 "
    "娜那 静净 敏每 秀季 霞露 平乎 英央 兰三 国园 辉挥 永水 健建 志忘 义又 良郎 波坡 贵责 福富 胜性 学字 才寸 飞气 "
    "彬林 富副 信住 星早 天夫 达送 安女 岩宕 进近 坚竖 和知 诚城 敬警 振震 心必 乐东 功攻 厚原 民氏 友反 河何 浩洁"
).split()
COMMON = (
    "王汪旺望网往张章彰长掌李黎理里礼丽力立利莉历刘流留柳陈晨辰臣沉程成城诚呈杨阳扬洋羊样黄皇煌晃赵照兆吴武伍舞周洲舟州徐许"
    "旭续孙逊马码玛朱珠竹祝胡湖虎护郭国果过何河和合贺林琳临霖麟罗洛骆落高告稿郑正政证梁良亮粮谢解写宋送颂唐堂糖汤韩寒汗含邓等"
    "登冯峰锋丰风凤枫曹草操彭朋鹏曾增赠萧肖晓小田天甜填董懂冬东潘盘袁元园原媛源圆蔡菜才彩财蒋江姜讲余于鱼宇玉雨语育瑜渝钰裕杜度"
    "叶业夜魏伟卫维玮苇威微苏素速吕旅绿律丁顶鼎定任仁认人卢路陆鹿露姚摇瑶耀要沈审深申慎钟中忠仲众崔催翠谭坛潭范帆凡繁石时实世仕"
    "金今锦近进晋韦为贾佳家嘉甲夏霞下侠付富福傅复邹走熊雄兄白百柏孟梦萌秦琴勤芹邱秋球丘侯后厚候尹银音引薛学雪血闫言岩严燕艳彦雁"
    "段断端雷蕾磊泪龙隆陇史诗陶桃涛滔毛茂贸郝好浩昊皓顾古谷固龚公功宫邵少绍万婉晚覃钱前倩千戴代带待莫默墨孔空向香祥翔响常昌畅"
    "军君俊骏均钧勇咏永泳用杰洁捷婕娟捐明鸣铭名茗超抄朝秀绣修平萍评苹刚钢岗桂贵柜英瑛莹颖迎影华花桦化兰蓝岚红宏洪虹鸿弘建健剑见"
    "辉晖惠慧会志智芝之知治致兴星心新欣信馨波博柏宁凝生胜声升盛全泉权胜清青晴卿庆飞菲非彬斌宾滨康抗光广达大"
)
_ROAD_SOUNDS = {
    pair[0]: pair[1]
    for pair in "织之 听汀 穗岁 向象 川穿 晨辰 桃陶 竹筑 松淞 荔丽 虹红 启起 贤闲 锦金 乐悦 居局 碧璧 康慷".split()
}
_NUMERALS = "零一二三四五六七八九十"

Mistake = Callable[[Random, str], str]


def wrong_name(random: Random, name: str) -> str:
    """One mistake in a name; nothing is left out of one with two characters."""
    kinds: list[Mistake] = [_sounds_alike, _sounds_alike, _sounds_alike, _looks_alike]
    if len(name) > 2:
        kinds += [_left_out, _swapped_given]
    return _changed(random, name, kinds, otherwise=_another)


def wrong_number(random: Random, number: str, *, first: int = 0) -> str:
    """One mistake in the digits from place `first` on."""
    return number[:first] + _changed(random, number[first:], [_wrong_digit, _wrong_digit, _swapped, _left_out])


def other_writing(random: Random, address: str) -> str:
    """The same place in other words, one to three of them; always another text."""
    ways = _writings()
    changed = address
    for way in random.sample(ways, k=random.randint(2, 4)):
        changed = way(random, changed)
    return changed if changed != address else _without_province(random, f"{address} ")


def wrong_address(random: Random, address: str) -> str:
    """Another writing with one mistake in it."""
    changed = _changed(random, address, [_wrong_house_number, _road_by_sound, _without_last], otherwise=_without_last)
    return other_writing(random, changed) if random.random() < 0.5 else changed


def _changed(random: Random, text: str, kinds: Sequence[Mistake], *, otherwise: Mistake | None = None) -> str:
    """The first of the mistakes, in random order, that changes the text."""
    for kind in random.sample(list(kinds), k=len(kinds)):
        changed = kind(random, text)
        if changed != text:
            return changed
    return otherwise(random, text) if otherwise else text


def _replaced(text: str, place: int, character: str) -> str:
    return text[:place] + character + text[place + 1 :]


def _sounds_alike(random: Random, name: str) -> str:
    """The surname in one of five cases."""
    place = 0 if random.random() < 0.2 else random.randrange(1, len(name))
    others = [other for other in _by_sound()[_sound(name[place])] if other != name[place]]
    return _replaced(name, place, random.choice(others)) if others else name


def _another(random: Random, name: str) -> str:
    """Another character at the end, for names of which no character sounds or looks like a common one."""
    return name[:-1] + random.choice([character for character in names.GIVEN if character != name[-1]])


def _looks_alike(random: Random, name: str) -> str:
    pairs = {pair[0]: pair[1] for pair in LOOKALIKES} | {pair[1]: pair[0] for pair in LOOKALIKES}
    places = [place for place, character in enumerate(name) if character in pairs]
    if not places:
        return name
    place = random.choice(places)
    return _replaced(name, place, pairs[name[place]])


def _left_out(random: Random, text: str) -> str:
    place = random.randrange(1, len(text))
    return text[:place] + text[place + 1 :]


def _swapped_given(_: Random, name: str) -> str:
    return name[:-2] + name[-1] + name[-2]


def _swapped(random: Random, digits: str) -> str:
    place = random.randrange(len(digits) - 1)
    return digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :]


def _wrong_digit(random: Random, digits: str) -> str:
    place = random.randrange(len(digits))
    return _replaced(digits, place, random.choice([digit for digit in "0123456789" if digit != digits[place]]))


def _wrong_house_number(random: Random, address: str) -> str:
    """A mistake in the number before 号."""
    head, mark, rest = address.rpartition("号")
    start = len(head.rstrip("0123456789"))
    digits = head[start:]
    if not mark or not digits:
        return address
    wrong = _wrong_digit(random, digits) if len(digits) == 1 or random.random() < 0.6 else _swapped(random, digits)
    return f"{head[:start]}{wrong.lstrip('0') or '1'}{mark}{rest}"


def _road_by_sound(_: Random, address: str) -> str:
    for place in range(len(address) - 1, -1, -1):
        if address[place] in _ROAD_SOUNDS and address[place + 1 : place + 3][-1:] in "路街里":
            return _replaced(address, place, _ROAD_SOUNDS[address[place]])
    return address


def _without_last(_: Random, address: str) -> str:
    """Without the room, or where there is none without the house number."""
    for mark in ("栋", "路", "街", "里"):
        head, found, rest = address.rpartition(mark)
        if found and rest:
            return head + found
    return address[:-1]


def _writings() -> list[Mistake]:
    return [
        _without_province,
        _without_city,
        lambda _, address: address.replace("栋", "幢"),
        lambda _, address: address.replace("栋", "座"),
        lambda _, address: address.replace("号", "號"),
        lambda random, address: f"{address}{random.choice(('房', '室'))}" if address[-1].isdigit() else address,
        lambda _, address: address.translate(str.maketrans("0123456789", "０１２３４５６７８９")),
        lambda _, address: address.replace("社区", "社区居委会"),
        lambda random, address: address.replace("号", random.choice(("号 ", "号，")), 1),
        _short_building,
        _numeral_building,
    ]


def _without_province(_random: Random, address: str) -> str:
    _, found, rest = address.partition("省")
    return rest if found and rest else address.strip()


def _without_city(random: Random, address: str) -> str:
    _, found, rest = _without_province(random, address).partition("市")
    return rest if found and rest else address


def _short_building(_: Random, address: str) -> str:
    """`3栋1401` as `3-1401`."""
    head, found, rest = address.rpartition("栋")
    return f"{head}-{rest}" if found and rest.isdigit() else address


def _numeral_building(_: Random, address: str) -> str:
    """`3栋` as `三栋`."""
    head, found, rest = address.partition("栋")
    start = len(head.rstrip("0123456789"))
    digits = head[start:]
    return f"{head[:start]}{_NUMERALS[int(digits)]}栋{rest}" if found and digits and int(digits) <= 10 else address


@lru_cache(maxsize=1)
def _by_sound() -> Mapping[str, list[str]]:
    """Characters that are in names, by their sound without its tone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for character in dict.fromkeys(COMMON + names.GIVEN + "".join(names.SURNAMES)):
        groups[_sound(character)].append(character)
    return groups


@lru_cache(maxsize=4096)
def _sound(character: str) -> str:
    return str(lazy_pinyin(character)[0])
