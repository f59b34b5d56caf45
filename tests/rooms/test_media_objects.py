"""One contract for both object stores: the local folder, and S3 as `moto` plays it."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import obstore
import pytest
from obstore.exceptions import GenericError

from backend.core.errors import Unavailable
from backend.services import objects
from backend.services.objects import ObjectMissing, ObjectStore, StoreFull, StoreUnavailable, open_store
from tests.s3 import BUCKET, played_s3

KEY = "originals/0a/photo-1.jpg"


@pytest.fixture(scope="module")
def s3_location() -> Iterator[str]:
    with played_s3() as location:
        yield location


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return open_store((tmp_path / "media").as_uri())
    return open_store(request.getfixturevalue("s3_location"))


def test_what_was_put_is_got(store: ObjectStore) -> None:
    store.put(KEY, b"0123456789")
    assert store.get(KEY) == b"0123456789"
    assert store.head(KEY) == 10
    assert store.get_range(KEY, 2, 5) == b"234"
    assert b"".join(store.stream(KEY)) == b"0123456789"


def test_all_objects_are_listed_with_their_sizes(store: ObjectStore) -> None:
    before = dict(store.entries())
    store.put("listed/0a/one", b"0123")
    store.put("listed/two", b"")
    assert dict(store.entries()) == {**before, "listed/0a/one": 4, "listed/two": 0}
    store.delete("listed/two")
    assert dict(store.entries()) == {**before, "listed/0a/one": 4}


def test_putting_again_replaces(store: ObjectStore) -> None:
    store.put(KEY, b"old")
    store.put(KEY, b"newer")
    assert store.get(KEY) == b"newer"


def test_a_large_file_goes_in_parts_and_comes_in_blocks(store: ObjectStore, tmp_path: Path) -> None:
    content = os.urandom(1024) * 12 * 1024
    source = tmp_path / "source"
    source.write_bytes(content)
    store.put("originals/large", source)
    blocks = list(store.stream("originals/large"))
    assert b"".join(blocks) == content
    assert len(blocks) > 1
    assert store.get_range("originals/large", len(content) - 4, len(content)) == content[-4:]


def test_a_large_file_goes_to_s3_in_parts(s3_location: str, tmp_path: Path) -> None:
    """S3 says so in the tag: the digest of the parts' digests, and how many there are."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1024) * 12 * 1024)
    store = open_store(s3_location)
    store.put("originals/parts", source)
    store.put("originals/whole", b"small")
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    tags = [client.head_object(Bucket=BUCKET, Key=f"media/originals/{name}")["ETag"] for name in ("parts", "whole")]
    assert tags[0].strip('"').endswith("-3")
    assert "-" not in tags[1]
    assert client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def test_a_put_that_fails_leaves_what_was_there(store: ObjectStore, tmp_path: Path) -> None:
    store.put(KEY, b"old")
    before = dict(store.entries())
    for act in (store.put, store.take):
        with pytest.raises(ObjectMissing):
            act(KEY, tmp_path / "none")
    assert store.get(KEY) == b"old"
    assert dict(store.entries()) == before


def test_a_file_given_away_is_stored_and_may_go(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"0123456789")
    store.put(KEY, b"old")
    for _ in range(2):
        store.take(KEY, source)
        assert store.get(KEY) == b"0123456789"
    before = dict(store.entries())
    source.unlink()
    assert store.get(KEY) == b"0123456789"
    assert dict(store.entries()) == before


def test_a_file_given_away_to_a_folder_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system cannot give it a second name it is copied."""
    root, source = tmp_path / "media", tmp_path / "source"
    source.write_bytes(b"0123456789")
    store = open_store(root.as_uri())
    store.take(KEY, source)
    assert (root / KEY).samefile(source)
    assert [path.name for path in (root / KEY).parent.iterdir()] == ["photo-1.jpg"]

    def elsewhere(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(Path, "hardlink_to", elsewhere)
    store.take(KEY, source)
    assert not (root / KEY).samefile(source)
    assert store.get(KEY) == b"0123456789"


def test_an_address_gives_the_object_to_whoever_has_it(s3_location: str, tmp_path: Path) -> None:
    store = open_store(s3_location)
    store.put("derivatives/0a/x.webp", b"0123456789", mime="image/webp")
    address = store.address("derivatives/0a/x.webp", seconds=60)
    assert address is not None
    assert "X-Amz-Expires=60&" in address
    answer = httpx.get(address)
    assert (answer.content, answer.headers["content-type"]) == (b"0123456789", "image/webp")
    assert open_store(tmp_path.as_uri()).address("derivatives/0a/x.webp", seconds=60) is None


def test_what_is_not_there_is_said_to_be_missing(store: ObjectStore) -> None:
    for read in (store.get, store.head, lambda key: list(store.stream(key)), lambda key: store.get_range(key, 0, 1)):
        with pytest.raises(ObjectMissing):
            read("originals/none")


def test_deleting_twice_is_harmless(store: ObjectStore) -> None:
    store.put(KEY, b"x")
    store.delete(KEY)
    store.delete(KEY)
    with pytest.raises(ObjectMissing):
        store.get(KEY)


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "a/.hidden", "a\0b", "相片", "a b"]
)
def test_keys_that_could_point_elsewhere_are_refused(store: ObjectStore, key: str) -> None:
    acts = (store.get, store.delete, store.head, lambda bad: store.put(bad, b"x"))
    for act in (*acts, lambda bad: store.take(bad, Path(bad)), lambda bad: store.address(bad, seconds=1)):
        with pytest.raises(ValueError, match="not a key"):
            act(key)


def test_a_local_put_is_flushed_with_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(objects, "flush_to_disk", flushed.append)
    root = tmp_path / "media"
    open_store(root.as_uri()).put(KEY, b"x")
    folders = [root / "originals/0a", root / "originals", root]
    assert flushed == [root / KEY, *folders]
    (tmp_path / "source").write_bytes(b"x")
    open_store(root.as_uri()).take(KEY, tmp_path / "source")
    assert flushed[4:] == [root / KEY, folders[0]]
    del flushed[:]
    (tmp_path / "source").write_bytes(b"y")
    open_store(root.as_uri()).take("new/1b/photo", tmp_path / "source")
    assert flushed == [root / "new/1b", root / "new", root, root / "new/1b/photo", root / "new/1b"]


def test_a_full_disk_is_told_from_a_store_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path.as_uri())
    faults: list[tuple[Exception, type[Exception]]] = [
        (OSError(errno.ENOSPC, "no space"), StoreFull),
        (GenericError("Unable to copy data to file: No space left on device (os error 28)"), StoreFull),
        (GenericError("connection refused"), StoreUnavailable),
        (PermissionError("denied"), StoreUnavailable),
    ]
    for fault, expected in faults:

        def fail(*_: object, fault: Exception = fault, **__: object) -> None:
            raise fault

        monkeypatch.setattr(obstore, "put", fail)
        with pytest.raises(expected):
            store.put(KEY, b"x")


def test_an_s3_store_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(Unavailable):
        open_store(f"s3://{BUCKET}").get(KEY)


def test_another_kind_of_address_is_refused() -> None:
    with pytest.raises(ValueError, match="MEDIA_URL"):
        open_store("ftp://example.org/x")
