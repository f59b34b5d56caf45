"""What can be known of the deployment files without a container engine: nothing was built or started here."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from backend.core.settings import PROJECT_ROOT, Settings

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROGRAMS = ("api", "worker", "beat", "migrate")
ONE_SHOT = {"migrate", "bucket"}


def test_all_parts_are_there() -> None:
    assert set(SERVICES) == {"postgres", "valkey", "store", "bucket", *PROGRAMS}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_what_keeps_running_is_watched(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", PROGRAMS)
def test_our_programs_run_the_role_of_their_name_and_get_settings_the_product_knows(name: str) -> None:
    service = SERVICES[name]
    assert service["command"] == [name]
    known = {field.upper() for field in Settings.model_fields}
    ours = {key for key in service["environment"] if not key.startswith("AWS_")}
    assert ours <= known
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]


def test_no_secret_has_a_default() -> None:
    text = (PROJECT_ROOT / "compose.yaml").read_text(encoding="utf-8")
    secret = re.compile(r"\$\{([A-Z_]*(?:PASSWORD|SECRET|KEYS?)[A-Z_]*)(:.)")
    optional = {"WECHAT_ENCODING_AES_KEY", "WECHAT_APP_SECRET"}
    assert {name for name, how in secret.findall(text) if how != ":?" and name not in optional} == set()


def test_every_role_of_compose_is_one_of_the_image() -> None:
    entrypoint = (PROJECT_ROOT / "docker" / "entrypoint").read_text()
    assert set(re.findall(r"^    ([a-z]+)\) exec", entrypoint, re.MULTILINE)) == {*PROGRAMS, "cli"}
    done = subprocess.run(
        [PROJECT_ROOT / "docker" / "entrypoint", "nonsense"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (64, "usage: api | worker | beat | migrate | cli\n")


def test_the_image_runs_without_rights_and_copies_only_what_exists() -> None:
    lines = (PROJECT_ROOT / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER zhiwang"]
    copies = [line.split() for line in lines if line.startswith("COPY ") and "--from" not in line]
    for words in copies:
        for source in [word for word in words[1:-1] if not word.startswith("--")]:
            assert (PROJECT_ROOT / source).exists(), source
