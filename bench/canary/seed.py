"""Code tables, territory and demo accounts, and no business records: `python -m bench.canary.seed`."""

from backend.core.db import engine_for, transaction
from backend.seed.load import seed_accounts, seed_code_tables

if __name__ == "__main__":
    with transaction(engine_for("zw_worker")) as session:
        seed_code_tables(session)
        seed_accounts(session)
