"""Cells of a server that was killed do not look for ever as if they ran; those of a living one go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from collabkernel_server.lab.run_notes import end_dead_runs, note_run, noted_runs
from collabkernel_server.lab.server_life import ServerLife
from jupyter_ydoc import YNotebook
from pycrdt import Map

from collabkernel.server.hub import Hub
from tests.server_extension.lab.kernel_world import KernelWorld, kernel_world


def notebook_of(world: KernelWorld) -> YNotebook:
    document = world.client.document
    assert isinstance(document, YNotebook)
    return document


def states(world: KernelWorld) -> list[str]:
    return [cell.get("execution_state") for cell in notebook_of(world).ycells if isinstance(cell, Map)]


def test_a_run_is_noted_from_its_request_to_its_end(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, {"a": "input_is_missing", "b": "1"}) as world:
            life = world.life
            await world.ask("a", "b")
            assert noted_runs(notebook_of(world)) == {"a": life.id, "b": life.id}
            await world.done("a", "b")
            assert noted_runs(notebook_of(world)) == {}

    asyncio.run(test())


def test_cells_of_a_dead_server_are_ended_and_those_of_living_ones_go_on(tmp_path: Path) -> None:
    async def test() -> None:
        async with kernel_world(tmp_path, {"dead": "1", "other": "2", "own": "3", "in a page": "4"}) as world:

            async def running_hub() -> Hub:
                return world.hub

            other, own = ServerLife(running_hub), ServerLife(running_hub)
            await other.show()
            notebook = notebook_of(world)
            with world.client.ydoc.transaction():
                for cell in notebook.ycells:
                    cell["execution_state"] = "running"
                notebook.ycells.insert(4, "any client can put this here")
                note_run(notebook, "dead", "a server that was killed")
                note_run(notebook, "deleted", "a server that was killed")
                note_run(notebook, "other", other.id)
                note_run(notebook, "own", own.id)

            ending = asyncio.create_task(end_dead_runs(world.client, world.hub.storage, own.id, lease_ms=1))
            await world.until(lambda: states(world)[0] == "idle")
            assert states(world) == ["idle", "running", "running", "running"]
            assert noted_runs(notebook) == {"other": other.id, "own": own.id}
            await other.stop()
            await world.until(lambda: states(world)[1] == "idle")
            await ending
            assert states(world) == ["idle", "idle", "running", "running"]

    asyncio.run(test())
