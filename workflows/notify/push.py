"""Wake-ups for handhelds through Firebase Cloud Messaging (FCM).

A wake-up carries the notice's id and nothing about people; the notice itself waits in the inbox. Most handsets in
mainland China cannot be reached this way, so nothing depends on it.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

from backend.core.settings import get_settings
from backend.services import outbound

HTTP_TIMEOUT_SECONDS = 10
TIME_TO_LIVE = timedelta(days=1)


class TargetKind(StrEnum):
    """What a push target is: a Firebase installation id, or a registration token of an older client."""

    FID = "fid"
    TOKEN = "token"


class PushResult(StrEnum):
    """What became of a wake-up. `GONE`: the target exists no longer, and is to be forgotten."""

    SENT = "sent"
    INBOX_ONLY = "inbox_only"
    GONE = "target_gone"
    REFUSED = "refused"


class PushAway(Exception):
    """FCM or its login cannot be reached or asks to come again. `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Wake:
    """What is pushed: ids and codes only."""

    notice_id: UUID
    template: str


class Push(Protocol):
    """Sends wake-ups."""

    def send(self, target: str, kind: TargetKind, wake: Wake) -> PushResult:
        """Send one wake-up. `PushAway` where trying again may help."""


class NullPush:
    """Stands in where no credentials are set."""

    def send(self, target: str, kind: TargetKind, wake: Wake) -> PushResult:  # noqa: ARG002  the interface's
        """The notice waits in the inbox."""
        return PushResult.INBOX_ONLY


class FirebasePush:
    """firebase-admin through its real code path.

    `fcm_url` replaces the address messages go to; with a `token_uri` in the credentials it lets the same code talk
    to a local server. Its adapters are replaced: by ones that call Google's hosts only, and without retries, which
    would sleep while a worker waits: the job tries again instead.
    """

    def __init__(self, credentials_file: str, *, fcm_url: str | None = None) -> None:
        # Imported on first use, because it takes about a second and most processes never push.
        import firebase_admin
        from firebase_admin import credentials, messaging

        self._messaging = messaging
        self._app = firebase_admin.initialize_app(
            credentials.Certificate(credentials_file),
            {"httpTimeout": HTTP_TIMEOUT_SECONDS},
            name=f"zhiwang-{id(self)}",
        )
        service = messaging._get_messaging_service(self._app)
        service._fcm_url = fcm_url or service._fcm_url
        # A stand-in is let through only where it was asked for; the file alone cannot send us anywhere else.
        gate = outbound.google_gate(*([fcm_url] if fcm_url else []))
        session = service._client.session
        for guarded in (session, session._auth_request_session):
            outbound.guard_session(guarded, gate)

    def send(self, target: str, kind: TargetKind, wake: Wake) -> PushResult:
        """See `Push`. A failed login is a `GoogleAuthError`, which is no `FirebaseError`."""
        from firebase_admin import exceptions
        from google.auth.exceptions import GoogleAuthError

        try:
            self._messaging.send(self._message(target, kind, wake), app=self._app)
        except self._messaging.UnregisteredError:
            return PushResult.GONE
        except (exceptions.UnavailableError, exceptions.ResourceExhaustedError, exceptions.InternalError) as error:
            raise PushAway(error.code.lower()) from None
        except (exceptions.DeadlineExceededError, exceptions.UnknownError) as error:
            raise PushAway(error.code.lower()) from None
        except GoogleAuthError as error:
            raise PushAway(type(error).__name__) from None
        except exceptions.FirebaseError:
            return PushResult.REFUSED
        return PushResult.SENT

    def close(self) -> None:
        """Forget the app."""
        import firebase_admin

        firebase_admin.delete_app(self._app)

    def _message(self, target: str, kind: TargetKind, wake: Wake) -> Any:
        message = self._messaging.Message(
            data={"notice_id": str(wake.notice_id), "template": wake.template},
            android=self._messaging.AndroidConfig(collapse_key=wake.notice_id.hex, priority="high", ttl=TIME_TO_LIVE),
        )
        # Set afterwards, because the constructor warns of tokens, which older clients still hold.
        setattr(message, kind.value, target)
        return message


def push_service() -> Push:
    """The service the settings ask for."""
    credentials_file = get_settings().firebase_credentials
    return _firebase(credentials_file) if credentials_file else NullPush()


@lru_cache(maxsize=2)
def _firebase(credentials_file: str) -> FirebasePush:
    return FirebasePush(credentials_file)
