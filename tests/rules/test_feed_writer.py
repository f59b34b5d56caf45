"""One function writes the feed: no other statement of the product does."""

import re

from backend.core.settings import PROJECT_ROOT

WRITES = re.compile(r"\b(INTO|UPDATE|DELETE\s+FROM|TRUNCATE)\s+(public\.)?feed(_counter)?\b", re.IGNORECASE)
MADE = re.compile(r"\b(Feed|FeedCounter)\(")
WRITER = PROJECT_ROOT / "backend" / "services" / "feed.py"


def test_one_function_writes_the_feed() -> None:
    sources = [
        path for room in ("backend", "sync", "media", "workflows") for path in (PROJECT_ROOT / room).rglob("*.py")
    ]
    assert WRITER in sources
    writing = [path for path in sources if WRITES.search(path.read_text(encoding="utf-8"))]
    assert writing == [WRITER]
    making = [path for path in sources if MADE.search(path.read_text(encoding="utf-8"))]
    assert [path.name for path in making] == ["documents.py"], "the tables themselves"
