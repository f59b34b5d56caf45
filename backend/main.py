"""The API app: routes, refusals, request log, and the waker that tells workers of new jobs."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from backend import __version__, jobs
from backend.api import (
    accounts,
    audit,
    auth,
    authorisation,
    cases,
    checks,
    declarations,
    devices,
    exports,
    job_desk,
    life,
    media,
    notices,
    openapi,
    overview,
    problems,
    reconcile,
    records,
    reference,
    registry,
    reviews,
    rule_desk,
    sessions,
    settlements,
    sync,
    verifications,
    wechat,
)
from backend.api.headers import SecurityHeaders
from backend.api.limits import RateLimits
from backend.api.middleware import BodyLimit, Faults, RequestLog
from backend.core.logging import configure_logging
from backend.core.settings import Settings, get_settings
from backend.services.key_use import refuse_unfit_keys
from backend.tasks import BackgroundWaker
from sync.streams import Streams

ROUTERS = (
    *(sync, media),  # Most calls are theirs, and routes are looked through in order.
    *(auth, sessions, accounts, devices, checks, settlements, rule_desk, cases),
    *(reviews, verifications, registry, records, reference, wechat, notices, overview, job_desk, life, audit, exports),
    *(reconcile, declarations),
)
STREAMED = ("/media/v1/", "/registry/v1/")
CYCLES_LOOKED_FOR_AFTER = 50_000
"""Objects made and not freed; Python's own 700 are a few rows."""

ABOUT = """
织网网格数据后端：网格终端离线采集、随手拍、自主申报、部门业务数据，在这里核对并转为 12345 案件。

Field-data backend of a city grid. Start with `POST /auth/v1/login` or `POST /auth/v1/enrol`; every refusal is
problem+json with a code of `docs/errors.md`.
"""


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    await run_in_threadpool(refuse_unfit_keys, "zw_api")
    waker = BackgroundWaker()
    jobs.set_waker(waker)
    app.state.streams = _streams(get_settings())
    yield
    await app.state.streams.shut()
    jobs.set_waker(None)
    waker.close()


def _streams(settings: Settings) -> Streams:
    return Streams(settings.database_url, limit=settings.max_streams, heartbeat_s=settings.stream_heartbeat_seconds)


def _settle_memory() -> None:
    """Keep the collector of reference cycles off what lives as long as the process, and from every few rows of a batch.

    Otherwise it walks through the whole app several times for one push of 500 rows, and finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(CYCLES_LOOKED_FOR_AFTER, 20, 20)


def create_app() -> FastAPI:
    """A new app over the settings of this process."""
    settings = get_settings()
    configure_logging(settings, process="api")
    app = FastAPI(
        title="织网 Zhiwang", version=__version__, description=ABOUT, lifespan=_running, docs_url=None, redoc_url=None
    )
    for module in ROUTERS:
        # Their very routes: `include_router` would make each anew, and look for them a level deeper at each request.
        app.router.routes.extend(module.router.routes)
    authorisation.check(app)
    problems.install(app)
    openapi.install(app)
    _put_edge_around(app, settings)
    return app


def _put_edge_around(app: FastAPI, settings: Settings) -> None:
    """The innermost first."""
    app.add_middleware(
        BodyLimit,
        limit=settings.max_body_bytes,
        streamed=STREAMED,
        stall_s=settings.body_stall_seconds,
        whole_s=settings.body_seconds,
        streamed_s=settings.upload_seconds,
    )
    app.add_middleware(RateLimits, settings=settings)
    app.add_middleware(Faults)
    app.add_middleware(RequestLog)
    app.add_middleware(SecurityHeaders, https=settings.public_url.startswith("https://"))


def __getattr__(name: str) -> FastAPI:
    """`uvicorn backend.main:app` makes the app on first use, so that importing this module has no effects."""
    if name != "app":
        raise AttributeError(name)
    app = create_app()
    _settle_memory()
    return app
