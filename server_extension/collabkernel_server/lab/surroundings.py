"""What all open documents of a server share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from collabkernel.server.hub import Hub
from collabkernel_server.lab.disk import Disk
from collabkernel_server.lab.events import DocumentEvents
from collabkernel_server.lab.files import FileIds
from collabkernel_server.lab.saver import SavePauses

REST_MS = 60_000
"""A replica that nobody needs is dropped after this: making it anew costs 10 ms for each megabyte."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all bindings of a server share."""

    hub: Hub
    disk: Disk
    ids: FileIds
    server_id: str
    """Tells this server's leases from others'."""
    now_ms: Callable[[], int]
    events: DocumentEvents | None = None
    pauses: SavePauses = field(default_factory=SavePauses)
    rest_ms: int = REST_MS
