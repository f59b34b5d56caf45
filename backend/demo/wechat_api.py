"""A stand-in for WeChat: the API server that outbound calls reach, and the platform's side of the hook.

It speaks the wire formats of the real one, so that the product's own client and hook run unchanged against it.
"""

import itertools
import json
import secrets
import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from backend.core.clock import now
from backend.kinds.geodesy import gcj02_from_wgs84
from workflows.channels.wechat_crypto import Channel, seal_call

STABLE_TOKEN = "/cgi-bin/stable_token"
MEDIA = "/cgi-bin/media/get"
SEND = "/cgi-bin/message/custom/send"
TOKEN_SECONDS = 7200

Answer = Mapping[str, Any] | bytes | int
"""What a scripted call is answered with: a JSON body, a raw body, or an HTTP status. Status 0 cuts the connection."""


@dataclass(frozen=True, slots=True)
class SentText:
    """A customer-service message the server took."""

    openid: str
    text: str


class FakeWechatApi:
    """Serves `photos` by media id and takes messages; `script` puts answers before the ordinary ones."""

    def __init__(self, photos: Mapping[str, bytes]) -> None:
        self.photos = dict(photos)
        self.sent: list[SentText] = []
        self.calls: list[str] = []
        self._scripts: dict[str, deque[Answer]] = defaultdict(deque)
        self._token = ""
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def start(self, port: int = 0) -> str:
        """Listen on loopback, on any free port by default; gives the base URL."""
        fake = self

        class Handler(_Handler):
            api = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def script(self, path: str, *answers: Answer) -> None:
        """Answer the next calls of `path` with these, in order."""
        with self._lock:
            self._scripts[path].extend(answers)

    def answer(self, path: str, query: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
        """The answer to one call."""
        with self._lock:
            self.calls.append(path)
            if self._scripts[path]:
                return self._scripts[path].popleft()
            if path == STABLE_TOKEN:
                return self._new_token(body)
            if not self._token or query.get("access_token") != self._token:
                return _error(40001, "invalid credential, access_token is invalid or not latest")
            if path == MEDIA:
                return self.photos.get(query.get("media_id", ""), _error(40007, "invalid media_id"))
            return self._take_message(body) if path == SEND else 404

    def _new_token(self, body: Mapping[str, Any]) -> Answer:
        if body.get("grant_type") != "client_credential" or not (body.get("appid") and body.get("secret")):
            return _error(40013, "invalid appid")
        self._token = self._token or secrets.token_urlsafe(24)
        return {"access_token": self._token, "expires_in": TOKEN_SECONDS}

    def _take_message(self, body: Mapping[str, Any]) -> Answer:
        if body.get("msgtype") != "text":
            return _error(40008, "invalid message type")
        self.sent.append(SentText(body["touser"], body["text"]["content"]))
        return _error(0, "ok")


class _Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for the fake that made its subclass."""

    api: FakeWechatApi

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}"))

    def log_message(self, *_: object) -> None:
        """Keep quiet: tests and the demo say themselves what happened."""

    def _serve(self, body: Mapping[str, Any]) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        answer = self.api.answer(address.path, query, body)
        if answer == 0:
            self.close_connection = True
            self.connection.close()
        elif isinstance(answer, bytes):
            self._send(200, "image/jpeg", answer, {"Content-disposition": 'attachment; filename="media.jpg"'})
        elif isinstance(answer, int):
            self._send(answer, "text/html", b"", {})
        else:
            # The real server says text/plain for most of its JSON.
            self._send(200, "text/plain", json.dumps(dict(answer)).encode(), {})

    def _send(self, status: int, mime: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": mime, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the hook: `POST /channels/wechat` with these query values and this body."""

    params: dict[str, str]
    body: bytes


class WechatSender:
    """The platform's side of the hook: builds messages of citizens as WeChat sends them, signed and encrypted."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ids = itertools.count(secrets.randbits(48) << 12)

    def text(self, openid: str, content: str, *, at: datetime | None = None) -> Call:
        """A text message."""
        return self.message(openid, "text", {"Content": content}, at=at)

    def image(self, openid: str, media_id: str, *, at: datetime | None = None) -> Call:
        """A photo, which WeChat keeps under the media id."""
        picture = {"PicUrl": "http://mmbiz.invalid/synthetic", "MediaId": media_id}
        return self.message(openid, "image", picture, at=at)

    def location(self, openid: str, lat: float, lon: float, *, at: datetime | None = None) -> Call:
        """A location, given in degrees of WGS-84 and sent as WeChat does, in GCJ-02."""
        gcj_lat, gcj_lon = gcj02_from_wgs84(lat, lon)
        place = {"Location_X": f"{gcj_lat:.6f}", "Location_Y": f"{gcj_lon:.6f}", "Scale": "15", "Label": ""}
        return self.message(openid, "location", place, at=at)

    def event(self, openid: str, event: str, *, at: datetime | None = None) -> Call:
        """An event such as `subscribe`; it has no MsgId."""
        return self._call(openid, "event", {"Event": event}, at=at or now())

    def message(self, openid: str, kind: str, fields: Mapping[str, str], *, at: datetime | None = None) -> Call:
        """A message of any kind, under a fresh MsgId."""
        return self._call(openid, kind, {**fields, "MsgId": str(next(self._ids))}, at=at or now())

    def _call(self, openid: str, kind: str, fields: Mapping[str, str], *, at: datetime) -> Call:
        envelope = {
            "ToUserName": "gh_synthetic",
            "FromUserName": openid,
            "CreateTime": str(int(at.timestamp())),
            "MsgType": kind,
            **fields,
        }
        inside = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in envelope.items())
        return self.sealed(f"<xml>{inside}</xml>".encode())

    def sealed(self, xml: bytes, *, at: datetime | None = None) -> Call:
        """Any bytes, signed and encrypted now or `at` another time."""
        signed, body = seal_call(self._channel, xml, at=at or now())
        params = {
            "signature": "unused-in-safe-mode",
            "timestamp": signed.timestamp,
            "nonce": signed.nonce,
            "openid": "unused-in-safe-mode",
            "encrypt_type": "aes",
            "msg_signature": signed.signature,
        }
        return Call(params, body)


def _error(code: int, message: str) -> dict[str, Any]:
    return {"errcode": code, "errmsg": message}
