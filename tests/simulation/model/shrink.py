"""Leaves out of a history what is not needed for its violation, so that a person can read it."""

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.model.history import History

MOST_TRIES = 600


def shrink(history: History, fails: Callable[[History], bool]) -> History:
    """A shorter history that still fails: larger pieces are left out first, then single steps, until none can be."""
    tries = MOST_TRIES
    size = max(1, len(history.steps) // 2)
    while size and tries:
        start, shorter = 0, False
        while start < len(history.steps) and tries:
            candidate = replace(history, steps=history.steps[:start] + history.steps[start + size :])
            tries -= 1
            if fails(candidate):
                history, shorter = candidate, True
            else:
                start += size
        if not shorter or size > 1:
            size //= 2
    return history
