"""Rooms for scripts and notebooks: ``room = collabkernel.connect("planning")``."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

from collabkernel.aio import Kind, connector_for, replica_for
from collabkernel.client.blocking_room import BlockingRoom
from collabkernel.client.queue_file import QueueFile
from collabkernel.limits import Limits
from collabkernel.server.hub import wall_clock_ms


def connect(
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
) -> BlockingRoom:
    """Join a room. Leave it by ``room.close()``, by a ``with`` block, or by the end of the process.

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
    connector = connector_for(room, url, token, name, bounds)
    queue = QueueFile(offline_queue, room) if offline_queue is not None else None
    try:
        replica = replica_for(kind, bounds, queue, lazy)
        joined = BlockingRoom(room, replica, connector, bounds, random.Random(), wall_clock_ms, queue)
        joined.join(timeout_s)
    except BaseException:
        if queue is not None:
            queue.close()
        raise
    return joined
