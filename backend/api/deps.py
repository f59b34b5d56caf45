"""What routes ask for: a transaction that is committed before the answer, and the caller.

FastAPI runs the code after `yield` of an ordinary dependency once the response has been sent. With
`scope="function"` it runs before, so a commit that fails makes the answer an error; `tests/api/test_commit.py` holds
it to that.
"""

from collections.abc import AsyncIterator, Callable
from typing import Annotated

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import Depends, Header, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlmodel import Session

from backend.api.fields import REQUIRED
from backend.core.db import engine_for
from backend.core.errors import Malformed, PreconditionRequired, Unauthenticated
from backend.services.permissions import admit
from backend.services.sessions import Caller, identify

VERSION_DIGITS = 9

_bearer = HTTPBearer(auto_error=False, description="Access token of /auth/v1")


async def database_session() -> AsyncIterator[Session]:
    """One transaction for one request. It connects when it is first used, in the thread of whoever does.

    Waiting for the pool, the commit and the rollback are not for the event loop; each thread costs a push more than
    what it does there, so both ends take no more than one, and none where the route has committed in its own.
    """
    session = Session(engine_for("zw_api"))
    try:
        yield session
    except BaseException:
        await _in_thread(session.close)
        raise
    if session.in_transaction():
        await _in_thread(_finish, session)
    session.close()


async def _in_thread(function: Callable[..., None], *arguments: Session) -> None:
    """Also where the request was cancelled meanwhile, or all threads wait for connections: this one gives one back."""
    with CancelScope(shield=True):
        await to_thread.run_sync(function, *arguments, limiter=CapacityLimiter(1))


def _finish(session: Session) -> None:
    with session:
        session.commit()


DbSession = Annotated[Session, Depends(database_session, scope="function")]


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def current_caller(session: DbSession, credentials: Credentials) -> Caller:
    """Who is calling, read afresh for each request, so that a revocation holds from the next one on."""
    if credentials is None:
        raise Unauthenticated
    return identify(session, credentials.credentials)


def allowed(operation: str) -> Callable[[Session, HTTPAuthorizationCredentials | None], Caller]:
    """The one dependency of a route that needs a login: gives the caller, with the reach of this operation.

    `Unauthenticated` without a login that stands, `Forbidden` where the caller's role has no cell in
    `permissions.csv`. What lies outside the reach is for the services and the row policies to leave out.
    """

    def check(session: DbSession, credentials: Credentials) -> Caller:
        return admit(session, current_caller(session, credentials), operation)

    check.operation = operation  # type: ignore[attr-defined]
    return check


def public(operation: str) -> Callable[[], None]:
    """The one dependency of a route that needs no login: it only names the operation."""

    def check() -> None:
        """Anybody may."""

    check.operation = operation  # type: ignore[attr-defined]
    return check


def if_match(
    header: Annotated[
        str | None, Header(alias="If-Match", json_schema_extra={"pattern": r'^(W/)?"[0-9]{1,9}"$', REQUIRED: True})
    ] = None,
) -> int:
    """The version named by `If-Match`, as in the ETag of the object.

    `PreconditionRequired` where there is none, `Malformed` where it is longer than any version can be.
    """
    text = (header or "").strip().removeprefix("W/").strip('"')
    if not text.isdecimal():
        raise PreconditionRequired
    if len(text) > VERSION_DIGITS:
        raise Malformed("If-Match: no version is that long")
    return int(text)


IfMatch = Annotated[int, Depends(if_match)]


def tell_version(response: Response, version: int) -> None:
    """The ETag of an object with versions: what the next call about it says in `If-Match`."""
    response.headers["ETag"] = f'"{version}"'
