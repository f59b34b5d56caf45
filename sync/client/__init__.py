"""A client of the sync protocol (docs/sync-protocol.md): for scripts and load tests, and to be read by whoever writes
another one. It is not part of the server, which never imports it.

Read `client` first: it is the protocol as a client lives it, a method for each paragraph of the page. `store` is what
has to be in one transaction with what; `calls` is the shape of each call; `connection` is patience, tokens and the
epoch; `uploads` sends photos by tus. Used like this, by one thread at a time:

    with Client("device.sqlite", "https://…") as device:
        device.enrol(code, "scripted handheld")
        house = device.create("house", {"grid_id": device.grids()[0], "address": "…"})
        device.sync()
"""

from sync.client.client import KINDS, Client, Receipt
from sync.client.connection import Connection
from sync.client.errors import ClientError, EpochChanged, LoggedOut, Refused, Unreachable
from sync.client.store import Store

__all__ = [
    "KINDS",
    "Client",
    "ClientError",
    "Connection",
    "EpochChanged",
    "LoggedOut",
    "Receipt",
    "Refused",
    "Store",
    "Unreachable",
]
