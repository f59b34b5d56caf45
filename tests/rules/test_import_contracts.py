"""The import contracts hold, and a planted breach of each is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend.core.settings import PROJECT_ROOT

PACKAGES = ("backend", "sync", "media", "workflows")
LINT = Path(sys.executable).with_name("lint-imports")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages and their contracts."""
    for package in PACKAGES:
        shutil.copytree(
            PROJECT_ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "data")
        )
    shutil.copy(PROJECT_ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the copy."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("FORCE_COLOR", None)  # a terminal's colours would stand between the words that are looked for
    return subprocess.run(
        [LINT, "--no-cache"], cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_tree_keeps_its_contracts(tree: Path) -> None:
    done = lint(tree)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("sync/planted.py", "import media", "the rooms never meet"),
        ("media/planted.py", "import workflows.cases", "the rooms never meet"),
        ("workflows/crosscheck/planted.py", "import sync", "the rooms never meet"),
        ("backend/services/planted.py", "import sync", "Imports go down only"),
        ("backend/core/planted.py", "import backend.models", "Imports go down only"),
        ("workflows/routing/planted.py", "import workflows.cases", "Inside workflows"),
        ("workflows/crosscheck/planted.py", "import workflows.cases", "Channels, crosscheck and reconcile"),
        ("workflows/reconcile/planted.py", "import workflows.cases", "Channels, crosscheck and reconcile"),
        ("workflows/crosscheck/planted.py", "import workflows.reconcile", "Inside workflows"),
        ("workflows/reconcile/planted.py", "import duckdb", "Only the engines of reconcile"),
        ("backend/services/planted.py", "import fastapi", "Only the edge knows HTTP"),
        ("sync/planted.py", "from starlette import status", "Only the edge knows HTTP"),
        ("sync/planted.py", "import PIL", "Only media opens images"),
        ("workflows/cases/planted.py", "import firebase_admin", "Only notify knows Firebase"),
        ("backend/services/planted.py", "import celery", "Only the worker"),
        ("backend/api/planted.py", "import backend.embedded.postgres", "Only the local stack"),
        ("backend/kinds/planted.py", "import sqlmodel", "Rules and kinds are pure"),
        ("workflows/deadlines/rules.py", "import backend.core.clock", "Rules and kinds are pure"),
        ("media/rules.py", "import sqlalchemy", "Rules and kinds are pure"),
        ("sync/core.py", "import sync.store", "The core of the sync does no I/O"),
        ("sync/service.py", "import sync.client", "The reference client is nobody's library"),
        ("sync/client/calls.py", "import sync.service", "The reference client knows the server by its protocol"),
    ],
)
def test_a_planted_breach_is_found(tree: Path, module: str, statement: str, contract: str) -> None:
    with (tree / module).open("a") as file:
        file.write(f"\n{statement}\n")

    done = lint(tree)

    assert done.returncode == 1, done.stdout
    broken = [line for line in done.stdout.splitlines() if " BROKEN" in line]
    assert any(contract in line for line in broken), done.stdout
