"""The kinds of tampering that `bench.tamper` does to an audit trail, and where each must be found.

Importing this registers all of them.
"""

from bench.tampering import anchor, batches, entries
from bench.tampering.trail import FIRST_DAY, STEP, TAMPERINGS, Expected, Trail, recompute

__all__ = ["FIRST_DAY", "STEP", "TAMPERINGS", "Expected", "Trail", "anchor", "batches", "entries", "recompute"]
