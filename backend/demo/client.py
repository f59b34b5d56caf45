"""The product's API as its clients meet it: calls that outlast a restart, and logins that renew themselves."""

import threading
import time
from abc import ABC, abstractmethod
from typing import Any

import httpx

Json = dict[str, Any]

PATIENCE_SECONDS = 90.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 3.0
TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class Unreachable(Exception):
    """The server did not answer, or said that it is busy, for as long as a patient client tries."""


class Refused(Exception):
    """An answer that repeating the call would not change. The text is what the server said, Chinese first."""

    def __init__(self, answer: httpx.Response) -> None:
        said = _problem_of(answer)
        self.status = answer.status_code
        self.code = str(said.get("code", ""))
        titles = " · ".join(str(said[name]) for name in ("title", "title_en") if name in said)
        super().__init__(f"{answer.request.method} {answer.request.url.path}: {self.status} {self.code} {titles}")


class Patience:
    """Pauses that grow, until a client has tried for as many seconds as it will."""

    def __init__(self, seconds: float = PATIENCE_SECONDS) -> None:
        self._end = time.monotonic() + seconds
        self._pause = FIRST_WAIT_SECONDS

    def wait(self, why: str, *, at_least: float = 0.0) -> None:
        """Pause before the next try. `Unreachable`, with the reason given, where there is to be none."""
        pause = max(self._pause, at_least)
        if time.monotonic() + pause > self._end:
            raise Unreachable(why)
        time.sleep(pause)
        self._pause = min(2 * self._pause, LONGEST_WAIT_SECONDS)


class Server:
    """One address that many clients of this process call at the same time."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT, trust_env=False, limits=httpx.Limits())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, path: str, *, patient: bool = True, **options: Any) -> httpx.Response:
        """The answer to a call, whatever it says, once the server is there and not busy; `Unreachable` otherwise.

        A patient call is repeated for 90 s and so may reach the server twice: it has to be one that the server takes
        once. A call that is not patient is made once.
        """
        patience = Patience(PATIENCE_SECONDS if patient else 0)
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                patience.wait(f"{method} {path}: {type(error).__name__}")
                continue
            if not _is_busy(answer):
                return answer
            patience.wait(f"{method} {path}: {answer.status_code}", at_least=_asked_to_wait(answer))


class Login(ABC):
    """Somebody who is logged in. An access token lasts ten minutes; one that ran out is renewed."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.access_token = ""
        self._renewing = threading.Lock()

    @abstractmethod
    def renew(self) -> None:
        """Get another access token."""

    def call(self, method: str, path: str, *, patient: bool = True, **options: Any) -> httpx.Response:
        """As `Server.call`, as this login."""
        used = self.access_token
        answer = self._call_with(used, method, path, patient=patient, **options)
        if answer.status_code != httpx.codes.UNAUTHORIZED:
            return answer
        with self._renewing:
            if self.access_token == used:
                self.renew()
        return self._call_with(self.access_token, method, path, patient=patient, **options)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path; `Refused` where there is none for this login."""
        return taken(self.call("GET", path, params=query)).json()

    def _call_with(self, token: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**options.pop("headers", {}), "Authorization": f"Bearer {token}"}
        return self.server.call(method, path, headers=headers, **options)


class Office(Login):
    """Office staff, logged in by password."""

    def __init__(self, server: Server, login: str, password: str) -> None:
        super().__init__(server)
        self._credentials = {"login": login, "password": password}
        self.renew()

    def renew(self) -> None:
        """Log in again."""
        answer = taken(self.server.call("POST", "/auth/v1/login", json=self._credentials))
        self.access_token = answer.json()["access_token"]


def taken(answer: httpx.Response) -> httpx.Response:
    """The answer where the server took the call, `Refused` where it did not."""
    if answer.is_error:
        raise Refused(answer)
    return answer


def _is_busy(answer: httpx.Response) -> bool:
    return answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS


def _asked_to_wait(answer: httpx.Response) -> float:
    """`Retry-After` in seconds, within reason."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT_SECONDS) if text.isdecimal() else 0.0


def _problem_of(answer: httpx.Response) -> Json:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
