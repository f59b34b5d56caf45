"""The version that the product tells of itself is that of its package."""

import tomllib

from backend import __version__
from backend.core.settings import PROJECT_ROOT


def test_the_program_and_the_package_have_one_version() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
