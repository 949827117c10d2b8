"""Rooms on an event loop: ``async with collabkernel.aio.connect("planning") as room``."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import collabkernel
from collabkernel.client.async_room import AsyncRoom
from collabkernel.client.discover import find_server
from collabkernel.client.queue_file import QueueFile
from collabkernel.client.replica import Replica
from collabkernel.client.servers import Servers
from collabkernel.client.transport import Connector, WebSocketConnector, checked_url
from collabkernel.limits import Limits
from collabkernel.memory import MEMORY_URL, MemoryConnector
from collabkernel.server.hub import wall_clock_ms
from collabkernel.wire.messages import SessionKind

Kind = Literal["person", "script", "agent"]


def connector_for(
    room: str, url: str | Sequence[str] | None, token: str | None, name: str | None, limits: Limits
) -> Connector:
    """What opens lines to a room at ``url``; the server that started this kernel when it is None.

    Raises:
        NoServerError: There is none; the message says what to do.
        InvalidValueError: ``url`` is of no kind that is known.
    """
    if isinstance(url, str) and url.startswith(MEMORY_URL):
        return MemoryConnector(room, name or "you")
    server = find_server(url, token, os.environ)
    servers = Servers(map(checked_url, server.urls), random.Random())
    return WebSocketConnector(servers, room, server.read_token, limits)


def replica_for(kind: Kind, limits: Limits, queue: QueueFile | None, lazy: bool) -> Replica:
    """A replica that has not joined yet, or resumes the site of its queue."""
    client = f"collabkernel-python/{collabkernel.__version__}"
    stored = queue.stored() if queue is not None else None
    return Replica(SessionKind[kind.upper()], client, limits, stored, is_lazy=lazy)


@asynccontextmanager
async def connect(
    room: str,
    *,
    url: str | Sequence[str] | None = None,
    token: str | None = None,
    name: str | None = None,
    kind: Kind = "script",
    offline_queue: str | os.PathLike[str] | None = None,
    timeout_s: float = 10.0,
    limits: Limits | None = None,
    lazy: bool = False,
) -> AsyncIterator[AsyncRoom]:
    """Join a room for the length of an ``async with`` block; its last edits are saved at the end.

    Args:
        room: The room's name; it is made when nobody has been there.
        url: ``http(s)://host:port/base/`` of a Jupyter server, ``memory://`` for a room inside this process, or None
            for the server that started this kernel. Of several servers on one database a list: when one is gone or
            sends its sessions away, this one goes on at the next.
        token: The server's token, when ``url`` names one; several servers have the same.
        name: What to be called in a ``memory://`` room; a server knows its users itself.
        kind: ``person``, ``script`` or ``agent``; the others see it.
        offline_queue: A file that keeps edits until the server has them, so that a killed process loses none.
        timeout_s: How long to wait for the room.
        limits: Timeouts and bounds of this client.
        lazy: Load nothing of what is in the room's documents until ``doc.show`` names blocks: for long ones.

    Raises:
        CollabKernelError: The room cannot be joined; the message says why and what to do.
    """
    bounds = limits or Limits()
    queue = QueueFile(offline_queue, room) if offline_queue is not None else None
    try:
        connector = connector_for(room, url, token, name, bounds)
        replica = replica_for(kind, bounds, queue, lazy)
        joined = AsyncRoom(room, replica, connector, bounds, random.Random(), wall_clock_ms, queue)
        await joined.join(timeout_s)
    except BaseException:
        if queue is not None:
            queue.close()
        raise
    async with joined:
        yield joined
