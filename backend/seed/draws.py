"""Numbers that look random and are always the same: the seed of all synthetic data."""

import struct
from hashlib import blake2b

SEED = "zhiwang-2026"


def draws(*name: str | int) -> tuple[int, ...]:
    """Sixteen 32-bit numbers for a name, independent of every other name and of the order of calls."""
    text = "/".join(str(part) for part in (SEED, *name))
    return struct.unpack("<16I", blake2b(text.encode(), digest_size=64).digest())
