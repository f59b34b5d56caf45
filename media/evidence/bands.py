"""How the likes of a fingerprint are found among millions: multi-index hashing (Norouzi, Punjani, Fleet 2012).

The 256 bits are cut into 16 bands of 16. Two fingerprints that differ in at most 31 bits differ by at most one bit in
some band, for 16 bands with two bits each would make 32. So whoever asks for each band's value and its 16 neighbours
of one bit, 272 keys, finds all of them; the rest is counting bits in the rows found. The keys of a photo are an array
under a GIN index: of ten million photos about 0.4 % are looked at.
"""

BANDS = 16
BAND_BITS = 16
FURTHEST = 2 * BANDS - 1
"""The largest distance at which nothing is missed."""


def keys(bits: bytes) -> list[int]:
    """The key of each band: its number and its value in one integer."""
    size = BAND_BITS // 8
    return [band << BAND_BITS | int.from_bytes(bits[band * size : band * size + size]) for band in range(BANDS)]


def probes(bits: bytes) -> list[int]:
    """All keys to ask for."""
    return [key ^ flip for key in keys(bits) for flip in (0, *(1 << place for place in range(BAND_BITS)))]


def text(bits: bytes) -> str:
    """The bits as PostgreSQL writes them."""
    return format(int.from_bytes(bits), f"0{len(bits) * 8}b")
