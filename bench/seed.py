"""Fill the stack of a benchmark with code tables, territory and demo accounts, in a process of its own."""

from sqlmodel import Session

from backend.core.db import engine_for
from backend.seed.load import seed_accounts, seed_code_tables

if __name__ == "__main__":
    with Session(engine_for("zw_worker")) as session:
        seed_code_tables(session)
        seed_accounts(session)
        session.commit()
