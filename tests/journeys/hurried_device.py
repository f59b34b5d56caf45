"""A process that writes and syncs without end, and says so on its standard output: the test kills it when it likes.

python -m tests.journeys.hurried_device FILE URL GRID
"""

import sys
from collections.abc import Callable
from itertools import count

import httpx

from sync.client import Client


def say(*words: str) -> None:
    """One line, at once."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


class Telling(httpx.HTTPTransport):
    """Says what was just sent, and what was just answered."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        say("sending", request.url.path)
        answer = super().handle_request(request)
        answer.read()
        say("answered", str(answer.status_code))
        return answer


def work(device: Client, grid: str, tell: Callable[..., None]) -> None:
    """Write and sync. What was written is told when it is safe in the file; what is about to be, before."""
    for number in count():
        new = device.create("house", {"grid_id": grid, "address": f"合成路{number}号"})
        tell("wrote", new["id"], new["address"])
        if number % 2:
            address = f"合成路{number}号·改"
            tell("writing", new["id"], address)
            device.edit("house", new["id"], {"address": address})
            tell("wrote", new["id"], address)
        device.sync()


if __name__ == "__main__":
    file, url, grid_id = sys.argv[1:]
    with Client(file, url, kinds=("house",), page=7, batch=3, transport=Telling()) as hurried:
        say("ready")
        work(hurried, grid_id, say)
