"""What encryption at rest costs: sealing and opening people by cipher, and whole pushes, against no encryption.

    python -m bench.sealing [--people 2000] [--rows 500] [--rounds 7]

All modes run in one process, taking turns, over one PostgreSQL of the benchmark's own; each figure is the median of
the rounds. `none` is the product with `bench.seams.without_encryption`. People are synthetic.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from uuid import UUID, uuid4

import msgspec
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.crypto import CipherName, KeyRing, key_ring
from backend.core.db import act_as, engine_for, transaction
from backend.core.enums import Kind, Reach, Role
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.kinds import Document
from backend.models import Device, Membership
from backend.seed import synthetic
from backend.seed.load import seed_accounts, seed_code_tables
from backend.services import registry_sealing, sealing
from backend.services.permissions import settings_of
from backend.services.records import StoredRow, open_rows, seal_rows
from backend.services.sealing import Vault
from backend.services.sessions import Caller
from bench import seams
from bench.stack import own_stack
from sync.schemas import Claims
from sync.service import push

DATABASE = "sealing"
NONE = "none"
MODES = (*(cipher.value for cipher in CipherName), NONE)
FIELDS = ("name", "id_type", "id_number", "sex", "birth_date", "phone", "registered_address")


def people(start: int, count: int, grid_id: str) -> list[Document]:
    """Synthetic people as a handheld would write them down."""
    found = (synthetic.person(index) for index in range(start, start + count))
    return [{"grid_id": grid_id, **{name: one[name] for name in FIELDS if name in one}} for one in found]


@contextmanager
def running(mode: str) -> Iterator[None]:
    """Run with one cipher, or with none, and put everything back."""
    os.environ["CIPHER"] = CipherName.AES_SIV.value if mode == NONE else mode
    get_settings.cache_clear()
    key_ring.cache_clear()
    owners = (sealing.Vault, registry_sealing.BulkVault, KeyRing)
    before = [(owner, dict(vars(owner))) for owner in owners]
    looked_up = sealing.erased_among
    if mode == NONE:
        seams.without_encryption()
    replaced = sealing.erased_among
    yield
    for owner, members in before:
        for name in vars(owner).keys() - members.keys():
            delattr(owner, name)
        for name, member in members.items():
            if vars(owner)[name] is not member:
                setattr(owner, name, member)
    if replaced is not looked_up:
        for module in list(sys.modules.values()):
            if getattr(module, "erased_among", None) is replaced:
                setattr(module, "erased_among", looked_up)


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def sealing_alone(documents: Sequence[Document]) -> float:
    """Seconds to seal the documents and to open them again; their keys are known already, as within a push."""
    rows = [(Kind.PERSON, new_id(), fields) for fields in documents]
    with Session(engine_for("zw_api")) as session:
        vault = Vault(session)
        seal_rows(session, rows[:1], vault=vault)
        vault.provide(subject for _, parts in map(_split, rows) for subject in parts)

        def both() -> None:
            sealed = seal_rows(session, rows, vault=vault)
            stored = [StoredRow(row[1], one.body, one.sealed) for row, one in zip(rows, sealed, strict=True)]
            opened = open_rows(session, stored, vault=vault)
            assert opened == list(documents)

        taken = seconds(both)
        session.rollback()
    return taken


def _split(row: tuple[Kind, UUID, Document]) -> tuple[Document, list[bytes]]:
    from backend.services.records import split

    body, shares = split(*row)
    return body, list(shares)


def pushed(caller: Caller, documents: Sequence[Document]) -> float:
    """Seconds of one push of new records, to its commit."""
    states = [{**fields, "id": str(new_id()), "op": str(uuid4()), "_deleted": False} for fields in documents]
    body = msgspec.json.encode({"rows": [{"newDocumentState": state} for state in states]})

    def run() -> None:
        with transaction(engine_for("zw_api")) as session:
            act_as(session, settings_of(caller))
            answer = push(session, caller=caller, kind=Kind.PERSON, body=body, claims=Claims())
            assert answer == [], "every row is taken as it is"

    return seconds(run)


def worker() -> tuple[Caller, str]:
    """A grid worker with a handheld, and a grid he holds."""
    with transaction(engine_for("zw_worker")) as session:
        seed_code_tables(session)
        seed_accounts(session)
        session.flush()
        membership = session.exec(select(Membership)).first()
        assert membership is not None
        account_id, grid_id = membership.account_id, membership.grid_id
    device = Device(account_id=account_id, name="synthetic", public_key={}, enrolled_at=now())
    device_id = device.id
    with transaction(engine_for("zw_api")) as session:
        session.add(device)
    caller = Caller(account_id, Role.GRID_WORKER, device_id, "", None)
    return replace(caller, reach=frozenset({Reach.GRID})), grid_id


def measured(*, count: int, rows: int, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Records a second by mode: sealed and opened, and pushed. Every round pushes people of its own."""
    caller, grid_id = worker()
    alone: dict[str, list[float]] = {mode: [] for mode in MODES}
    whole: dict[str, list[float]] = {mode: [] for mode in MODES}
    following = count
    for turn in range(rounds + 1):
        for mode in MODES[turn % len(MODES) :] + MODES[: turn % len(MODES)]:
            with running(mode):
                alone[mode].append(sealing_alone(people(0, count, grid_id)))
                whole[mode].append(pushed(caller, people(following, rows, grid_id)))
            following += rows
    # The first turn warms caches and connections.
    return (
        {mode: count / median(taken[1:]) for mode, taken in alone.items()},
        {mode: rows / median(taken[1:]) for mode, taken in whole.items()},
    )


def main() -> None:
    """Measure, and print the table and the RESULT line."""
    arguments = argparse.ArgumentParser(description="What encryption at rest costs")
    arguments.add_argument("--people", type=int, default=2_000)
    arguments.add_argument("--rows", type=int, default=500)
    arguments.add_argument("--rounds", type=int, default=7)
    given = arguments.parse_args()
    with own_stack() as stack:
        stack.migrate(DATABASE)
        os.environ |= stack.environment(DATABASE)
        get_settings.cache_clear()
        alone, whole = measured(count=given.people, rows=given.rows, rounds=given.rounds)
        for role in ("zw_api", "zw_worker"):
            engine_for(role).dispose()
    print(f"{'cipher':<10}{'seal + open':>16}{'push':>12}   records a second")
    for mode in MODES:
        print(f"{mode:<10}{alone[mode]:>16,.0f}{whole[mode]:>12,.0f}")
    figures = {f"{mode.replace('-', '_')}_records_s": f"{alone[mode]:.0f}" for mode in MODES}
    figures |= {f"{mode.replace('-', '_')}_vs_none": f"{alone[mode] / alone[NONE]:.2f}" for mode in MODES[:-1]}
    figures |= {f"push_{mode.replace('-', '_')}_vs_none": f"{whole[mode] / whole[NONE]:.2f}" for mode in MODES[:-1]}
    print("RESULT", " ".join(f"{name}={value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
