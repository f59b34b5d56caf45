"""The check for machine paths and registry addresses finds them, and finds none in this project."""

from pathlib import Path

import pytest

from tests.forbidden_text import findings, patterns


def test_the_project_is_clean() -> None:
    assert list(findings()) == []


@pytest.mark.parametrize(
    "text",
    [
        "--index" + "-url = https://example.invalid/simple",
        "https://files.python" + "hosted.org/packages/x.whl",
        "resolved: https://registry.npm" + "js.org/x",
        "https://mirrors." + "example.edu.cn/simple",
        "open('/" + "home/somebody/project/file')",
        "cache = /" + "root/.cache",
    ],
)
def test_a_planted_address_or_path_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "notes.md").write_text(f"first line\n{text}\n")

    assert [found.split(": ")[0] for found in findings(tmp_path)] == ["notes.md:2"]


def test_the_folder_of_the_checkout_is_looked_for() -> None:
    assert patterns(Path("/srv/builds/of/somebody")).search("in /srv/builds/of/somebody/x")


@pytest.mark.parametrize("text", ["/app/backend", "the root folder", "GET /api/home/", "s3://media", "$HOME/home/x"])
def test_plain_words_are_no_findings(text: str) -> None:
    assert not patterns().search(text)
