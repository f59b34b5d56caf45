"""Names of files and of what is handed out are made here: nothing a client sent becomes part of a path or a header."""

import ast
from collections.abc import Iterator
from pathlib import Path

from backend.core.settings import PROJECT_ROOT

PACKAGES = ("backend", "sync", "media", "workflows")
NOT_THE_PRODUCT = ("backend/demo/", "backend/seed/", "backend/embedded/", "backend/backup/")
HANDED_OUT = {"backend/api/downloads.py": {"what", "file_id", "suffix"}}
"""What may stand in a `Content-Disposition`, by module: words of ours, and an id that a route has parsed as a UUID.

That the words are ours is looked at where the one function is called."""


def _sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((PROJECT_ROOT / package).rglob("*.py")):
            place = str(path.relative_to(PROJECT_ROOT))
            if not place.startswith(NOT_THE_PRODUCT):
                yield place, ast.parse(path.read_text(encoding="utf-8"))


def _client_names(tree: ast.Module) -> Iterator[int]:
    """Where a module looks at the name a client gave its file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "filename":
            value = ast.unparse(node.value)
            if not value.startswith("frame"):
                yield node.lineno


def _dispositions(tree: ast.Module) -> Iterator[set[str]]:
    """The names inside each header that names a file for the one who fetches it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and str(key.value).lower() == "content-disposition":
                    yield {name.id for name in ast.walk(value) if isinstance(name, ast.Name)}


CLOSED = {"format_.value"}
"""What is no word in the route and yet none of a client's: `format_` is an `ExportFormat`."""


def test_nobody_looks_at_the_file_name_a_client_gave() -> None:
    assert [(place, line) for place, tree in _sources() for line in _client_names(tree)] == []


def test_what_is_handed_out_is_named_by_ids_of_ours() -> None:
    found = [(place, names) for place, tree in _sources() for names in _dispositions(tree)]
    assert found
    assert [(place, names) for place, names in found if not names <= HANDED_OUT.get(place, set())] == []


def test_the_words_of_a_file_name_are_written_in_the_route() -> None:
    calls = [
        keyword.value
        for _, tree in _sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "download"
        for keyword in node.keywords
        if keyword.arg in ("what", "suffix")
    ]
    assert len(calls) >= 6
    assert [value for value in calls if not isinstance(value, ast.Constant) and ast.unparse(value) not in CLOSED] == []


def test_planted_breaches_are_found() -> None:
    planted = ast.parse(
        'Path(folder) / upload.filename\nheaders = {"Content-Disposition": f"attachment; filename={name}"}\n'
    )
    assert list(_client_names(planted)) == [1]
    assert list(_dispositions(planted)) == [{"name"}]


def test_uploads_and_objects_lie_below_their_folder_only(tmp_path: Path) -> None:
    """Keys of objects are made of ids; one that leads out of the store is refused by the store too."""
    from backend.services.objects import object_store

    for key in ("../outside", "/etc/passwd", "a/../../outside"):
        try:
            object_store().put(key, PROJECT_ROOT / "README.md")
        except Exception:  # noqa: BLE001  whatever the store says, nothing may be written
            continue
        raise AssertionError(key)
    assert not (tmp_path / "outside").exists()
