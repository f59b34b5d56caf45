"""Runs migrations as the owner (`MIGRATION_DATABASE_URL`), one upgrade at a time, each in one transaction."""

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text
from sqlmodel import SQLModel

import backend.models  # noqa: F401  registers every table
from backend.core.db import dialect_url
from backend.core.settings import get_settings

UPGRADE_LOCK = 7_240_113
"""Any number, the same in every process: four concurrent upgrades were safe with it."""


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=SQLModel.metadata, compare_type=True)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
        context.run_migrations()


def main() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        migrate(given)
        return
    engine = create_engine(dialect_url(get_settings().migration_url()), poolclass=pool.NullPool)
    with engine.connect() as connection:
        migrate(connection)


main()
