"""Sealed files: whole or not at all, and never readable on disk."""

import io

import pytest

from backend.core.ciphers import CipherName, new_data_key
from backend.core.crypto import Undecipherable, key_ring
from backend.services.registry_files import FRAME_BYTES, LENGTH_BYTES, MAGIC, SealedReader, SealedWriter

KEY = new_data_key(CipherName.SM4_GCM)


def sealed(content: bytes, context: bytes = b"file") -> bytes:
    file = io.BytesIO()
    writer = SealedWriter(file, context=context, key=KEY)
    for start in range(0, len(content), 100_000):
        writer.write(content[start : start + 100_000])
    writer.close()
    return file.getvalue()


def read(content: bytes, context: bytes = b"file", block: int = 70_000) -> bytes:
    blocks = (content[start : start + block] for start in range(0, len(content), block))
    return io.BufferedReader(SealedReader(blocks, context=context, key=KEY)).read()


def frames(content: bytes) -> list[bytes]:
    found = []
    content = content.removeprefix(MAGIC)
    while content:
        end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES])
        found.append(content[:end])
        content = content[end:]
    return found


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES])
def test_what_was_written_is_read_again(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    assert read(sealed(content[:size])) == content[:size]


def test_nothing_of_the_content_is_readable() -> None:
    assert b"canary" not in sealed(b"canary" * 100)


@pytest.mark.parametrize("damage", ["cut in a frame", "last frame gone", "swapped", "first frame gone", "one bit"])
def test_a_damaged_file_does_not_open(damage: str) -> None:
    parts = frames(sealed(b"x" * (3 * FRAME_BYTES)))
    assert len(parts) == 3
    parts[0] = MAGIC + parts[0]
    damaged = {
        "cut in a frame": b"".join(parts)[:-1],
        "last frame gone": b"".join(parts[:-1]),
        "swapped": b"".join((MAGIC, parts[1], parts[0].removeprefix(MAGIC), parts[2])),
        "first frame gone": MAGIC + b"".join(parts[1:]),
        "one bit": b"".join(parts)[:-1] + bytes([parts[-1][-1] ^ 1]),
    }[damage]
    with pytest.raises(Undecipherable):
        read(damaged)


def test_a_file_does_not_open_as_another() -> None:
    with pytest.raises(Undecipherable):
        read(sealed(b"content"), context=b"other")


def test_an_empty_object_is_no_sealed_file() -> None:
    with pytest.raises(Undecipherable):
        read(b"")


def test_a_file_whose_key_is_gone_does_not_open() -> None:
    with pytest.raises(Undecipherable, match="gone"):
        SealedReader([sealed(b"content")], context=b"file", key=None).read()


def test_a_file_of_the_first_release_still_opens() -> None:
    contexts = [b"file" + place.to_bytes(8) + end for place, end in ((0, b"more"), (1, b"last"))]
    frames = [
        key_ring().seal_system(part, context=context) for part, context in zip((b"con", b"tent"), contexts, strict=True)
    ]
    content = b"".join(len(frame).to_bytes(LENGTH_BYTES) + frame for frame in frames)
    assert read(content, block=3) == b"content"
