"""Fan-out between servers: a protocol, its memory twin, polling of the log, and Redis."""

from __future__ import annotations

from collabkernel.bus.base import Bus
from collabkernel.bus.polling import POLL_MS, Log, PollingBus
from collabkernel.errors import StorageError

DEFAULT_PREFIX = "collabkernel"
"""Before the names of channels. Deployments with databases of their own need prefixes of their own on one Redis."""


def make_bus(
    log: Log, *, poll_ms: int = POLL_MS, redis_url: str = "", redis_prefix: str = DEFAULT_PREFIX
) -> Bus | None:
    """The bus of a server on a database; None for one that is alone.

    Args:
        log: The storage of this server.
        poll_ms: Between two looks at what others have stored, while Redis does not tell of it; 0 for a server that is
            alone.
        redis_url: ``redis://``, ``redis+sentinel://``, ``redis+cluster://`` and their like
            (``redis_servers.servers_at``); empty for none.
        redis_prefix: Of all channels.

    Raises:
        StorageError: If there is a URL, and it is none or its driver is not installed.
    """
    if not redis_url:
        return PollingBus(log, poll_ms) if poll_ms else None
    try:
        from collabkernel.bus.redis import RedisBus
    except ImportError as error:
        raise StorageError(
            f"the driver of Redis is not installed; run: pip install 'collabkernel[redis]' ({error})"
        ) from error
    try:
        return RedisBus(redis_url, log, prefix=redis_prefix, poll_ms=poll_ms or POLL_MS)
    except ValueError as error:
        raise StorageError(f"the URL of Redis is none: {error}") from error
