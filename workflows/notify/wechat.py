"""Our own small client of the WeChat API: fetch a media file, send a text. The address is a setting.

WeChat answers errors with HTTP 200 and a JSON body, also where a file was asked for. Texts of errors never carry the
address of a call, because the access token stands in it.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol

import msgspec

from backend.core.settings import get_settings
from backend.services import outbound

TIMEOUT = outbound.Timeout(10.0, connect=5.0)
TOKEN_MARGIN_SECONDS = 300
TOKEN_REFUSED = frozenset({40001, 40014, 42001})
TRANSIENT = frozenset({-1, 45009, 45011, 50002}) | TOKEN_REFUSED
WINDOW_CLOSED = frozenset({45015, 45047})
NOT_REACHABLE = frozenset({40003, 43004, 48002})
MAX_JSON_BYTES = 65536
SLACK_BYTES = 1
"""So that a file that is one byte too large is known as such, and not as an answer that was cut off."""

# httpx logs each address, token included, at INFO.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)


class WechatAway(Exception):
    """WeChat cannot be reached or asks to come again. `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MediaGone(Exception):
    """The media file cannot be had, now or later. `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Media:
    """A file a citizen sent, with the type WeChat claims for it."""

    content: bytes
    mime: str


class WechatApi(Protocol):
    """What the product asks of WeChat."""

    def fetch_media(self, media_id: str) -> Media:
        """The file. `WechatAway` where trying again may help, `MediaGone` where it cannot."""

    def send_text(self, openid: str, text: str) -> str:
        """Send a customer-service message; gives what became of it as a code. `WechatAway` to try again later."""


class NullWechatApi:
    """Stands in where no app secret is set: nothing is sent, and files wait until one is."""

    def fetch_media(self, media_id: str) -> Media:  # noqa: ARG002  the interface's
        """Always `WechatAway`: WeChat keeps a file for three days, within which a secret may be set."""
        raise WechatAway("not_configured")

    def send_text(self, openid: str, text: str) -> str:  # noqa: ARG002  the interface's
        """The notice stays in the inbox."""
        return "inbox_only"


class HttpWechatApi:
    """The real API. One access token is shared by all calls of this process until shortly before it runs out."""

    def __init__(self, *, base_url: str, app_id: str, app_secret: str, max_media_bytes: int) -> None:
        largest = max(max_media_bytes, MAX_JSON_BYTES)
        self._http = outbound.client(base_url, timeout=TIMEOUT, max_bytes=largest + SLACK_BYTES)
        self._credentials = {"grant_type": "client_credential", "appid": app_id, "secret": app_secret}
        self._max_media_bytes = max_media_bytes
        self._token, self._token_ends = "", 0.0

    def fetch_media(self, media_id: str) -> Media:
        """See `WechatApi`."""
        media, code = self._get_media(media_id)
        if code in TOKEN_REFUSED:
            self._token = ""
            media, code = self._get_media(media_id)
        if media is not None:
            return media
        if code in TRANSIENT:
            raise WechatAway(f"wechat_{code}")
        raise MediaGone(f"wechat_{code}")

    def send_text(self, openid: str, text: str) -> str:
        """See `WechatApi`. Codes: `sent`, `window_closed` (48 hours are over), `unreachable`, `refused_<errcode>`."""
        message = {"touser": openid, "msgtype": "text", "text": {"content": text}}
        code = self._post_message(message)
        if code in TOKEN_REFUSED:
            self._token = ""
            code = self._post_message(message)
        if code in TRANSIENT:
            raise WechatAway(f"wechat_{code}")
        if code in WINDOW_CLOSED:
            return "window_closed"
        if code in NOT_REACHABLE:
            return "unreachable"
        return "sent" if code == 0 else f"refused_{code}"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _get_media(self, media_id: str) -> tuple[Media | None, int]:
        """The file, or none and the error code."""
        query = {"access_token": self._access_token(), "media_id": media_id}
        with _reached(), self._http.stream("GET", "/cgi-bin/media/get", params=query) as answer:
            _check_status(answer)
            mime = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            said = mime == "application/json" or mime.startswith("text/")
            content = _read(answer, limit=MAX_JSON_BYTES if said else self._max_media_bytes)
        return (None, _error_code(content)) if said else (Media(content, mime), 0)

    def _post_message(self, message: dict[str, Any]) -> int:
        query = {"access_token": self._access_token()}
        with _reached():
            answer = self._http.post("/cgi-bin/message/custom/send", params=query, json=message)
        _check_status(answer)
        return _error_code(answer.content)

    def _access_token(self) -> str:
        if not self._token or time.monotonic() >= self._token_ends:
            with _reached():
                answer = self._http.post("/cgi-bin/stable_token", json=self._credentials)
            _check_status(answer)
            self._token, lifetime = _token_of(answer.content)
            self._token_ends = time.monotonic() + max(lifetime - TOKEN_MARGIN_SECONDS, lifetime // 2)
        return self._token


def wechat_api() -> WechatApi:
    """The client the settings ask for."""
    settings = get_settings()
    secret = settings.wechat_app_secret.get_secret_value()
    if not (settings.wechat_app_id and secret):
        return NullWechatApi()
    return _client(settings.wechat_api_url, settings.wechat_app_id, secret, settings.max_photo_bytes)


@lru_cache(maxsize=4)
def _client(base_url: str, app_id: str, secret: str, max_media_bytes: int) -> HttpWechatApi:
    return HttpWechatApi(base_url=base_url, app_id=app_id, app_secret=secret, max_media_bytes=max_media_bytes)


@contextmanager
def _reached() -> Iterator[None]:
    """Turn any failure of the transport into `WechatAway`, without its text."""
    try:
        yield
    except outbound.HttpError as error:
        raise WechatAway(type(error).__name__) from None


def _check_status(answer: outbound.Answer) -> None:
    if answer.status_code != HTTPStatus.OK:
        raise WechatAway(f"http_{answer.status_code}")


def _read(answer: outbound.Answer, *, limit: int) -> bytes:
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if len(content) > limit:
            raise MediaGone("too_large")
    return bytes(content)


def _error_code(content: bytes) -> int:
    """The `errcode` of an answer; one that cannot be read counts as WeChat's "busy"."""
    answer = _decoded(content)
    code = answer.get("errcode", -1)
    return code if isinstance(code, int) else -1


def _token_of(content: bytes) -> tuple[str, int]:
    answer = _decoded(content)
    token, lifetime = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(token, str) or not isinstance(lifetime, int):
        raise WechatAway(f"token_{_error_code(content)}")
    return token, lifetime


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
