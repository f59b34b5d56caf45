"""A stack of a benchmark's own: embedded PostgreSQL and Valkey in a temporary folder, thrown away at the end.

Nothing is read from the caller's environment or `.env`, so a benchmark measures the same thing everywhere and never
touches anybody's data.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from psycopg import sql

from backend.core.settings import PROJECT_ROOT, Settings
from backend.embedded.postgres import OWNER, SUPERUSER, EmbeddedPostgres
from backend.embedded.state import new_secrets
from backend.embedded.valkey import EmbeddedValkey


@dataclass(frozen=True)
class OwnStack:
    """Running servers, their folder, and the settings that every program started over them gets."""

    folder: Path
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self, database: str, **more: str) -> dict[str, str]:
        """The environment of a program over one database: ours without any setting of the product, and the stack's."""
        ours = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
        return {
            **ours,
            **self.settings,
            "DATABASE_URL": self.postgres.url(user="zw_api", database=database),
            "WORKER_DATABASE_URL": self.postgres.url(user="zw_worker", database=database),
            "MIGRATION_DATABASE_URL": self.postgres.url(user=OWNER, database=database),
            **more,
        }

    def with_settings(self, more: Mapping[str, str]) -> "OwnStack":
        """The same servers for programs with further settings."""
        return replace(self, settings={**self.settings, **more})

    def migrate(self, database: str) -> None:
        """Make a database with the product's logins and tables, and nothing in them."""
        self.postgres.prepare(database)
        run_module("alembic", "upgrade", "head", environment=self.environment(database))

    @contextmanager
    def superuser(self, database: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        """A connection that no policy and no missing right holds back."""
        with psycopg.connect(self.postgres.url(user=SUPERUSER, database=database), autocommit=True) as connection:
            yield connection

    def policies_off(self, database: str) -> None:
        """Switch row-level security off in one database of the benchmark."""
        with self.superuser(database) as connection:
            rows = connection.execute("SELECT relname FROM pg_class WHERE relrowsecurity").fetchall()
            for (table,) in rows:
                statement = sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(sql.Identifier(str(table)))
                connection.execute(statement)


def run_module(*arguments: str, environment: Mapping[str, str]) -> str:
    """Run `python -m ARGUMENTS` in the project to its end; gives what it printed. `RuntimeError` where it failed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=PROJECT_ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{arguments}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


@contextmanager
def own_stack(*, fsync: bool = False, keep: bool = False) -> Iterator[OwnStack]:
    """Servers that run for the length of the block; with `keep` the folder outlives them."""
    folder = Path(tempfile.mkdtemp(prefix="zhiwang-bench-"))
    postgres = EmbeddedPostgres(folder / "postgres", fsync=fsync, log=folder / "logs" / "postgres.log")
    valkey = EmbeddedValkey(folder / "valkey", log=folder / "logs" / "valkey.log")
    try:
        # As root the account that PostgreSQL runs under passes through; what is private in here has modes of its own.
        folder.chmod(0o711)
        postgres.start()
        valkey.start()
        yield OwnStack(folder, postgres, valkey, _settings(folder, valkey))
    finally:
        postgres.destroy()
        valkey.stop()
        if keep:
            print(f"  kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _settings(folder: Path, valkey: EmbeddedValkey) -> dict[str, str]:
    state = folder / "state"
    state.mkdir(mode=0o700)
    # All calls come from one address, and some from one session in a great hurry.
    rates = {name.upper(): "1000000/minute" for name in Settings.model_fields if name.startswith("rate_")}
    return {
        **new_secrets(),
        **rates,
        "ENVIRONMENT": "test",
        "STATE_DIR": str(state),
        "BROKER_URL": valkey.celery_url(),
        "WECHAT_APP_SECRET": "synthetic-app-secret",
        "WECHAT_API_URL": "http://127.0.0.1:9",
        "SWEEP_SECONDS": "1",
        "LOG_LEVEL": "INFO",
        "PYTHONUNBUFFERED": "1",
    }
