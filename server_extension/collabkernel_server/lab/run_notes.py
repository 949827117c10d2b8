"""Which server runs which cell, noted in the notebook: cells of a server that was killed are found, and run no more."""

from __future__ import annotations

import asyncio
import logging

from jupyter_ydoc.ynotebook import YNotebook

from collabkernel.errors import CollabKernelError
from collabkernel.storage.base import Leases
from collabkernel_server.lab.document_client import DocumentClient
from collabkernel_server.lab.mend import mend
from collabkernel_server.lab.server_life import LEASE_MS, is_dead

log = logging.getLogger(__name__)
NOTE = "collabkernel_run:"
"""Begins the names under which ``state`` has the server of a cell that runs or waits."""
IDLE = "idle"


def note_run(notebook: YNotebook, cell_id: str, server_id: str) -> None:
    """A cell waits for its turn on a server, or has it."""
    if notebook.ystate.get(NOTE + cell_id) != server_id:
        notebook.ystate[NOTE + cell_id] = server_id


def forget_run(notebook: YNotebook, cell_id: str) -> None:
    """It does no more."""
    if NOTE + cell_id in notebook.ystate:
        del notebook.ystate[NOTE + cell_id]


def noted_runs(notebook: YNotebook) -> dict[str, str]:
    """Servers by cell id."""
    state: dict[str, object] = notebook.ystate.to_py() or {}
    return {key.removeprefix(NOTE): str(server_id) for key, server_id in state.items() if key.startswith(NOTE)}


async def end_dead_runs(client: DocumentClient, leases: Leases, own_id: str, lease_ms: int = LEASE_MS) -> None:
    """Take the mark of running from the cells of servers that are dead; those that may not be are asked for again.

    Args:
        client: A notebook's replica; this ends with it.
        leases: Where servers show that they live.
        own_id: This server's id, which is alive.
        lease_ms: When to ask again.
    """
    while client.is_alive and (others := await _others(client, own_id)):
        try:
            dead = {server_id for server_id in set(others.values()) if await is_dead(leases, server_id)}
        except CollabKernelError as error:
            log.warning("whether cells of %s still run is not known: %s", client.room_id, error)
            dead = set()
        await _end(client, {cell_id for cell_id, server_id in others.items() if server_id in dead})
        if dead != set(others.values()):
            await asyncio.sleep(lease_ms / 1000)


async def _others(client: DocumentClient, own_id: str) -> dict[str, str]:
    async with client.editing() as notebook:
        if not isinstance(notebook, YNotebook):
            return {}
        return {cell_id: server_id for cell_id, server_id in noted_runs(notebook).items() if server_id != own_id}


async def _end(client: DocumentClient, cell_ids: set[str]) -> None:
    async with client.editing() as notebook:
        assert isinstance(notebook, YNotebook)
        await mend(notebook)
        with client.ydoc.transaction():
            for cell in notebook.ycells:
                if cell.get("id") in cell_ids and cell.get("execution_state") not in (None, IDLE):
                    cell["execution_state"] = IDLE
            for cell_id in cell_ids:
                forget_run(notebook, cell_id)
