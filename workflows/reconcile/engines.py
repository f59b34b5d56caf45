"""What runs the probabilistic step: Splink on DuckDB in this process, or on Spark, by `RECONCILE_ENGINE`.

What comes in is decrypted. DuckDB holds it in memory and spills nothing; it may open no file and take no extension.
Spark spills into a folder of its own, encrypted with a key that ends with the session, and the folder goes with it.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, Protocol

import polars as pl

from backend.core.enums import ReconcileEngine
from backend.core.errors import ZhiwangError
from backend.core.settings import get_settings
from workflows.reconcile.rules import KEY, MINE, THEIRS, Pair

OUT_OF_MEMORY = ("OutOfMemoryException", "MemoryError")
LEAST_PROBABILITY = 0.01
"""Pairs below are not handed back: they decide nothing."""


class ReconcileEngineMissing(ZhiwangError):
    """`needs` names what is to be installed."""

    code = "reconcile_engine_missing"
    status = 503
    title_zh = "服务器未安装批量比对组件，请联系管理员"
    title_en = "This server has no engine for bulk reconciliation"


class ReconcileMemory(ZhiwangError):
    """A partition did not fit into `RECONCILE_MEMORY`; nothing was written to disk instead."""

    code = "reconcile_memory"
    status = 500
    title_zh = "批量比对所需内存超过设定值，请调小分区或调大内存"
    title_en = "A partition needs more memory than is allowed"


class ReconcileEngineFailed(ZhiwangError):
    """The engine failed and nobody foresaw why. What it said may repeat a value: only `fault`, a class, is kept."""

    code = "reconcile_engine_failed"
    status = 500
    title_zh = "批量比对引擎出错，稍后自动重试"
    title_en = "The engine of the reconciliation failed; the step is repeated"


class Engine(Protocol):
    """Scores the pairs of two frames as `features.frame` makes them, by settings as `rules.settings_of` gives them."""

    def pairs(self, mine: pl.DataFrame, theirs: pl.DataFrame, settings: Mapping[str, Any]) -> list[Pair]: ...


def missing(engine: ReconcileEngine) -> list[str]:
    """What this process lacks for an engine; empty where it can run."""
    needed = {ReconcileEngine.DUCKDB: ("splink", "duckdb"), ReconcileEngine.SPARK: ("splink", "pyspark")}[engine]
    lacking = [name for name in needed if find_spec(name) is None]
    if engine is ReconcileEngine.SPARK and which("java") is None:
        lacking.append("java")
    return lacking


@contextmanager
def opened(engine: ReconcileEngine) -> Iterator[Engine]:
    """An engine, ended with all it held. `ReconcileEngineMissing`."""
    if lacking := missing(engine):
        raise ReconcileEngineMissing(needs=lacking)
    try:
        with _duckdb() if engine is ReconcileEngine.DUCKDB else _spark() as found:
            yield found
    except ZhiwangError:
        raise
    except Exception as error:  # noqa: BLE001  whatever it was, its words go no further
        if any(type(one).__name__ in OUT_OF_MEMORY for one in _chain(error)):
            raise ReconcileMemory from None
        raise ReconcileEngineFailed(fault=type(error).__name__) from None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class _Splink:
    """An engine over one of Splink's backends."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def pairs(self, mine: pl.DataFrame, theirs: pl.DataFrame, settings: Mapping[str, Any]) -> list[Pair]:
        from splink.internals.linker import Linker

        tables = [
            self._backend.register(table.to_arrow(), dataset_display_name=name, table_name=name)
            for name, table in ((MINE, mine), (THEIRS, theirs))
        ]
        linker = Linker(tables, dict(settings), log_level=None)
        scored = linker.inference.predict(threshold_match_probability=LEAST_PROBABILITY)
        return sorted((_pair(row) for row in scored.as_record_list()), key=lambda pair: (pair.document, pair.record))


def _pair(row: Mapping[str, Any]) -> Pair:
    """Left is what comes first by name, which is what was collected."""
    return Pair(
        document=row[f"{KEY}_l"],
        record=int(row[f"{KEY}_r"]),
        weight=round(row["match_weight"], 6),
        probability=round(row["match_probability"], 6),
    )


@contextmanager
def _duckdb() -> Iterator[Engine]:
    from splink.internals.duckdb.database_api import DuckDBAPI

    with memory_only() as connection:
        yield _Splink(DuckDBAPI(connection))


@contextmanager
def memory_only() -> Iterator[Any]:
    """A DuckDB connection that can write nowhere, and changes none of this."""
    import duckdb

    settings = get_settings()
    limits: dict[str, str | int | float | list[str]] = {
        "memory_limit": settings.reconcile_memory,
        "threads": settings.reconcile_threads,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    with duckdb.connect(":memory:", config=limits) as connection:
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


@contextmanager
def _spark() -> Iterator[Engine]:
    from splink.internals.spark.database_api import SparkAPI

    with tempfile.TemporaryDirectory(prefix="zhiwang-spark-", ignore_cleanup_errors=True) as folder:
        session = spark_session(Path(folder))
        try:
            backend = SparkAPI(  # type: ignore[no-untyped-call]
                spark_session=session,
                break_lineage_method="persist",
                num_partitions_on_repartition=get_settings().reconcile_threads,
                register_udfs_automatically=False,
            )
            yield _Splink(backend)
        finally:
            session.stop()


def spark_session(folder: Path) -> Any:
    """A session that keeps its files in a folder and encrypts all it spills there or sends."""
    from pyspark.sql import SparkSession

    settings = get_settings()
    master = settings.reconcile_spark_master
    here = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    options = {
        **(here if master.startswith("local") else {}),
        "spark.driver.memory": settings.reconcile_memory.removesuffix("B"),
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={folder} -Djava.io.tmpdir={folder}",
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.shuffle.partitions": str(settings.reconcile_threads),
        "spark.io.encryption.enabled": "true",
        "spark.authenticate": "true",
        "spark.network.crypto.enabled": "true",
        "spark.eventLog.enabled": "false",
        # The page would show rows of what is compared.
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master(master).appName("zhiwang-reconcile")
    for name, value in options.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
