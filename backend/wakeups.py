"""At most one wake-up for each name on its way: a mark in the broker, taken by who sends and removed by who begins.

Without it a flood would queue a message for every few pushes, each worth a full batch, and jobs of other names would
wait behind all of them. The mark is removed before jobs are claimed, so whatever is committed later is announced anew.
It runs out by itself: a message that was lost keeps a name silent for `LASTS_S` at most, then the sweeper speaks up.
Where the broker does not answer, or speaks in a way that is not known here, every wake-up is sent.
"""

from functools import lru_cache

import redis

from backend.core.logging import get_logger
from backend.core.settings import get_settings

LASTS_S = 10
PREFIX = "zhiwang:woken:"
PATIENCE_S = 2.0

log = get_logger(__name__)


def take(name: str) -> bool:
    """Whether a wake-up is to be sent: no other one is on its way, or that cannot be told."""
    client = _client(get_settings().broker_url)
    try:
        return client is None or bool(client.set(PREFIX + name, "1", nx=True, ex=LASTS_S))
    except redis.RedisError:
        return True


def begun(name: str) -> None:
    """The wake-up has arrived. To be called before jobs are claimed."""
    client = _client(get_settings().broker_url)
    try:
        if client is not None:
            client.delete(PREFIX + name)
    except redis.RedisError:
        return  # the mark runs out


@lru_cache(maxsize=4)
def _client(broker_url: str) -> redis.Redis | None:
    """A client of the broker, by the address that Celery has; None where it is none of Redis's."""
    address = broker_url.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")
    if not address.startswith(("redis://", "rediss://", "unix://")):
        return None
    try:
        return redis.Redis.from_url(address, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S)
    except (redis.RedisError, ValueError) as error:
        log.warning("wake-ups are not counted", exc_info=error)
        return None
