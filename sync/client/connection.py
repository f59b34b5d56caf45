"""Calls as one enrolled device: repeated until the server answers, with tokens that renew themselves, and the epoch.

The device has an ES256 key of its own. A refresh token is worth nothing without a proof signed by it, so a stolen copy
of the token alone does no harm. Tokens are stored before they are used; where the answer of a refresh was lost, the
same refresh token is presented again, which the server takes for what it is.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from sync.client.errors import LoggedOut, Refused, Unreachable, refusal
from sync.client.store import Store

AUDIENCE = "zhiwang"
SCHEMA_VERSION = 3
"""The form of the documents that scripts write today. An app that is older than the server's form says its own."""

PATIENCE_SECONDS = 90.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 30.0
PROOF_SECONDS = 60
TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class Connection:
    """The way to one server. `store` keeps the key, the tokens and the epoch over restarts.

    `schema_version` is the form of the documents that the caller speaks, `patience` for how many seconds of waiting a
    call is repeated; `transport` and `pause` are for tests and for networks of their own.
    """

    def __init__(
        self,
        url: str,
        store: Store,
        *,
        schema_version: int = SCHEMA_VERSION,
        transport: httpx.BaseTransport | None = None,
        patience: float = PATIENCE_SECONDS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(base_url=url, transport=transport, timeout=TIMEOUT, trust_env=False)
        self._store = store
        self._schema_version = str(schema_version)
        self._patience = patience
        self._pause = pause

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def enrol(self, code: str, device_name: str) -> None:
        """Bind this device to the account that a one-time code was given out for. `Refused` for a code that is used up:
        where an answer was lost it is, and another one is needed."""
        private = ec.generate_private_key(ec.SECP256R1())
        body = {"code": code, "device_name": device_name, "public_key": _public(private)}
        answer = self._patiently("POST", "/auth/v1/enrol", json=body)
        if answer.is_error:
            raise Refused(answer)
        tokens = answer.json()
        self._store.remember(
            key=_pem(private),
            device_id=tokens["device_id"],
            access_token=tokens["access_token"],
            refresh_token=tokens["refresh_token"],
        )

    def call(self, method: str, path: str, *, patient: bool = True, **options: Any) -> httpx.Response:
        """The answer to a call of the protocol; `Refused` or one of its kinds for 4xx, `Unreachable` for none.

        A call that is not patient is made once: it has to be one that the server would not take twice.
        """
        answer = self._authorised(method, path, patient=patient, **options)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._refresh()
            answer = self._authorised(method, path, patient=patient, **options)
        if answer.is_error:
            raise refusal(answer)
        if "X-Sync-Epoch" in answer.headers and not self._store.epoch:
            self._store.remember(epoch=answer.headers["X-Sync-Epoch"])
        return answer

    def _authorised(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {
            "Authorization": f"Bearer {self._store.recall('access_token')}",
            "X-Schema-Version": self._schema_version,
            "X-Client-Time": datetime.now(UTC).isoformat(),
            "X-Waiting": str(self._store.waiting()),
        }
        if self._store.epoch:
            headers["X-Sync-Epoch"] = self._store.epoch
        return self._patiently(method, path, headers=headers | options.pop("headers", {}), **options)

    def _refresh(self) -> None:
        """The next pair of tokens, kept before it is used."""
        token = self._store.recall("refresh_token")
        answer = self._patiently(
            "POST", "/auth/v1/refresh", json={"refresh_token": token, "proof": _proof(self._store.recall("key"), token)}
        )
        if answer.is_error:
            raise LoggedOut(answer)
        self._store.remember(**{name: answer.json()[name] for name in ("access_token", "refresh_token")})

    def _patiently(self, method: str, path: str, *, patient: bool = True, **options: Any) -> httpx.Response:
        """The first answer that is not "later". Between two tries it waits twice as long as before, or as asked."""
        left, wait = self._patience if patient else 0.0, FIRST_WAIT_SECONDS
        while True:
            asked, why = 0.0, ""
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                why = type(error).__name__
            else:
                if not _means_later(answer):
                    return answer
                asked, why = _asked_to_wait(answer), str(answer.status_code)
            if max(asked, wait) > left:
                raise Unreachable(f"{method} {path}: {why}")
            self._pause(max(asked, wait))
            left -= max(asked, wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def _means_later(answer: httpx.Response) -> bool:
    return answer.is_server_error or answer.status_code in (
        httpx.codes.TOO_MANY_REQUESTS,
        httpx.codes.REQUEST_TIMEOUT,
    )


def _asked_to_wait(answer: httpx.Response) -> float:
    """`Retry-After` in seconds. (The server never gives a date.)"""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


def _public(private: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    """The public half as JWK; the private half never leaves the device."""
    return ECAlgorithm.to_jwk(private.public_key(), as_dict=True)


def _pem(private: ec.EllipticCurvePrivateKey) -> str:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _proof(pem: str, refresh_token: str) -> str:
    """What shows that it is this device that refreshes."""
    moment = int(time.time())
    claims = {"aud": AUDIENCE, "iat": moment, "exp": moment + PROOF_SECONDS, "rt": refresh_token}
    return jwt.encode(claims, pem, algorithm="ES256")
