"""What a call may end with instead of an answer. In none of these cases is anything lost on the device."""

from typing import Any

import httpx


class ClientError(Exception):
    """A call without the answer that was hoped for."""


class Unreachable(ClientError):
    """No answer, or none but "later", for as long as the client is patient. Sync again when there is a network."""


class Refused(ClientError):
    """An answer that repeating the call would not change. `code` is the stable one of docs/errors.md."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status = answer.status_code
        self.problem = _problem_of(answer)
        self.code = str(self.problem.get("code", ""))
        self.server_epoch = answer.headers.get("X-Sync-Epoch", "")
        titles = " · ".join(str(self.problem[name]) for name in ("title", "title_en") if name in self.problem)
        super().__init__(f"{answer.request.method} {answer.request.url.path}: {self.status} {self.code} {titles}")


class LoggedOut(Refused):
    """The tokens stand no more: enrol again with a new code. The store keeps everything, unsent edits above all."""


class EpochChanged(Refused):
    """The server was restored to an earlier point and begins another line of history, named `epoch`; or it cannot have
    given a checkpoint of ours. Either way the sync starts anew."""

    @property
    def epoch(self) -> str:
        """The epoch to adopt."""
        return str(self.problem.get("epoch", self.server_epoch))


def refusal(answer: httpx.Response) -> Refused:
    """The error that an answer of 4xx stands for."""
    refused = Refused(answer)
    return EpochChanged(answer) if refused.code in ("epoch", "checkpoint_ahead") else refused


def _problem_of(answer: httpx.Response) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
