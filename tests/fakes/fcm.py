"""A stand-in for Firebase Cloud Messaging and Google's token server, speaking their wire formats."""

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

PROJECT = "zhiwang-synthetic"
ACCESS_TOKEN = "synthetic-access-token"
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] | None = None


def refusal(status: int, google_status: str, fcm_code: str | None = None, **headers: str) -> Reply:
    """An error as the FCM v1 API writes it."""
    error: dict[str, Any] = {"code": status, "message": "synthetic", "status": google_status}
    if fcm_code:
        error["details"] = [{"@type": FCM_ERROR, "errorCode": fcm_code}]
    return Reply(status, {"error": error}, headers)


UNREGISTERED = refusal(404, "NOT_FOUND", "UNREGISTERED")
SENDER_ID_MISMATCH = refusal(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH")
QUOTA_EXCEEDED = refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", **{"Retry-After": "60"})
UNAVAILABLE = refusal(503, "UNAVAILABLE", None, **{"Retry-After": "60"})
LOGIN_REFUSED = Reply(400, {"error": "invalid_grant", "error_description": "synthetic"})


class FakeFcm:
    """Takes messages; `script` and `script_login` put answers before the ordinary ones."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.attempts = 0
        self.logins = 0
        self._scripted: deque[Reply] = deque()
        self._scripted_logins: deque[Reply] = deque()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> str:
        """Listen on any free port of loopback; gives the base URL."""
        fake = self

        class Handler(_Handler):
            fcm = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self.base_url

    @property
    def base_url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def send_url(self) -> str:
        """What the product's one seam, `_fcm_url`, is set to."""
        return f"{self.base_url}/v1/projects/{PROJECT}/messages:send"

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def script(self, *replies: Reply) -> None:
        """Answer the next messages with these."""
        self._scripted.extend(replies)

    def script_login(self, *replies: Reply) -> None:
        """Answer the next logins with these."""
        self._scripted_logins.extend(replies)

    def write_credentials(self, file: Path) -> Path:
        """A service account whose token server is this one."""
        key = generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        account = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "synthetic",
            "private_key": pem,
            "client_email": f"push@{PROJECT}.invalid",
            "client_id": "1",
            "token_uri": f"{self.base_url}/token",
        }
        file.write_text(json.dumps(account), encoding="utf-8")
        return file

    def log_in(self, form: Mapping[str, str]) -> Reply:
        """A JWT bearer grant for an access token."""
        self.logins += 1
        if self._scripted_logins:
            return self._scripted_logins.popleft()
        if not form.get("grant_type", "").endswith("jwt-bearer") or form.get("assertion", "").count(".") != 2:
            return LOGIN_REFUSED
        return Reply(200, {"access_token": ACCESS_TOKEN, "expires_in": 3600, "token_type": "Bearer"})

    def take(self, authorization: str, body: dict[str, Any]) -> Reply:
        """One `messages:send`."""
        self.attempts += 1
        if authorization != f"Bearer {ACCESS_TOKEN}":
            return refusal(401, "UNAUTHENTICATED")
        if self._scripted:
            reply = self._scripted.popleft()
            if reply.status != 200:
                return reply
        self.messages.append(body["message"])
        return Reply(200, {"name": f"projects/{PROJECT}/messages/{len(self.messages)}"})


class _Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for the fake that made its subclass."""

    fcm: FakeFcm

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/token":
            reply = self.fcm.log_in({name: values[0] for name, values in parse_qs(content.decode()).items()})
        else:
            reply = self.fcm.take(self.headers.get("Authorization", ""), json.loads(content))
        body = json.dumps(dict(reply.body)).encode()
        self.send_response(reply.status)
        fixed = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in {**fixed, **(reply.headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet: the tests say what happened."""
