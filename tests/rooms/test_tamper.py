"""A small run of `make tamper`: each tampering is found where it was done, and the honest trail raises no alarm."""

from pathlib import Path

import pytest

from backend.core.settings import get_settings
from backend.embedded.postgres import EmbeddedPostgres
from bench.tamper import build, honest, tamper
from bench.tampering import TAMPERINGS
from tests.rooms.audit_builders import superuser_engine

NUMBER = 100


def test_tamperings_are_detected_and_located(
    database: str, postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIT_ANCHOR", str(tmp_path / "anchor.jsonl"))
    get_settings.cache_clear()
    engine = superuser_engine(postgres.url(user="postgres", database=database))
    trail, moment = build(tmp_path / "altered.jsonl", seed=7, batches=8)
    assert honest(engine, trail, moment=moment) is None
    score = tamper(engine, trail, number=NUMBER, seed=7, moment=moment)
    assert score.missed == []
    assert (score.detected, score.located) == (NUMBER, NUMBER)
    assert set(score.kinds) == set(TAMPERINGS)
    assert honest(engine, trail, moment=moment) is None
