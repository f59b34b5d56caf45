"""Citizens who report with photos, and the part of WeChat that stands between: signed, encrypted messages over HTTP.

Needs the secrets of the stack's official account, because it plays WeChat, and an address of this machine as the
stack's WeChat API, because the stack fetches the photos there and sends its answers there.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from urllib.parse import urlsplit

from backend.core.settings import get_settings
from backend.demo.client import Server, taken
from backend.demo.wechat_api import Call, FakeWechatApi, WechatSender
from backend.kinds.geodesy import SCALE
from backend.seed import synthetic
from workflows.channels import hook
from workflows.channels.errors import WechatNotConfigured
from workflows.notify.templates import TEMPLATES

LOOPBACK = ("127.0.0.1", "localhost", "::1")
COMPLAINTS = (
    "路边垃圾成堆，已经三天",
    "井盖缺失，很危险",
    "人行道被乱停车占了",
    "墙上贴满小广告",
    "路面积水过不去",
    "楼下烧烤油烟大",
    "消防通道被堵",
    "路面坑洼",
    "工地扬尘严重",
    "这里有点问题，请来看看",
)
CONFIRM = "提交"
SUBMITTED = TEMPLATES["report_submitted"].title


class NoOwnWechat(Exception):
    """The stack talks to a real official account, or to none: citizens cannot be played."""


@dataclass(frozen=True, slots=True)
class Citizen:
    """One follower of the account who has something to report. `number` decides how he goes about it."""

    number: int
    openid: str
    complaint: str
    lat: float
    lon: float

    @property
    def photos(self) -> list[str]:
        """The media ids of what he photographs: one picture, or sometimes two."""
        return [f"{self.openid}-{place}" for place in range(2 if self.number % 5 == 2 else 1)]

    @property
    def heard_twice(self) -> bool:
        """Whether WeChat sends his messages again, as it does where the answer to a call comes late."""
        return self.number % 5 == 1

    def calls(self, sender: WechatSender) -> Iterator[Call]:
        """His messages, in one of the orders people use."""
        say = sender.text(self.openid, self.complaint)
        show = [sender.image(self.openid, media_id) for media_id in self.photos]
        stand = sender.location(self.openid, self.lat, self.lon)
        confirm = sender.text(self.openid, CONFIRM)
        match self.number % 5:
            case 3:  # He confirms before he was asked for the place.
                yield from (say, *show, confirm, stand)
            case 4:
                yield from (stand, *show, say, confirm)
            case _:
                yield from (say, *show, stand, confirm)


def some_citizens(number: int, grid_ids: Sequence[str], random: Random) -> list[Citizen]:
    """People with something to report from somewhere in the grids."""
    citizens = []
    for place in range(number):
        point = synthetic.point_of_grid(grid_ids[place % len(grid_ids)], random.getrandbits(31))
        openid = f"o-{secrets.token_hex(12)}"
        complaint = COMPLAINTS[place % len(COMPLAINTS)]
        citizens.append(Citizen(place, openid, complaint, point["lat"] / SCALE, point["lon"] / SCALE))
    return citizens


@dataclass(frozen=True, slots=True)
class Wechat:
    """WeChat for the time of the demo. `pictures` are what citizens photograph."""

    api: FakeWechatApi
    sender: WechatSender
    pictures: Sequence[bytes]

    def play(self, server: Server, citizen: Citizen) -> None:
        """Bring all messages of one citizen to the product's hook."""
        for place, media_id in enumerate(citizen.photos):
            self.api.photos[media_id] = self.pictures[(citizen.number + place) % len(self.pictures)]
        for call in citizen.calls(self.sender):
            for _ in range(2 if citizen.heard_twice else 1):
                taken(server.call("POST", "/channels/wechat", params=call.params, content=call.body))

    def told(self) -> set[str]:
        """Citizens who were told that their report is in. A text may come twice after a crash."""
        return {sent.openid for sent in list(self.api.sent) if sent.text.startswith(SUBMITTED)}


@contextmanager
def wechat(pictures: Sequence[bytes]) -> Iterator[Wechat]:
    """Listen where the product expects WeChat. `NoOwnWechat` where that is no address of this machine."""
    address = urlsplit(get_settings().wechat_api_url)
    if address.hostname not in LOOPBACK or address.port is None:
        raise NoOwnWechat
    try:
        sender = WechatSender(hook.channel())
    except WechatNotConfigured as error:
        raise NoOwnWechat from error
    api = FakeWechatApi({})
    api.start(address.port)
    try:
        yield Wechat(api, sender, pictures)
    finally:
        api.stop()
