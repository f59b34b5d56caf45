"""Real servers for the whole test run: one PostgreSQL and one Valkey, on private sockets, thrown away at the end.

A template database is migrated and seeded once; what commits gets a clone of it (`database`), what can be rolled
back shares one (`session`). Nothing here listens on a fixed port.
"""

import base64
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
import redis
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import create_engine, pool, text
from sqlmodel import Session

from backend.core.crypto import key_ring
from backend.core.db import dialect_url, engine_for
from backend.core.settings import PROJECT_ROOT, get_settings
from backend.embedded.postgres import EmbeddedPostgres
from backend.embedded.valkey import EmbeddedValkey
from tests.live import Live
from tests.world import World

TEMPLATE = "zhiwang_template"

# How fast inputs are made says something about the machine's load and nothing about the product.
hypothesis.settings.register_profile("zhiwang", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("zhiwang")


def _fresh_caches() -> None:
    """Processes read settings, keys and engines once; tests change them between databases."""
    for role in ("zw_api", "zw_worker"):
        if engine_for.cache_info().currsize:
            engine_for(role).dispose()
    for cached in (get_settings, key_ring, engine_for):
        cached.cache_clear()


def _secret() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def administer(postgres: EmbeddedPostgres, statement: str) -> None:
    """One statement as the superuser, outside of any database of a test."""
    engine = create_engine(
        dialect_url(postgres.url(user="postgres", database="postgres")),
        isolation_level="AUTOCOMMIT",
        poolclass=pool.NullPool,
    )
    with engine.connect() as connection:
        connection.execute(text(statement))


def use_database(postgres: EmbeddedPostgres, name: str) -> None:
    """The settings of this process, and of those it starts, point to a database."""
    os.environ["DATABASE_URL"] = postgres.url(user="zw_api", database=name)
    os.environ["WORKER_DATABASE_URL"] = postgres.url(user="zw_worker", database=name)
    os.environ["MIGRATION_DATABASE_URL"] = postgres.url(user="zw_owner", database=name)
    _fresh_caches()


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Settings of their own: nothing is read from the developer's environment or `.env`."""
    for name in list(os.environ):
        if name.lower() in type(get_settings()).model_fields:
            del os.environ[name]
    os.environ |= {
        "ENVIRONMENT": "test",
        "STATE_DIR": str(tmp_path_factory.mktemp("state")),
        "MASTER_KEYS": f"1:{_secret()}",
        "INDEX_KEY": _secret(),
        "TOKEN_SECRET": _secret(),
        "AUDIT_KEY": _secret(),
        "WECHAT_APP_ID": "wx-synthetic",
        "WECHAT_TOKEN": secrets.token_hex(8),
        "WECHAT_ENCODING_AES_KEY": _secret().rstrip("="),
        "WECHAT_APP_SECRET": secrets.token_hex(8),
        "WECHAT_API_URL": "http://127.0.0.1:9",
        "LOG_LEVEL": "ERROR",
        # The test client takes whole answers only, so that a stream has to end. Tests of streams run real servers.
        "STREAM_SECONDS": "0.05",
    }
    _fresh_caches()


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords(_environment: None) -> Iterator[Callable[[], PasswordHash]]:
    """Argon2 as cheap as it goes: nearly each test logs somebody in, some make dozens of accounts. Gives the product's
    own; processes that tests start have it anyway."""
    from backend.services import passwords

    tuned = passwords._hasher
    quick = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", lambda: quick)
        yield tuned


@pytest.fixture
def tuned_passwords(_quick_passwords: Callable[[], PasswordHash], monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords cost what they cost in production."""
    monkeypatch.setattr("backend.services.passwords._hasher", _quick_passwords)


@pytest.fixture(scope="session")
def postgres(_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL with the three logins and an empty database `zhiwang`."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "data", fsync=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database with code tables, a small synthetic territory and demo accounts."""
    from backend.seed.load import seed_accounts, seed_code_tables

    postgres.prepare(TEMPLATE)
    use_database(postgres, TEMPLATE)
    command.upgrade(Config(str(PROJECT_ROOT / "alembic.ini")), "head")
    with Session(engine_for("zw_worker")) as session:
        seed_code_tables(session)
        seed_accounts(session)
        session.commit()
    _fresh_caches()
    return TEMPLATE


@pytest.fixture
def database(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A database of the test's own, cloned from the template; the settings of this process point to it."""
    with _cloned(postgres, template) as name:
        yield name


@pytest.fixture(scope="module")
def module_database(postgres: EmbeddedPostgres, template: str) -> Iterator[dict[str, str]]:
    """One database for processes that all tests of a module use: the environment that points to it."""
    with _cloned(postgres, template):
        yield dict(os.environ)


@contextmanager
def _cloned(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    name = f"t_{secrets.token_hex(6)}"
    administer(postgres, f"CREATE DATABASE {name} TEMPLATE {template} OWNER zw_owner")
    use_database(postgres, name)
    try:
        yield name
    finally:
        _fresh_caches()
        administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def shared_database(postgres: EmbeddedPostgres, template: str) -> str:
    """One clone for all tests that roll back."""
    administer(postgres, f"CREATE DATABASE zhiwang_shared TEMPLATE {template} OWNER zw_owner")
    return "zhiwang_shared"


@pytest.fixture
def session(postgres: EmbeddedPostgres, shared_database: str) -> Iterator[Session]:
    """A session as `zw_worker` whose transaction is rolled back after the test."""
    use_database(postgres, shared_database)
    with engine_for("zw_worker").connect() as connection, connection.begin() as outer:
        with Session(connection, join_transaction_mode="create_savepoint") as inner:
            yield inner
        outer.rollback()


@pytest.fixture
def api(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The real app over a database of its own; commits are real, jobs wait until `drain` runs them."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    _fresh_caches()
    from backend.main import create_app

    with TestClient(create_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def untouched_database(postgres: EmbeddedPostgres, template: str) -> str:
    """One clone for all tests that change nothing another could see: calls that are refused, and readings."""
    administer(postgres, f"CREATE DATABASE zhiwang_untouched TEMPLATE {template} OWNER zw_owner")
    return "zhiwang_untouched"


@pytest.fixture
def untouched(postgres: EmbeddedPostgres, untouched_database: str) -> str:
    """That database, to which the settings of this process point. Other tests have logged in and enrolled there."""
    use_database(postgres, untouched_database)
    return untouched_database


@pytest.fixture
def untouched_api(untouched: str) -> Iterator[TestClient]:
    """The real app over it."""
    from backend.main import create_app

    with TestClient(create_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def untouched_world(untouched_api: TestClient) -> World:
    """Its demo accounts."""
    return World(untouched_api)


@pytest.fixture
def drain(database: str) -> Callable[[], int]:
    """Run all waiting jobs in this process until none is left; gives how many ran."""
    from tests.world import drain_jobs

    return drain_jobs


@pytest.fixture
def world(api: TestClient) -> World:
    """Demo accounts, handhelds and records, made through the API."""
    return World(api)


@pytest.fixture(scope="session")
def valkey(_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A running Valkey on a private socket."""
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def live(database: str, valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Live]:
    """API, worker and beat as processes, over a database of their own and an emptied broker."""
    redis.Redis.from_url(valkey.redis_url()).flushall()
    settings = {
        "BROKER_URL": valkey.celery_url(),
        "STATE_DIR": str(tmp_path / "state"),
        "SWEEP_SECONDS": "1",
        "JOB_LEASE_SECONDS": "10",
        "LOG_LEVEL": "INFO",
    }
    stack = Live(tmp_path, {**os.environ, **settings})
    try:
        stack.start_api()
        stack.start_worker()
        stack.start_beat()
        yield stack
    finally:
        stack.stop()
