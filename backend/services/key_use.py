"""Which keys the database was written with, compared with those of the settings, before anything is served.

A wrong index key or hash would find nobody and make second keys for everybody, without a word; a master key that was
taken away too early leaves people unreadable. Both are refused at the start, and by `GET /health/ready`.
"""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import TextClause, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from backend.core.crypto import CipherName, KeyRing, cipher_of, key_ring, version_of
from backend.core.db import Role, engine_for, transaction
from backend.core.errors import ZhiwangError
from backend.core.logging import get_logger
from backend.models import ServerState, Snapshot
from backend.services.objects import ObjectMissing, object_store
from backend.services.registry_files import MAGIC

INDEX_CHECK = "index_key_check"

log = get_logger(__name__)


class KeysUnfit(ZhiwangError):
    """The keys of the settings are not those the database was written with."""

    code = "keys_unfit"
    status = 503
    title_zh = "密钥配置与数据库不符，服务未启动，请联系系统管理员"
    title_en = "The keys of the settings do not fit the database"


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What one version of the master keys still protects."""

    version: int
    cipher: CipherName
    subject_keys: int
    system_rows: int


def note_index_key(session: Session) -> None:
    """Keep the check value of the index key where there is none yet; the caller has the right to write it."""
    session.connection().execute(_NOTE, {"name": INDEX_CHECK, "value": key_ring().index_check()})


def check_keys(session: Session) -> None:
    """`KeysUnfit` where the index key or hash is another, or a master key that is still needed is not there."""
    noted = session.get(ServerState, INDEX_CHECK)
    ring = key_ring()
    if noted is not None and noted.value != ring.index_check():
        raise KeysUnfit(_index_text(noted.value, ring))
    missing = sorted(versions_in_use(session) - ring.masters.keys())
    if missing:
        versions = ", ".join(map(str, missing))
        raise KeysUnfit(
            f"MASTER_KEYS 缺少仍在使用的版本 {versions}：请加回并运行 keys rotate，待 keys status 显示不再使用后移除 · "
            f"MASTER_KEYS lacks versions that are still in use: {versions}. Put them back, run `keys rotate`, and take "
            "them away once `keys status` shows them unused"
        )


def _index_text(noted: str, ring: KeyRing) -> str:
    was = noted.partition(":")[0]
    what = f"INDEX_HASH ({was} → {ring.index_hash.value})" if was != ring.index_hash.value else "INDEX_KEY"
    return (
        f"{what} 与建立索引时不同：请改回，否则按证件号与电话将查不到任何人 · "
        f"{what} is not what the indexes were made with. Set it back: with this one nobody would be found"
    )


def refuse_unfit_keys(role: Role, *, note: bool = False) -> None:
    """What a process does before it serves. `KeysUnfit` as above; with `note` the check value is kept on first use.

    While the database is away, or not migrated, nothing can be said: the process starts, and is not ready.
    """
    try:
        with transaction(engine_for(role)) as session:
            if note:
                note_index_key(session)
            check_keys(session)
    except SQLAlchemyError as error:
        log.warning("keys not checked yet", exc_info=error)


def versions_in_use(session: Session) -> set[int]:
    """The versions of master keys that rows of the database need. Looks at one row of each, however many there are."""
    heads = session.connection().execute(_KEY_HEADS).scalars().all()
    system = session.connection().execute(_SYSTEM_HEADS).scalars().all()
    return {version_of(head) for head in (*heads, *system)}


def key_use(session: Session) -> list[KeyUse]:
    """How much each version protects, the newest first. Reads the whole index, so it is for people, not for probes."""
    keys = _counts(session, _KEY_COUNTS)
    rows = _counts(session, _SYSTEM_COUNTS)
    found = [
        KeyUse(version_of(head), cipher_of(head), keys[head], rows[head]) for head in sorted(keys.keys() | rows.keys())
    ]
    return sorted(found, key=lambda use: (-use.version, use.cipher))


def old_reject_files(session: Session) -> int:
    """How many reject files are still as release 0.1.0 sealed them, under the ring itself."""
    keys = session.exec(select(Snapshot.reject_key).where(col(Snapshot.reject_key).is_not(None))).all()
    return sum(_is_old(key) for key in keys if key is not None)


def _is_old(key: str) -> bool:
    try:
        return object_store().get_range(key, 0, len(MAGIC)) != MAGIC
    except ObjectMissing:
        return False


def _counts(session: Session, query: TextClause) -> Counter[int]:
    return Counter({row.head: row.number for row in session.connection().execute(query)})


_NOTE = text("INSERT INTO server_state (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING")
# A loose scan of the index over the head byte: one probe for each value that occurs.
_KEY_HEADS = text(
    """
    WITH RECURSIVE heads (head) AS (
        (SELECT get_byte(wrapped, 0) FROM subject_key ORDER BY get_byte(wrapped, 0) LIMIT 1)
        UNION ALL
        SELECT (SELECT get_byte(wrapped, 0) FROM subject_key WHERE get_byte(wrapped, 0) > head
                ORDER BY get_byte(wrapped, 0) LIMIT 1)
        FROM heads WHERE head IS NOT NULL
    )
    SELECT head FROM heads WHERE head IS NOT NULL
    """
)
# Rows that an earlier version sealed under the ring itself: a sealed blob of today begins above 127.
_SYSTEM = """
    SELECT get_byte(payload, 0) AS head FROM quarantine WHERE get_byte(payload, 0) < 128
    UNION ALL
    SELECT get_byte(raw, 0) FROM wechat_message WHERE get_byte(raw, 0) < 128
"""
_SYSTEM_HEADS = text(f"SELECT DISTINCT head FROM ({_SYSTEM}) AS system")
_SYSTEM_COUNTS = text(f"SELECT head, count(*) AS number FROM ({_SYSTEM}) AS system GROUP BY head")
_KEY_COUNTS = text("SELECT get_byte(wrapped, 0) AS head, count(*) AS number FROM subject_key GROUP BY 1")
