"""Searches places for canaries on all cores."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from bench.canary.needles import WINDOW, Searcher, Sighting
from bench.canary.people import identity
from bench.canary.places import Place

CHUNK = 16 * 1024 * 1024
SMALL_TOGETHER = 200

Writings = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Found:
    """A sighting with the place and the file it is in."""

    place: str
    file: str
    sighting: Sighting


@dataclass(frozen=True, slots=True)
class _Piece:
    place: str
    file: Path
    start: int


_searcher: Searcher | None = None


def search(places: Sequence[Place], numbers: Sequence[int], more: Writings) -> list[Found]:
    """All sightings of the canaries of these numbers; `more` are further writings of theirs, by field."""
    pieces = list(_pieces(places))
    bundles = [pieces[start : start + SMALL_TOGETHER] for start in range(0, len(pieces), SMALL_TOGETHER)]
    # Large files are spread, small ones go together: a task holds pieces of about one size.
    tasks = [[piece] for bundle in bundles for piece in bundle if _is_large(piece)]
    tasks += [small for bundle in bundles if (small := [piece for piece in bundle if not _is_large(piece)])]
    with ProcessPoolExecutor(os.cpu_count(), initializer=_begin, initargs=(list(numbers), dict(more))) as pool:
        return [found for some in pool.map(_search, tasks) for found in some]


def _begin(numbers: list[int], more: Writings) -> None:
    global _searcher  # noqa: PLW0603  one searcher a process
    _searcher = Searcher((identity(number) for number in numbers), more)


def _is_large(piece: _Piece) -> bool:
    return piece.file.stat().st_size > CHUNK // 4


def _pieces(places: Sequence[Place]) -> Iterator[_Piece]:
    for place in places:
        for file in place.files:
            for start in range(0, max(file.stat().st_size, 1), CHUNK):
                yield _Piece(place.name, file, start)


def _search(pieces: Sequence[_Piece]) -> list[Found]:
    assert _searcher is not None
    found = []
    for piece in pieces:
        with piece.file.open("rb") as file:
            file.seek(piece.start)
            buffer = file.read(CHUNK + WINDOW)
        found += [
            Found(piece.place, str(piece.file), replace(sighting, offset=piece.start + sighting.offset))
            for sighting in _searcher.search(buffer)
            if sighting.offset < CHUNK
        ]
    return found
